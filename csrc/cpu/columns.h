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

// Columns of T that are worked on together.
template <class T>
constexpr int kBlockOf = 2 * VectorOf<T>::kCount;

// Label `side` as the sign to flip, so that its voxels are the positive ones.
inline Ints side_sign(int side) { return side ? all(0) : all(kSign); }

// Rows, both included.
struct Range {
  int64_t low, high;
  // Rows `a` to `b` of the lanes that count. Where a step of this axis is nothing beside the distance, sums
  // are equal that should differ, and `a` may lie below `b`: both are then as near as can be told, and stay.
  template <class Wholes>
  void include(Wholes counts, Wholes a, Wholes b) {
    low = lesser(low, smallest(counts ? (a < b ? a : b) : Wholes{} + INT32_MAX));
    high = greater(high, largest(counts ? (a < b ? b : a) : Wholes{} - 1));
  }
  void clip(int64_t from, int64_t to) {
    low = greater(low, from);
    high = lesser(high, to);
  }
};

// What becomes of a squared distance. Of two labels: see job.h.
constexpr Outcome kSignedField = {false, {kSign, 0}};  // what feeds the next pass
constexpr Outcome kMagnitude = {false, {0, 0}};        // what the Hausdorff error takes

inline Floats finish(Floats squared, Ints sign, const Outcome& outcome) {
  return flip(outcome.root ? root(squared) : squared, sign);
}
inline Ints sign_of(Ints background, const Outcome& outcome) {
  return background < 0 ? all(outcome.signs[0]) : all(outcome.signs[1]);
}

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

// A block of columns of `size` rows, in T. With `kIndices` `nearest` is told of every row, else of coarse
// ones.
template <class T, class End, bool kIndices = false>
class Columns {
  using Values = typename VectorOf<T>::Values;
  using Whole = typename VectorOf<T>::Whole;
  using Wholes = decltype(all(Whole{}));
  using Out = typename End::Out;
  static constexpr int kCount = VectorOf<T>::kCount, kWidth = kBlockOf<T>, kSides = End::kSides;

 public:
  Columns(const T* field, int64_t size, const uint8_t* states, const T* table, Whole* nearest, const End& end)
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
  Columns(const T* field, int64_t size, const Range& candidates, const T* table, Whole* nearest,
          const End& end)
      : field_(field),
        size_(size),
        states_(nullptr),
        table_(table),
        step_sq_(table[1]),
        nearest_(nearest),
        end_(end),
        candidates_{candidates, candidates} {}

  void solve(Out* out, int64_t stride) {
    out_ = out;
    stride_ = stride;
    const int64_t last = (size_ + kGroup - 2) / kGroup;  // of the coarse rows
    const Range everything = {0, size_ - 1};
    solve_row(0, everything);
    if (last > 0) {
      solve_row(last, everything);
      divide(0, last);
    }
  }

 private:
  int64_t row(int64_t coarse) const { return lesser(coarse * kGroup, size_ - 1); }
  const T* at(int64_t y) const { return field_ + y * kWidth; }
  Whole* nearest(int64_t coarse) const { return nearest_ + (kIndices ? row(coarse) : coarse) * kWidth; }

  // A row's values as the label of `sign` sees them.
  static Values seen(Values field, [[maybe_unused]] Ints sign) {
    if constexpr (kSides == 2) {
      return max(flip(field, sign), all(0.0f));
    } else {
      return field;
    }
  }
  // Lanes of this label.
  static Wholes of_label(Values field, [[maybe_unused]] Ints sign) {
    if constexpr (kSides == 2) {
      return flip(field, sign) > 0.0f;
    } else {
      return field > 0;
    }
  }

  // Largest number of steps that can still beat `bound`.
  int64_t reach(T bound) const {
    const T steps_sq = bound / step_sq_;
    if (!(steps_sq < (T)size_ * (T)size_)) return size_;
    int64_t steps = lesser((int64_t)__builtin_sqrt((double)steps_sq) + 1, size_ - 1);
    while (steps > 0 && table_[steps] >= bound) --steps;
    return steps;
  }

  void divide(int64_t above, int64_t below) {
    if (below - above == 1) {
      solve_between(above, below);
      return;
    }
    const int64_t middle = (above + below) / 2;
    const int64_t y = row(middle);
    Range range = {size_, -1};
    for (int u = 0; u < 2; ++u) {
      Wholes low = load(nearest(above) + u * kCount), high = load(nearest(below) + u * kCount);
      if constexpr (kSides == 2) {
        // A lane of the other label at a bounding row sees itself there as nearest.
        const Ints label = (Ints)load(at(y) + u * kLanes) < 0;
        const Ints same_above = ((Ints)load(at(row(above)) + u * kLanes) < 0) == label;
        const Ints same_below = ((Ints)load(at(row(below)) + u * kLanes) < 0) == label;
        low = same_above ? low : all((int32_t)row(above));
        high = same_below ? high : all((int32_t)row(below));
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
    const Values own0 = load(at(y)), own1 = load(at(y) + kCount);
    Values best0 = own0, best1 = own1;
    Ints sign0 = {}, sign1 = {};
    if constexpr (kSides == 2) {
      sign0 = (Ints)own0 & kSign, sign1 = (Ints)own1 & kSign;
      best0 = magnitude(own0), best1 = magnitude(own1);
    }
    Wholes row0 = all((Whole)y), row1 = row0;
    const int64_t steps = reach(largest(max(best0, best1)));
    range.clip(y - steps, y + steps);
    // Without states both sides have the same candidates.
    const uint8_t state = states_ && kSides == 2 ? states_[y] : (uint8_t)kForeground;
    if (state != kMixed) range.clip(candidates_[state].low, candidates_[state].high);
    const T* table = table_ - y;
    for (int64_t k = range.low; k <= range.high; ++k) {
      const Values sum0 = seen(load(at(k)), sign0) + table[k];
      const Values sum1 = seen(load(at(k) + kCount), sign1) + table[k];
      row0 = sum0 < best0 ? all((Whole)k) : row0;
      row1 = sum1 < best1 ? all((Whole)k) : row1;
      best0 = min(sum0, best0);
      best1 = min(sum1, best1);
    }
    store(nearest(coarse), row0);
    store(nearest(coarse) + kCount, row1);
    Out* to = out_ + y * stride_;
    if constexpr (kSides == 2) {
      store(to, finish(best0, sign_of(sign0, end_), end_));
      store(to + kCount, finish(best1, sign_of(sign1, end_), end_));
    } else {
      put(to, best0, end_);
      put(to + kCount, best1, end_);
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
    bool written = false;
    for (int side = 1; side > 1 - kSides; --side) written |= solve_side<Rows>(above, below, side, written);
    if (written) return;
    // Of one label, and all 0.
    for (int64_t y = row(above) + 1; y <= row(above) + Rows; ++y) {
      for (int u = 0; u < 2; ++u) {
        for (int i = 0; i < kCount; ++i) out_[y * stride_ + u * kCount + i] = 0;
        if (kIndices) store(nearest_ + y * kWidth + u * kCount, all((Whole)y));
      }
    }
  }

  template <int Rows>
  bool solve_side(int64_t above, int64_t below, int side, [[maybe_unused]] bool add) {
    const Ints sign = side_sign(side);
    const int64_t first = row(above) + 1;
    Values best[Rows][2], bound[2] = {};
    [[maybe_unused]] Wholes nearest_row[Rows][2];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
      for (int u = 0; u < 2; ++u) {
        best[r][u] = seen(load(at(first + r) + u * kCount), sign);
        bound[u] = max(bound[u], best[r][u]);
        if constexpr (kIndices) nearest_row[r][u] = all((Whole)(first + r));
      }
    }
    const T worst = largest(max(bound[0], bound[1]));
    if (worst == 0) return false;

    const int64_t steps = reach(worst);
    Range range = {size_, -1};
    for (int u = 0; u < 2; ++u) {
      // Only lanes with a voxel of this side count; at a bounding row of the other label it is that row
      // itself.
      const Wholes counts = bound[u] > 0;
      const Wholes in_above = of_label(load(at(first - 1) + u * kCount), sign);
      const Wholes in_below = of_label(load(at(first + Rows) + u * kCount), sign);
      const Wholes low = in_above ? load(nearest(above) + u * kCount) : all((Whole)(first - 1));
      const Wholes high = in_below ? load(nearest(below) + u * kCount) : all((Whole)(first + Rows));
      range.include(counts, low, high);
    }
    range.clip(first - steps, first + Rows - 1 + steps);
    range.clip(candidates_[side].low, candidates_[side].high);

    const T* table = table_ - first;
    for (int64_t k = range.low; k <= range.high; ++k) {
      const Values f0 = seen(load(at(k)), sign), f1 = seen(load(at(k) + kCount), sign);
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const Values offset = all(table[k - r]);
        const Values sum0 = f0 + offset, sum1 = f1 + offset;
        if constexpr (kIndices) {
          nearest_row[r][0] = sum0 < best[r][0] ? all((Whole)k) : nearest_row[r][0];
          nearest_row[r][1] = sum1 < best[r][1] ? all((Whole)k) : nearest_row[r][1];
        }
        best[r][0] = min(sum0, best[r][0]);
        best[r][1] = min(sum1, best[r][1]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
      for (int u = 0; u < 2; ++u) {
        Out* to = out_ + (first + r) * stride_ + u * kCount;
        if constexpr (kIndices) store(nearest_ + (first + r) * kWidth + u * kCount, nearest_row[r][u]);
        if constexpr (kSides == 2) {
          const Values v = finish(best[r][u], all(end_.signs[side]), end_);
          store(to, add ? load(to) + v : v);
        } else {
          put(to, best[r][u], end_);
        }
      }
    }
    return true;
  }

  const T* field_;
  const int64_t size_;
  const uint8_t* states_;
  const T* table_;
  const T step_sq_;
  Whole* nearest_;
  const End end_;
  Range candidates_[2];
  Out* out_;
  int64_t stride_;
};

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
inline void gather(float* block, const float* row, int64_t width, uint8_t state, const float uniform[2]) {
  if (state == kMixed) {
    copy(block, row, width);
    for (int64_t i = width; i < kBlock; ++i) block[i] = block[width - 1];
  } else {
    store(block, all(uniform[state]));
    store(block + kLanes, all(uniform[state]));
  }
}

}  // namespace SURFLOSS_ISA
}  // namespace surfloss
