// Min-plus along an axis: g(y) = min over k of f(k) + w (y - k)^2, for both labels from one signed field, or
// for one label.
//
// A field of two labels is positive in the foreground, which sees max(f, 0), and negative in the background,
// which sees max(-f, 0). Coarse rows find their nearest row by divide and conquer: the nearest row never
// decreases with y, so that of the rows above and below bounds the search. The rows in between then search
// those bounds only, several at once. docs/cpu-transform.md derives it.
#pragma once

#include "job.h"
#include "simd.h"

namespace surfloss {
namespace SURFLOSS_ISA {

inline int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t greater(int64_t a, int64_t b) { return a > b ? a : b; }

// Columns of T that are worked on together, in so many vectors, and rows between coarse rows, and one.
template <class T>
constexpr int kVectorsOf = 2;
template <>
constexpr int kVectorsOf<int16_t> = 1;
template <class T>
constexpr int kBlockOf = kVectorsOf<T>* VectorOf<T>::kCount;
template <class T>
constexpr int kGroupOf = kGroup;
template <>
constexpr int kGroupOf<int16_t> = 8;

// Rows, both included.
struct Range {
  int64_t low, high;
  // Rows `a` to `b` of the lanes that count. Where a step of this axis is nothing beside the distance, sums
  // are equal that should differ, and `a` may lie below `b`: both are then as near as can be told, and stay.
  template <class Wholes>
  void include(Wholes counts, Wholes a, Wholes b) {
    constexpr auto beyond = (decltype(smallest(a)))(sizeof a[0] == 2 ? INT16_MAX : INT32_MAX);
    low = lesser(low, smallest(counts ? (a < b ? a : b) : all(beyond)));
    high = greater(high, largest(counts ? (a < b ? b : a) : Wholes{} - 1));
  }
  void clip(int64_t from, int64_t to) {
    low = greater(low, from);
    high = lesser(high, to);
  }
};

// What becomes of a squared distance. Of two labels: see job.h.
constexpr Outcome kSignedField = {false, {kSign, 0}, 1};  // what feeds the next pass

inline Floats finish(Floats squared, const Outcome& outcome) {
  const Ints sign = squared < 0 ? all(outcome.signs[0]) : all(outcome.signs[1]);
  const Floats scaled = magnitude(squared) * all(outcome.scale);
  return flip(outcome.root ? root(scaled) : scaled, sign);
}
inline void put(float* to, Floats squared, const Outcome& outcome) { store(to, finish(squared, outcome)); }

// Of one label: it stays as it is, to feed the next pass.
template <class T>
struct Squared {
  using Out = T;
  static constexpr int kSides = 1;
};
inline void put(float* to, Floats squared, Squared<float>) { store(to, squared); }
inline void put(double* to, Doubles squared, Squared<double>) { store(to, squared); }

// Its root, times the length of a unit.
template <class T>
struct Rooted {
  using Out = double;
  static constexpr int kSides = 1;
  double unit;
};
inline void put(double* to, Doubles squared, Rooted<double> rooted) {
  store(to, root(squared) * all(rooted.unit));
}
inline void put(double* to, Floats squared, Rooted<float> rooted) {
  HalfFloats halves[2];
  memcpy(halves, &squared, sizeof halves);
  for (int half = 0; half < 2; ++half) {
    const Doubles wide = __builtin_convertvector(halves[half], Doubles);
    store(to + half * kLanes / 2, root(wide) * all(rooted.unit));
  }
}

// Shorts become floats first.
template <class End>
inline void put(typename End::Out* to, Shorts squared, const End& end) {
  for (int half = 0; half < 2; ++half) put(to + half * kLanes, widen(squared, half), end);
}

// A block of columns of `size` rows, in T. With `kIndices` `nearest` is told of every row, else of coarse
// ones.
template <class T, class End, bool kIndices = false>
class Columns {
  using Values = typename VectorOf<T>::Values;
  using Whole = typename VectorOf<T>::Whole;
  using Wholes = decltype(all(Whole{}));
  using Entry = typename VectorOf<T>::Entry;
  using Out = typename End::Out;
  static constexpr int kCount = VectorOf<T>::kCount, kVectors = kVectorsOf<T>, kWidth = kBlockOf<T>;
  static constexpr int kGroup = kGroupOf<T>, kSides = End::kSides;
  static constexpr bool kShort = sizeof(T) == 2;

 public:
  Columns(const T* field, int64_t size, const uint8_t* states, const Entry* table, Whole* nearest, const End& end)
      : Columns(field, size, Range{0, size - 1}, table, nearest, end) {
    states_ = states;
    for (int side = 0; side < 2; ++side) {
      // Rows without the other label cannot be nearest to this one.
      Range& range = candidates_[side];
      while (range.low < size && states[range.low] == side) ++range.low;
      while (range.high >= 0 && states[range.high] == side) --range.high;
    }
  }

  // Rows of no single label; which of them may be nearest is known.
  Columns(const T* field, int64_t size, const Range& candidates, const Entry* table, Whole* nearest,
          const End& end)
      : field_(field),
        size_(size),
        states_(nullptr),
        table_(table),
        step_sq_((T)table[1]),
        nearest_(nearest),
        end_(end),
        candidates_{candidates, candidates} {}

  // False if a distance was too long for shorts; what has been written is then nothing.
  bool solve(Out* out, int64_t stride) {
    out_ = out;
    stride_ = stride;
    const int64_t last = (size_ + kGroup - 2) / kGroup;  // of the coarse rows
    const Range everything = {0, size_ - 1};
    solve_row(0, everything);
    if (last > 0) {
      solve_row(last, everything);
      divide(0, last);
    }
    return !is_too_long();
  }

 private:
  int64_t row(int64_t coarse) const { return lesser(coarse * kGroup, size_ - 1); }
  const T* at(int64_t y) const { return field_ + y * kWidth; }
  Whole* nearest(int64_t coarse) const { return nearest_ + (kIndices ? row(coarse) : coarse) * kWidth; }

  // Label `side` as the sign to flip, so that its voxels are the positive ones.
  static auto side_sign([[maybe_unused]] int side) {
    if constexpr (kSides == 2) {
      return side ? sign_of(all((T)1)) : sign_of(all((T)-1));
    } else {
      return Wholes{};
    }
  }
  // A row's values as the label of `sign` sees them.
  static Values seen(Values field, [[maybe_unused]] Wholes sign) {
    if constexpr (kSides == 2) {
      return max(flip(field, sign), all((T)0));
    } else {
      return field;
    }
  }
  // Lanes of this label.
  static Wholes of_label(Values field, [[maybe_unused]] Wholes sign) {
    if constexpr (kSides == 2) {
      return flip(field, sign) > all((T)0);
    } else {
      return field > all((T)0);
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
      return lesser((int64_t)__builtin_sqrtf(((float)bound - 0.5f) / (float)step_sq_), size_ - 1);
    } else {
    const T steps_sq = bound / step_sq_;
    if (!(steps_sq < (T)size_ * (T)size_)) return size_;
    int64_t steps = lesser((int64_t)__builtin_sqrt((double)steps_sq) + 1, size_ - 1);
    while (steps > 0 && table_[steps] >= bound) --steps;
    return steps;
    }
  }

  void divide(int64_t above, int64_t below) {
    if (is_too_long()) return;
    if (below - above == 1) {
      solve_between(above, below);
      return;
    }
    const int64_t middle = (above + below) / 2;
    const int64_t y = row(middle);
    Range range = {size_, -1};
    for (int u = 0; u < kVectors; ++u) {
      Wholes low = load(nearest(above) + u * kCount), high = load(nearest(below) + u * kCount);
      if constexpr (kSides == 2) {
        // A lane of the other label at a bounding row sees itself there as nearest.
        const Wholes label = (Wholes)load(at(y) + u * kCount) < 0;
        const Wholes same_above = ((Wholes)load(at(row(above)) + u * kCount) < 0) == label;
        const Wholes same_below = ((Wholes)load(at(row(below)) + u * kCount) < 0) == label;
        low = same_above ? low : all((Whole)row(above));
        high = same_below ? high : all((Whole)row(below));
      }
      range.include(all((Whole)-1), low, high);
    }
    solve_row(middle, range);
    divide(above, middle);
    divide(middle, below);
  }

  // One coarse row: the minimum of every lane over `range`, and which row gave it.
  void solve_row(int64_t coarse, Range range) {
    const int64_t y = row(coarse);
    Values best[kVectors], bound = {};
    Wholes sign[kVectors], from[kVectors];
#pragma GCC unroll 2
    for (int u = 0; u < kVectors; ++u) {
      best[u] = load(at(y) + u * kCount);
      from[u] = all((Whole)y);
      if constexpr (kSides == 2) {
        sign[u] = sign_of(best[u]);
        best[u] = magnitude(best[u]);
      }
      bound = max(bound, best[u]);
    }
    const int64_t steps = reach(largest(bound));
    range.clip(y - steps, y + steps);
    // Without states both sides have the same candidates.
    const uint8_t state = states_ && kSides == 2 ? states_[y] : (uint8_t)kForeground;
    if (state != kMixed) range.clip(candidates_[state].low, candidates_[state].high);
    const Entry* table = table_ - y;
    for (int64_t k = range.low; k <= range.high; ++k) {
#pragma GCC unroll 2
      for (int u = 0; u < kVectors; ++u) {
        const Values sum = plus(seen(load(at(k) + u * kCount), sign[u]), every(table[k]));
        from[u] = sum < best[u] ? all((Whole)k) : from[u];
        best[u] = min(sum, best[u]);
      }
    }
    for (int u = 0; u < kVectors; ++u) {
      store(nearest(coarse) + u * kCount, from[u]);
      if constexpr (kShort) longest_ = max(longest_, best[u]);
      if constexpr (kSides == 2) best[u] = signed_by(best[u], sign[u]);
      put(out_ + y * stride_ + u * kCount, best[u], end_);
    }
  }

  static Values signed_by(Values v, Wholes sign) {
    if constexpr (kShort) {
      return flip(v, sign) - sign;  // two's complement
    } else {
      return flip(v, sign);
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

  // The `Rows` rows between two neighbouring coarse rows; voxels of the other label than `side` come out as
  // 0, so that the two sides add up.
  template <int Rows>
  void solve_group(int64_t above, int64_t below) {
    Values found[Rows][kVectors];
    bool any = false;
    for (int side = 1; side > 1 - kSides; --side) any |= solve_side<Rows>(above, below, side, any, found);
    for (int r = 0; r < Rows; ++r) {
      const int64_t y = row(above) + 1 + r;
      for (int u = 0; u < kVectors; ++u) {
        // Else of one label, and all 0.
        put(out_ + y * stride_ + u * kCount, any ? found[r][u] : all((T)0), end_);
        if (kIndices && !any) store(nearest_ + y * kWidth + u * kCount, all((Whole)y));
      }
    }
  }

  template <int Rows>
  bool solve_side(int64_t above, int64_t below, int side, [[maybe_unused]] bool add,
                  Values (&found)[Rows][kVectors]) {
    const Wholes sign = side_sign(side);
    const int64_t first = row(above) + 1;
    Values best[Rows][kVectors], bound[kVectors] = {}, longest = {};
    [[maybe_unused]] Wholes nearest_row[Rows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
      for (int u = 0; u < kVectors; ++u) {
        best[r][u] = seen(load(at(first + r) + u * kCount), sign);
        bound[u] = max(bound[u], best[r][u]);
        if constexpr (kIndices) nearest_row[r][u] = all((Whole)(first + r));
      }
    }
#pragma GCC unroll 2
    for (int u = 0; u < kVectors; ++u) longest = max(longest, bound[u]);
    const T worst = largest(longest);
    if (worst == 0) return false;

    const int64_t steps = reach(worst);
    Range range = {size_, -1};
    for (int u = 0; u < kVectors; ++u) {
      // Only lanes with a voxel of this side count; at a bounding row of the other label it is that row
      // itself.
      const Wholes counts = bound[u] > all((T)0);
      const Wholes in_above = of_label(load(at(first - 1) + u * kCount), sign);
      const Wholes in_below = of_label(load(at(first + Rows) + u * kCount), sign);
      const Wholes low = in_above ? load(nearest(above) + u * kCount) : all((Whole)(first - 1));
      const Wholes high = in_below ? load(nearest(below) + u * kCount) : all((Whole)(first + Rows));
      range.include(counts, low, high);
    }
    range.clip(first - steps, first + Rows - 1 + steps);
    range.clip(candidates_[side].low, candidates_[side].high);

    const Entry* table = table_ - first;
    for (int64_t k = range.low; k <= range.high; ++k) {
      Values f[kVectors];
#pragma GCC unroll 2
      for (int u = 0; u < kVectors; ++u) f[u] = seen(load(at(k) + u * kCount), sign);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const Values offset = every(table[k - r]);
#pragma GCC unroll 2
        for (int u = 0; u < kVectors; ++u) {
          const Values sum = plus(f[u], offset);
          if constexpr (kIndices) nearest_row[r][u] = sum < best[r][u] ? all((Whole)k) : nearest_row[r][u];
          best[r][u] = min(sum, best[r][u]);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
      for (int u = 0; u < kVectors; ++u) {
        if constexpr (kShort) longest_ = max(longest_, best[r][u]);
        if constexpr (kIndices) store(nearest_ + (first + r) * kWidth + u * kCount, nearest_row[r][u]);
        found[r][u] = side ? best[r][u] : (add ? found[r][u] : all((T)0)) - best[r][u];
      }
    }
    return true;
  }

  const T* field_;
  const int64_t size_;
  const uint8_t* states_;
  const Entry* table_;
  const T step_sq_;
  Whole* nearest_;
  const End end_;
  Range candidates_[2];
  Out* out_;
  int64_t stride_;
  Shorts longest_ = {};
};

// One block, by shorts if the axis has such a table and if no distance is too long for them. `rows` are
// states, or the range of what may be nearest.
template <class End, class Rows>
void solve_block(const Workspace& workspace, const float* block, int64_t size, const Rows& rows,
                 const float* table, const int32_t* shorts, const End& end, typename End::Out* out,
                 int64_t stride) {
  if (shorts) {
    static_assert(kBlockOf<int16_t> == kBlock);
    for (int64_t i = 0; i < size * kBlock; i += kBlock) {
      store(workspace.shorts + i, narrow(load(block + i), load(block + i + kLanes)));
    }
    int16_t* nearest = (int16_t*)workspace.nearest;
    if (Columns<int16_t, End>(workspace.shorts, size, rows, shorts, nearest, end).solve(out, stride)) return;
  }
  Columns<float, End>(block, size, rows, table, workspace.nearest, end).solve(out, stride);
}

// The row of the next block, which no prefetcher foresees where rows are a slice apart.
template <class Value>
inline void prefetch_block(const Value* row) {
  for (int i = 0; i < kBlock; i += 64 / sizeof(Value)) __builtin_prefetch(row + i);
}

// `width` columns of one row, with a fast way for a whole block.
inline void copy(float* to, const float* from, int64_t width) {
  if (width == kBlock) {
    store(to, load(from));
    store(to + kLanes, load(from + kLanes));
  } else {
    memcpy(to, from, width * sizeof(float));
  }
}

// Brings one row of a field into a block. One of a single label was never written, and is not read. Lanes
// beyond the width repeat the last column, so that they widen no search.
inline void gather(float* block, const float* row, int64_t width, uint8_t state, const float uniform[2],
                   float scale) {
  if (state == kMixed) {
    copy(block, row, width);
    for (int64_t i = width; i < kBlock; ++i) block[i] = block[width - 1];
    store(block, load(block) * all(scale));
    store(block + kLanes, load(block + kLanes) * all(scale));
  } else {
    store(block, all(uniform[state]));
    store(block + kLanes, all(uniform[state]));
  }
}

}  // namespace SURFLOSS_ISA
}  // namespace surfloss
