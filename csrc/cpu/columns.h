// Min-plus along an axis: g(y) = min over k of f(k) + w (y - k)^2, for both labels from one signed field, or
// for one label.
//
// A field of two labels is positive in the foreground, which sees max(f, 0), and negative in the background,
// which sees max(-f, 0). The nearest row never decreases with y, so the nearest rows of two rows bound the
// search of every row between them. Coarse rows are solved by divide and conquer. The rows between two coarse
// rows then search only within their bounds, several at once. docs/cpu-transform.md has the derivation.
#pragma once

#include "job.h"
#include "simd.h"

namespace surfloss {
namespace SURFLOSS_ISA {

inline int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t greater(int64_t a, int64_t b) { return a > b ? a : b; }

// Per element type T: vectors and columns of a block, and the distance between coarse rows.
template <class T>
constexpr int kVectorsOf = 2;
template <>
constexpr int kVectorsOf<Short> = 1;
template <class T>
constexpr int kBlockOf = kVectorsOf<T> * VectorOf<T>::kCount;
template <class T>
constexpr int kGroupOf = kGroup;
template <>
constexpr int kGroupOf<Short> = 8;

// A range of rows, both ends included.
struct Range {
  int64_t low, high;
  // Extends the range by rows `a` to `b` of the lanes in `counts`. If a step of this axis is tiny relative to
  // the distance, rounding can make the bounds cross (a > b); both rows are then equally near, so keep both.
  template <class Mask, class Wholes>
  void include(Mask counts, Wholes a, Wholes b) {
    constexpr auto beyond = (decltype(smallest(a)))(sizeof a[0] == 2 ? kMost : INT32_MAX);
    low = lesser(low, smallest(counts ? (a < b ? a : b) : all(beyond)));
    high = greater(high, largest(counts ? (a < b ? b : a) : Wholes{}));
  }
  void clip(int64_t from, int64_t to) {
    low = greater(low, from);
    high = lesser(high, to);
  }
};

// The rows that may be nearest, for each label.
struct Candidates {
  const uint8_t* states;  // of the rows; null if both labels have the same candidates
  Range of[2];

  Candidates(const uint8_t* states, int64_t size) : states(states), of{{0, size - 1}, {0, size - 1}} {
    for (int side = 0; side < 2; ++side) {
      // Rows that have only this label cannot be nearest.
      Range& range = of[side];
      while (range.low < size && states[range.low] == side) ++range.low;
      while (range.high >= 0 && states[range.high] == side) --range.high;
    }
  }
  explicit Candidates(const Range& range) : states(nullptr), of{range, range} {}

  // Whether there are enough candidates for 16-bit search to pay off.
  bool are_many() const { return greater(of[0].high - of[0].low, of[1].high - of[1].low) >= kMinGroup; }
};

// The end of a pass: what it writes for a squared distance. For two labels, the signed field for the next
// pass or the `Outcome` of job.h.
struct SignedField {
  using Out = float;
  static constexpr int kSides = 2;
};
inline Floats finish(Floats squared, Ints background, SignedField) {
  return flip(squared, background & kSign);
}

inline Floats finish(Floats squared, Ints background, const Outcome& outcome) {
  const Floats scaled = squared * all(outcome.scale);
  const Ints sign = background ? all(outcome.signs[0]) : all(outcome.signs[1]);
  return flip(outcome.root ? root(scaled) : scaled, sign);
}
template <class End>
inline void put(float* to, Floats squared, Ints background, const End& end) {
  store(to, finish(squared, background, end));
}

// For one label, the squared distance itself, for the next pass.
template <class T>
struct Squared {
  using Out = T;
  static constexpr int kSides = 1;
};
inline void put(float* to, Floats squared, Ints, Squared<float>) { store(to, squared); }
inline void put(double* to, Doubles squared, Longs, Squared<double>) { store(to, squared); }

// For one label, the root times the unit in mm.
template <class T>
struct Rooted {
  using Out = double;
  static constexpr int kSides = 1;
  double unit;
};
inline void put(double* to, Doubles squared, Longs, Rooted<double> rooted) {
  store(to, root(squared) * all(rooted.unit));
}
inline void put(double* to, Floats squared, Ints, Rooted<float> rooted) {
  HalfFloats halves[2];
  memcpy(halves, &squared, sizeof halves);
  for (int half = 0; half < 2; ++half) {
    const Doubles wide = __builtin_convertvector(halves[half], Doubles);
    store(to + half * kLanes / 2, root(wide) * all(rooted.unit));
  }
}

// Shorts are converted to floats first.
template <class End>
__attribute__((always_inline)) inline void put(typename End::Out* to, Shorts squared, ShortInts background,
                                               const End& end) {
  for (int half = 0; half < 2; ++half) {
    put(to + half * kLanes, widen(squared, half), widen_mask(background, half), end);
  }
}

// Solves a block of columns with `size` rows. For two labels, floats are a signed field; shorts have one
// plane per label, which is 0 at voxels of the other label. Shorts are padded with kNearSteps copies of the
// outer rows. `nearest` gets the nearest row of every row with `kIndices`, else only those of coarse rows.
template <class T, class End, bool kIndices = false>
class Columns {
  using Values = typename VectorOf<T>::Values;
  using Whole = typename VectorOf<T>::Whole;
  using Wholes = decltype(all(Whole{}));
  using Mask = decltype(Wholes{} == Wholes{});
  using Entry = typename VectorOf<T>::Entry;
  using Out = typename End::Out;
  static constexpr int kCount = VectorOf<T>::kCount, kVectors = kVectorsOf<T>, kWidth = kBlockOf<T>;
  static constexpr int kGroup = kGroupOf<T>, kSides = End::kSides;
  static constexpr bool kShort = sizeof(T) == sizeof(Short);
  static constexpr int kRow = kWidth * (kShort ? kSides : 1);

 public:
  Columns(const T* field, int64_t size, const Candidates& candidates, const Entry* table, Whole* nearest,
          const End& end)
      : field_(field),
        size_(size),
        candidates_(candidates),
        table_(table),
        step_sq_((T)table[1]),
        nearest_(nearest),
        end_(end) {
    if constexpr (kShort) {
      inverse_ = 1.0f / (float)step_sq_;
      near_ = (T)lesser((T)table[lesser(size, kNearSteps)], kMost - 1);
    }
  }

  // Returns false if a distance was too long for shorts; the output is then invalid.
  bool solve(Out* out, int64_t stride) {
    out_ = out;
    stride_ = stride;
    const int64_t last = (size_ + kGroup - 2) / kGroup;  // last coarse row
    const Range everything = {0, size_ - 1};
    solve_coarse(0, [&] { return everything; });
    if (last > 0) {
      solve_coarse(last, [&] { return everything; });
      divide(0, last);
    }
    return !is_too_long();
  }

 private:
  int64_t row(int64_t coarse) const { return lesser(coarse * kGroup, size_ - 1); }
  // The nearest rows of a coarse row. Shorts store two: the first (end 0) and last (1) that may be nearest.
  Whole* nearest(int64_t coarse, int end) const {
    return nearest_ + ((kIndices ? row(coarse) : coarse) * (1 + kShort) + kShort * end) * kWidth;
  }
  Values at(int64_t y, int u, int plane = 0) const {
    return load(field_ + y * kRow + plane * kWidth + u * kCount);
  }

  // A row as label `side` sees it: 0 at voxels of the other label.
  Values seen(int64_t y, int u, int side) const {
    if constexpr (kSides == 1) {
      return at(y, u);
    } else if constexpr (kShort) {
      return at(y, u, side);
    } else {
      return max(flip(at(y, u), side ? all(0) : all(kSign)), all(0.0f));
    }
  }
  // A row as each lane sees it, given which lanes are background.
  Values seen(int64_t y, int u, Mask background) const {
    if constexpr (kSides == 1) {
      return at(y, u);
    } else if constexpr (kShort) {
      return background ? at(y, u, kBackground) : at(y, u, kForeground);
    } else {
      return max(flip(at(y, u), background & kSign), all(0.0f));
    }
  }
  Mask background(int64_t y, int u) const {
    if constexpr (kSides == 1) {
      return Mask{};
    } else if constexpr (kShort) {
      return at(y, u, kBackground) > all((T)0);
    } else {
      return (Ints)at(y, u) < 0;
    }
  }

  bool is_too_long() const {
    if constexpr (kShort) {
      return largest(longest_) == kMost;
    } else {
      return false;
    }
  }

  // Largest number of steps that can still beat `bound`.
  int64_t reach(T bound) const {
    if constexpr (kShort) {
      return bound ? lesser((int64_t)__builtin_sqrtf(((float)bound - 0.5f) * inverse_), size_ - 1) : 0;
    } else {
      const T steps_sq = bound / step_sq_;
      if (!(steps_sq < (T)size_ * (T)size_)) return size_;
      int64_t steps = lesser((int64_t)__builtin_sqrt((double)steps_sq) + 1, size_ - 1);
      while (steps > 0 && table_[steps] >= bound) --steps;
      return steps;
    }
  }

  void divide(int64_t above, int64_t below) {
    if (below - above == 1) {
      solve_between(above, below);
      return;
    }
    const int64_t middle = (above + below) / 2;
    solve_coarse(middle, [&] {
      const int64_t y = row(middle);
      Range range = {size_, -1};
      for (int u = 0; u < kVectors; ++u) {
        Wholes low = load(nearest(above, 0) + u * kCount), high = load(nearest(below, 1) + u * kCount);
        if constexpr (kSides == 2) {
          // If a lane has the other label at a bounding row, that row itself is its bound.
          const Mask label = background(y, u);
          low = background(row(above), u) == label ? low : all((Whole)row(above));
          high = background(row(below), u) == label ? high : all((Whole)row(below));
        }
        range.include(Mask{} == 0, low, high);
      }
      return range;
    });
    if (is_too_long()) return;
    divide(above, middle);
    divide(middle, below);
  }

  // Solves a coarse row from the few rows beside it, or else in the range that `find` returns.
  template <class Find>
  void solve_coarse(int64_t coarse, const Find& find) {
    const int64_t y = row(coarse), steps = solve_near<1>(y);
    if (steps < 0) {
      solve_row(coarse, find());
    } else {
      store(nearest(coarse, 0), all((Whole)greater(y - steps, 0)));
      store(nearest(coarse, 1), all((Whole)lesser(y + steps, size_ - 1)));
    }
  }

  // Solves a coarse row: each lane's minimum over `range`, and the row that gave it.
  void solve_row(int64_t coarse, Range range) {
    const int64_t y = row(coarse);
    Values best[kVectors], bound = {};
    Wholes from[kVectors];
    Mask of_background[kVectors];
#pragma GCC unroll 2
    for (int u = 0; u < kVectors; ++u) {
      of_background[u] = background(y, u);
      best[u] = seen(y, u, of_background[u]);
      from[u] = all((Whole)y);
      bound = max(bound, best[u]);
    }
    const int64_t steps = reach(largest(bound));
    range.clip(y - steps, y + steps);
    // Without states both labels have the same candidates.
    const uint8_t* states = candidates_.states;
    const uint8_t state = states && kSides == 2 ? states[y] : (uint8_t)kForeground;
    if (state != kMixed) range.clip(candidates_.of[state].low, candidates_.of[state].high);
    const Entry* table = table_ - y;
    for (int64_t k = range.low; k <= range.high; ++k) {
#pragma GCC unroll 2
      for (int u = 0; u < kVectors; ++u) {
        const Values sum = plus(seen(k, u, of_background[u]), every(table[k]));
        from[u] = sum < best[u] ? all((Whole)k) : from[u];
        best[u] = min(sum, best[u]);
      }
    }
    for (int u = 0; u < kVectors; ++u) {
      store(nearest(coarse, 0) + u * kCount, from[u]);
      if constexpr (kShort) {
        store(nearest(coarse, 1) + u * kCount, from[u]);
        longest_ = max(longest_, best[u]);
      }
      put(out_ + y * stride_ + u * kCount, best[u], of_background[u], end_);
    }
  }

  // Solves `Rows` rows from `first` if all find their nearest row within kNearSteps. Each searches this many
  // rows on either side, for both labels at once. Returns the number of steps, or -1 if nothing was solved.
  template <int Rows>
  int64_t solve_near([[maybe_unused]] int64_t first) {
    if constexpr (!kShort) {
      return -1;
    } else {
      Values own[Rows][kSides], longest = {};
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
        for (int side = 0; side < kSides; ++side) {
          own[r][side] = at(first + r, 0, side);
          longest = max(longest, own[r][side]);
        }
      }
      const T worst = largest(longest);
      if (worst > near_) return -1;
      const int64_t steps = reach(worst);
#pragma GCC unroll 1
      for (int r = 0; r < Rows; ++r) {
        const Mask of_background = background(first + r, 0);
        Values best = seen(first + r, 0, of_background);
        for (int64_t d = 1; d <= steps; ++d) {
          const int64_t above = first + r - d, below = first + r + d;
          // The copies beyond the ends cannot win: they are further away than the originals.
          Values f = min(at(above, 0), at(below, 0));
          if constexpr (kSides == 2) f = of_background ? f : min(at(above, 0, 1), at(below, 0, 1));
          best = min(plus(f, every(table_[d])), best);
        }
        put(out_ + (first + r) * stride_, best, of_background, end_);
      }
      return steps;
    }
  }

  // Writes or adds the distances of one label. Voxels of the other label contribute 0.
  void put_side(Out* to, Values squared, [[maybe_unused]] int side, [[maybe_unused]] bool add) {
    if constexpr (kSides == 1) {
      put(to, squared, Mask{}, end_);
    } else {
      for (int half = 0; half < (kShort ? 2 : 1); ++half, to += kLanes) {
        const Floats v = finish(widen(squared, half), side ? all(0) : all(-1), end_);
        store(to, add ? load(to) + v : v);
      }
    }
  }

  void solve_between(int64_t above, int64_t below) {
    const int64_t rows = row(below) - row(above) - 1;
    if (rows == kGroup - 1) {
      solve_group<kGroup - 1>(above, below);
    } else {
      solve_rest<kGroup - 2>(above, below, rows);
    }
  }

  template <int Rows>
  void solve_rest(int64_t above, int64_t below, int64_t rows) {
    if constexpr (Rows > 0) {
      if (rows == Rows) {
        solve_group<Rows>(above, below);
      } else {
        solve_rest<Rows - 1>(above, below, rows);
      }
    }
  }

  // Solves the `Rows` rows between two neighboring coarse rows as the sum over both labels.
  template <int Rows>
  void solve_group(int64_t above, int64_t below) {
    const int64_t first = row(above) + 1;
    if (solve_near<Rows>(first) >= 0) return;
    bool written = false;
    for (int side = 1; side > 1 - kSides; --side) written |= solve_side<Rows>(above, below, side, written);
    if (written) return;
    // All distances are 0.
    for (int64_t y = first; y < first + Rows; ++y) {
      for (int u = 0; u < kVectors; ++u) put_side(out_ + y * stride_ + u * kCount, Values{}, 1, false);
    }
  }

  // Solves the voxels of one label. Returns false, and writes nothing, if there are none.
  template <int Rows>
  bool solve_side(int64_t above, int64_t below, int side, bool add) {
    const int64_t first = row(above) + 1;
    Values best[Rows][kVectors], bound[kVectors] = {}, longest = {};
    [[maybe_unused]] Wholes from[Rows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
      for (int u = 0; u < kVectors; ++u) {
        best[r][u] = seen(first + r, u, side);
        bound[u] = max(bound[u], best[r][u]);
        if constexpr (kIndices) from[r][u] = all((Whole)(first + r));
      }
    }
#pragma GCC unroll 2
    for (int u = 0; u < kVectors; ++u) longest = max(longest, bound[u]);
    const T worst = largest(longest);
    if (worst == 0 && !kIndices) return false;

    const int64_t steps = reach(worst);
    Range range = {size_, -1};
    for (int u = 0; u < kVectors; ++u) {
      // Only lanes with a voxel of this label count. If such a lane has the other label at a bounding row,
      // that row itself is the bound.
      const Mask counts = bound[u] > all((T)0);
      const Mask in_above = seen(first - 1, u, side) > all((T)0);
      const Mask in_below = seen(first + Rows, u, side) > all((T)0);
      const Wholes low = in_above ? load(nearest(above, 0) + u * kCount) : all((Whole)(first - 1));
      const Wholes high = in_below ? load(nearest(below, 1) + u * kCount) : all((Whole)(first + Rows));
      range.include(counts, low, high);
    }
    range.clip(first - steps, first + Rows - 1 + steps);
    range.clip(candidates_.of[side].low, candidates_.of[side].high);

    const Entry* table = table_ - first;
    for (int64_t k = range.low; k <= range.high; ++k) {
      Values f[kVectors];
#pragma GCC unroll 2
      for (int u = 0; u < kVectors; ++u) f[u] = seen(k, u, side);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const Values offset = every(table[k - r]);
#pragma GCC unroll 2
        for (int u = 0; u < kVectors; ++u) {
          const Values sum = plus(f[u], offset);
          if constexpr (kIndices) from[r][u] = sum < best[r][u] ? all((Whole)k) : from[r][u];
          best[r][u] = min(sum, best[r][u]);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
      for (int u = 0; u < kVectors; ++u) {
        if constexpr (kShort) longest_ = max(longest_, best[r][u]);
        if constexpr (kIndices) store(nearest_ + (first + r) * kWidth + u * kCount, from[r][u]);
        put_side(out_ + (first + r) * stride_ + u * kCount, best[r][u], side, add);
      }
    }
    return true;
  }

  const T* field_;
  const int64_t size_;
  const Candidates& candidates_;
  const Entry* table_;
  const T step_sq_;
  Whole* nearest_;
  const End end_;
  Out* out_;
  int64_t stride_;
  float inverse_;        // 1 / step_sq_
  T near_;               // squared distance of kNearSteps
  Shorts longest_ = {};  // longest distances so far
};

// Converts a block of floats to shorts, padded as `Columns` needs it.
template <int kSides>
inline void narrow_block(const float* block, int64_t size, Short* shorts) {
  constexpr int kRow = kSides * kBlock;
  static_assert(kBlockOf<Short> == kBlock);
  for (int64_t k = 0; k < size; ++k) {
    const Floats low = load(block + k * kBlock), high = load(block + k * kBlock + kLanes);
    if (kSides == 2) store(shorts + k * kRow, narrow(-low, -high));
    store(shorts + (k + 1) * kRow - kBlock, narrow(low, high));
  }
  for (int64_t d = 1; d <= kNearSteps; ++d) {
    memcpy(shorts - d * kRow, shorts, kRow * sizeof(Short));
    memcpy(shorts + (size - 1 + d) * kRow, shorts + (size - 1) * kRow, kRow * sizeof(Short));
  }
}

// Solves one block: in shorts if the axis has a table of them and no distance is too long, else in floats.
template <class End>
void solve_block(const Workspace& workspace, const float* block, int64_t size, const Candidates& candidates,
                 const float* table, const int32_t* short_table, const End& end, typename End::Out* out,
                 int64_t stride) {
  Patience& patience = *workspace.patience;
  if (short_table && candidates.are_many() && patience.tries()) {
    Short* shorts = (Short*)workspace.shorts + kNearSteps * End::kSides * kBlock;
    narrow_block<End::kSides>(block, size, shorts);
    Columns<Short, End> columns(shorts, size, candidates, short_table, (Short*)workspace.nearest, end);
    const bool solved = columns.solve(out, stride);
    patience.learn(solved);
    if (solved) return;
  }
  Columns<float, End>(block, size, candidates, table, workspace.nearest, end).solve(out, stride);
}

// Prefetches a row of the next block; hardware prefetchers miss rows that are a slice apart.
template <class Value>
inline void prefetch_block(const Value* row) {
  for (int i = 0; i < kBlock; i += 64 / sizeof(Value)) __builtin_prefetch(row + i);
}

// Copies `width` columns of one row, with a fast path for a whole block.
inline void copy(float* to, const float* from, int64_t width) {
  if (width == kBlock) {
    store(to, load(from));
    store(to + kLanes, load(from + kLanes));
  } else {
    memcpy(to, from, width * sizeof(float));
  }
}

// Loads one row of a field into a block. A row with a single label was never written, so it is not read.
// Lanes beyond the width repeat the last column, which never widens a search.
inline void gather(float* block, const float* row, int64_t width, uint8_t state, const float uniform[2],
                   float scale) {
  if (state == kMixed) {
    if (width < kBlock) {
      for (int64_t i = 0; i < kBlock; ++i) block[i] = row[lesser(i, width - 1)];
      row = block;
    }
    store(block, load(row) * all(scale));
    store(block + kLanes, load(row + kLanes) * all(scale));
  } else {
    store(block, all(uniform[state]));
    store(block + kLanes, all(uniform[state]));
  }
}

}  // namespace SURFLOSS_ISA
}  // namespace surfloss
