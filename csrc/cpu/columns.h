// Min-plus along an axis: g(y) = min over k of f(k) + w (y - k)^2, for both labels from one signed field.
//
// The field is positive in the foreground, which sees max(f, 0), and negative in the background, which sees
// max(-f, 0). Coarse rows find their nearest row by divide and conquer: the nearest row never decreases with
// y, so that of the rows above and below bounds the search. The rows in between then search those bounds
// only, several at once. docs/cpu-transform.md derives it.
#pragma once

#include "job.h"
#include "simd.h"

namespace surfloss {
namespace SURFLOSS_ISA {

inline int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t greater(int64_t a, int64_t b) { return a > b ? a : b; }

// Label `side` as the sign to flip, so that its voxels are the positive ones.
inline Ints side_sign(int side) { return side ? all(0) : all(kSign); }

struct Range {
  int64_t low, high;  // both included
  // Rows `a` to `b` of the lanes that count. Where a step of this axis is nothing beside the distance, sums
  // are equal that should differ, and `a` may lie below `b`: both are then as near as can be told, and stay.
  void include(Ints counts, Ints a, Ints b) {
    low = lesser(low, smallest(counts ? (a < b ? a : b) : all(INT32_MAX)));
    high = greater(high, largest(counts ? (a < b ? b : a) : all(-1)));
  }
  void clip(int64_t from, int64_t to) {
    low = greater(low, from);
    high = lesser(high, to);
  }
};

// What feeds the next pass, and what the Hausdorff error takes.
constexpr Outcome kSignedField = {false, {kSign, 0}};
constexpr Outcome kMagnitude = {false, {0, 0}};

inline Floats finish(Floats squared, Ints sign, const Outcome& outcome) {
  return flip(outcome.root ? root(squared) : squared, sign);
}

// A block of kBlock columns of `size` rows.
class Columns {
 public:
  Columns(const float* field, int64_t size, const uint8_t* states, const float* table, int32_t* nearest,
          const Outcome& outcome)
      : field_(field),
        size_(size),
        states_(states),
        table_(table),
        step_sq_(table[1]),
        nearest_(nearest),
        outcome_(outcome) {
    for (int side = 0; side < 2; ++side) {
      // Rows without the other label cannot be nearest to this one.
      Range& range = candidates_[side];
      range = {0, size - 1};
      while (range.low < size && states[range.low] == side) ++range.low;
      while (range.high >= 0 && states[range.high] == side) --range.high;
    }
  }

  // Rows of no single label; which of them may be nearest is known.
  Columns(const float* field, int64_t size, const Range& candidates, const float* table, int32_t* nearest,
          const Outcome& outcome)
      : field_(field),
        size_(size),
        states_(nullptr),
        table_(table),
        step_sq_(table[1]),
        nearest_(nearest),
        outcome_(outcome),
        candidates_{candidates, candidates} {}

  void solve(float* out, int64_t stride) {
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
  const float* at(int64_t y) const { return field_ + y * kBlock; }

  // Largest number of steps that can still beat `bound`.
  int64_t reach(float bound) const {
    const float steps_sq = bound / step_sq_;
    if (!(steps_sq < (float)size_ * (float)size_)) return size_;
    int64_t steps = lesser((int64_t)__builtin_sqrtf(steps_sq) + 1, size_ - 1);
    while (steps > 0 && table_[steps] >= bound) --steps;
    return steps;
  }

  void divide(int64_t above, int64_t below) {
    if (below - above == 1) {
      solve_between(above, below);
      return;
    }
    const int64_t middle = (above + below) / 2;
    // A lane of the other label at a bounding row sees itself there as nearest.
    const int64_t y = row(middle);
    Range range = {size_, -1};
    for (int u = 0; u < 2; ++u) {
      const Ints label = (Ints)load(at(y) + u * kLanes) < 0;
      const Ints same_above = ((Ints)load(at(row(above)) + u * kLanes) < 0) == label;
      const Ints same_below = ((Ints)load(at(row(below)) + u * kLanes) < 0) == label;
      const Ints low = same_above ? load(nearest_ + above * kBlock + u * kLanes) : all((int32_t)row(above));
      const Ints high = same_below ? load(nearest_ + below * kBlock + u * kLanes) : all((int32_t)row(below));
      range.include(all(-1), low, high);
    }
    solve_row(middle, range);
    divide(above, middle);
    divide(middle, below);
  }

  // The sign of the outcome for lanes whose own sign says background.
  Ints sign_of(Ints background) const {
    return background < 0 ? all(outcome_.signs[0]) : all(outcome_.signs[1]);
  }

  // One coarse row: the minimum of every lane over `range`, and which row gave it.
  void solve_row(int64_t coarse, Range range) {
    const int64_t y = row(coarse);
    const Floats own0 = load(at(y)), own1 = load(at(y) + kLanes);
    const Ints sign0 = (Ints)own0 & kSign, sign1 = (Ints)own1 & kSign;
    Floats best0 = magnitude(own0), best1 = magnitude(own1);
    Ints row0 = all((int32_t)y), row1 = row0;
    const int64_t steps = reach(largest(max(best0, best1)));
    range.clip(y - steps, y + steps);
    // Without states both sides have the same candidates.
    const uint8_t state = states_ ? states_[y] : (uint8_t)kForeground;
    if (state != kMixed) range.clip(candidates_[state].low, candidates_[state].high);
    const float* table = table_ - y;
    for (int64_t k = range.low; k <= range.high; ++k) {
      const Floats sum0 = max(flip(load(at(k)), sign0), all(0.0f)) + table[k];
      const Floats sum1 = max(flip(load(at(k) + kLanes), sign1), all(0.0f)) + table[k];
      row0 = sum0 < best0 ? all((int32_t)k) : row0;
      row1 = sum1 < best1 ? all((int32_t)k) : row1;
      best0 = min(sum0, best0);
      best1 = min(sum1, best1);
    }
    store(nearest_ + coarse * kBlock, row0);
    store(nearest_ + coarse * kBlock + kLanes, row1);
    store(out_ + y * stride_, finish(best0, sign_of(sign0), outcome_));
    store(out_ + y * stride_ + kLanes, finish(best1, sign_of(sign1), outcome_));
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
    for (int side = 1; side >= 0; --side) written |= solve_side<Rows>(above, below, side, written);
    if (!written) {  // one-sided, and no foreground
      for (int r = 1; r <= Rows; ++r) {
        for (int u = 0; u < 2; ++u) store(out_ + (row(above) + r) * stride_ + u * kLanes, all(0.0f));
      }
    }
  }

  template <int Rows>
  bool solve_side(int64_t above, int64_t below, int side, bool add) {
    const Ints sign = side_sign(side);
    const int64_t first = row(above) + 1;
    Floats best[Rows][2], bound[2] = {all(0.0f), all(0.0f)};
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
      for (int u = 0; u < 2; ++u) {
        best[r][u] = max(flip(load(at(first + r) + u * kLanes), sign), all(0.0f));
        bound[u] = max(bound[u], best[r][u]);
      }
    }
    const float worst = largest(max(bound[0], bound[1]));
    if (worst == 0.0f) return false;

    const int64_t steps = reach(worst);
    Range range = {size_, -1};
    for (int u = 0; u < 2; ++u) {
      // Only lanes with a voxel of this side count; at a bounding row of the other label it is that row
      // itself.
      const Ints counts = bound[u] > 0.0f;
      const Ints in_above = flip(load(at(first - 1) + u * kLanes), sign) > 0.0f;
      const Ints in_below = flip(load(at(first + Rows) + u * kLanes), sign) > 0.0f;
      const Ints low = in_above ? load(nearest_ + above * kBlock + u * kLanes) : all((int32_t)first - 1);
      const Ints high = in_below ? load(nearest_ + below * kBlock + u * kLanes) : all((int32_t)first + Rows);
      range.include(counts, low, high);
    }
    range.clip(first - steps, first + Rows - 1 + steps);
    range.clip(candidates_[side].low, candidates_[side].high);

    const float* table = table_ - first;
    for (int64_t k = range.low; k <= range.high; ++k) {
      const Floats f0 = max(flip(load(at(k)), sign), all(0.0f));
      const Floats f1 = max(flip(load(at(k) + kLanes), sign), all(0.0f));
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const Floats offset = all(table[k - r]);
        best[r][0] = min(f0 + offset, best[r][0]);
        best[r][1] = min(f1 + offset, best[r][1]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
      for (int u = 0; u < 2; ++u) {
        float* to = out_ + (first + r) * stride_ + u * kLanes;
        const Floats v = finish(best[r][u], all(outcome_.signs[side]), outcome_);
        store(to, add ? load(to) + v : v);
      }
    }
    return true;
  }

  const float* field_;
  const int64_t size_;
  const uint8_t* states_;
  const float* table_;
  const float step_sq_;
  int32_t* nearest_;
  const Outcome outcome_;
  Range candidates_[2];
  float* out_;
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
