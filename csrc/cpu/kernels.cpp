// The passes of the distance transform and of the contour, compiled once per instruction set.

#include "background.h"
#include "columns.h"
#include "contour.h"
#include "job.h"
#include "labels.h"
#include "logistic.h"
#include "rows.h"
#include "simd.h"
#include "surface.h"
#include "surfloss_cpu.h"

namespace surfloss {
namespace SURFLOSS_ISA {
namespace {

// Solves columns [first, last) of one slab of rows, `stride` apart, in place.
template <class End>
void solve_columns(const Job& job, const Workspace& workspace, float* field, int64_t size, int64_t stride,
                   const uint8_t* states, const float* table, const int32_t* shorts, float scale,
                   const End& end, int64_t first, int64_t last) {
  const float uniform[2] = {uniform_value(kBackground, job.two_sided),
                            uniform_value(kForeground, job.two_sided)};
  const int64_t tile = tile_columns(size), block = size * kBlock;
  const Candidates candidates(states, size);
  for (int64_t at = first; at < last; at += tile) {
    const int64_t width = lesser(tile, last - at);
    for (int64_t k = 0; k < size; ++k) {
      const float* row = field + at + k * stride;
      for (int64_t i = 0, b = 0; i < width; i += kBlock, ++b) {
        gather(workspace.column + b * block + k * kBlock, row + i, lesser(kBlock, width - i), states[k],
               uniform, scale);
      }
    }
    for (int64_t i = 0, b = 0; i < width; i += kBlock, ++b) {
      float *to = field + at + i, *spare = workspace.result[0];
      const bool whole = width - i >= kBlock;
      solve_block(workspace, workspace.column + b * block, size, candidates, table, shorts, end,
                  whole ? to : spare, whole ? stride : kBlock);
      if (whole) continue;
      for (int64_t k = 0; k < size; ++k)
        memcpy(to + k * stride, spare + k * kBlock, (width - i) * sizeof(float));
    }
  }
}

template <class Value, class Foreground>
void scan_slices(const Job& job, const Workspace& workspace, const Value* values, Foreground foreground,
                 float* field, uint8_t* states, int64_t first, int64_t last) {
  const auto [depth, rows, size] = job.grid;
  for (int64_t slice = first; slice < last; ++slice) {
    const Tables& tables = job.of(slice / depth);
    const int64_t start = slice * rows * size;
    for (int64_t y = 0; y < rows; ++y) {
      const int64_t at = start + y * size;
      workspace.rows[y] =
          scan_row(values + at, foreground, field + at, size, job.two_sided, tables, workspace.words + 1);
    }
    states[slice] = common_state(workspace.rows, rows);
    if (rows > 1 && states[slice] == kMixed) {
      solve_columns(job, workspace, field + start, rows, size, workspace.rows, tables.y, tables.short_y, 1,
                    SignedField{}, 0, size);
    }
  }
}

template <class Value>
void mask_slices(const Job& job, const Workspace& workspace, const void* mask, float* field, uint8_t* states,
                 int64_t first, int64_t last) {
  scan_slices(job, workspace, (const Value*)mask, NotZero{}, field, states, first, last);
}

template <class Value>
void value_slices(const Job& job, const Workspace& workspace, const void* values, float* field,
                  uint8_t* states, int64_t first, int64_t last) {
  scan_slices(job, workspace, (const Value*)values, Above{job.threshold}, field, states, first, last);
}

void columns(const Job& job, const Workspace& workspace, int64_t item, float* field, const uint8_t* states,
             int64_t first, int64_t last) {
  const int64_t depth = job.grid.z, plane = job.grid.slice();
  float* start = field + item * job.grid.voxels();
  states += item * depth;
  const State state = common_state(states, depth);
  const Tables& tables = job.of(item);
  const Outcome outcome = job.outcome_of(item);
  if (state == kMixed && depth > 1) {
    solve_columns(job, workspace, start, depth, plane, states, tables.z, tables.short_z, tables.before_z,
                  outcome, first, last);
    return;
  }
  // z adds nothing: end with the field, or with one value if there is a single label.
  const Floats value = all(uniform_value(state, job.two_sided));
  for (int64_t k = 0; k < depth; ++k) {
    float* row = start + k * plane;
    for (int64_t i = first; i < last; i += kLanes) {
      const int64_t width = lesser(kLanes, last - i);
      Floats own = value;
      if (state == kMixed) memcpy(&own, row + i, width * sizeof(float));
      const Floats v = finish(magnitude(own) * all(tables.before_z), (Ints)own < 0, outcome);
      memcpy(row + i, &v, width * sizeof(float));
    }
  }
}

// Squared distance to a voxel before the first one: SciPy's result for an item without background.
float before_first(const Job& job, const Tables& tables, const Weighing& weighing, int64_t row,
                   int64_t column) {
  const double z = (double)(row + weighing.before_z), y = (double)(column / job.grid.x);
  const double x = (double)(column % job.grid.x + weighing.before_x);
  const double* step_sq = tables.step_sq;
  return (float)(z * z * step_sq[0] + y * y * step_sq[1] + x * x * step_sq[2] + tables.before_sq);
}

// Writes the squared distances of a block of columns, for the mask of the input (0) or the target (1).
void distances_of_block(const Job& job, const Workspace& workspace, int64_t item, const Weighing& weighing,
                        int which, int64_t at, int64_t width) {
  const int64_t depth = job.grid.z, plane = job.grid.slice(), start = item * job.grid.voxels() + at;
  const Tables& tables = job.of(item);
  float* out = workspace.result[which];
  const float* given = weighing.given[which];
  const uint8_t* states = weighing.states[which] + item * depth;
  if (!given && common_state(states, depth) == kMixed) {
    const float uniform[2] = {-INFINITY, INFINITY};
    for (int64_t k = 0; k < depth; ++k) {
      const float* row = weighing.fields[which] + start + k * plane;
      prefetch_block(row + kBlock);
      gather(workspace.column + k * kBlock, row, width, states[k], uniform, tables.before_z);
    }
    const Outcome magnitude = {false, {0, 0}, tables.after_z};
    solve_block(workspace, workspace.column, depth, Candidates(states, depth), tables.z, tables.short_z,
                magnitude, out, kBlock);
    return;
  }
  const float instead = weighing.empty == SURFLOSS_EMPTY_DIAGONAL ? (float)tables.diagonal_sq : 0.0f;
  for (int64_t k = 0; k < depth; ++k, out += kBlock) {
    for (int64_t i = 0; i < width; ++i) out[i] = given ? given[start + k * plane + i] : INFINITY;
    if (weighing.empty == SURFLOSS_EMPTY_SCIPY) {
      for (int64_t i = 0; i < width; ++i) {
        if (!(out[i] < INFINITY)) out[i] = before_first(job, tables, weighing, k, at + i);
      }
    } else {
      for (int64_t i = 0; i < width; ++i) out[i] = out[i] < INFINITY ? out[i] : instead;
    }
  }
}

// Squared distance to weight, for alpha 2, 1 and any other.
struct Square {
  Floats operator()(Floats squared) const { return squared; }
};
struct Root {
  Floats operator()(Floats squared) const { return root(squared); }
};
struct Power {
  float exponent;
  Floats operator()(Floats squared) const {
    for (int i = 0; i < kLanes; ++i) squared[i] = __builtin_powf(squared[i], exponent);
    return squared;
  }
};

// Bytes as a mask for vectors of Value (nonzero is true), and as the numbers 0 and 1.
template <class Value, class Byte = int8_t>
inline auto not_zero(const uint8_t* from) {
  typedef Byte Bytes __attribute__((vector_size(sizeof(Byte) * VectorOf<Value>::kCount)));
  using Mask = decltype(all(typename VectorOf<Value>::Whole{}));
  return __builtin_convertvector(load_as<Bytes>(from), Mask) != 0;
}
template <class Value>
inline auto numbers(const uint8_t* from) {
  return not_zero<Value>(from) ? all((Value)1) : all((Value)0);
}
template <class Value>
inline auto numbers(const Value* from) {
  return load(from);
}

inline void add_to(double* sums, Floats v) {
  for (int half = 0; half < 2; ++half, sums += kLanes / 2) {
    HalfFloats part;
    memcpy(&part, (const char*)&v + half * sizeof part, sizeof part);
    store(sums, load(sums) + __builtin_convertvector(part, Doubles));
  }
}
inline void add_to(double* sums, Doubles v) { store(sums, load(sums) + v); }

// Finds values of the input outside [lowest, highest], and values of the target other than 0 and 1. NaN is
// both.
template <class Value>
struct WrongValues {
  using Values = decltype(all(Value{}));
  using Mask = decltype(Values{} != Values{});
  Values lowest, highest;
  Mask input = {}, target = {};

  explicit WrongValues(const Weighing& weighing)
      : lowest(all((Value)weighing.lowest)), highest(all((Value)weighing.highest)) {}
  void look_at(Values x, const Value* g) {
    input |= ~((x >= lowest) & (x <= highest));
    target |= (load(g) != 0) & (load(g) != 1);
  }
  void look_at(Values x, const uint8_t*) { input |= ~((x >= lowest) & (x <= highest)); }
  static bool any(const Mask& mask) {
    bool found = false;
    for (int i = 0; i < VectorOf<Value>::kCount; ++i) found |= mask[i] != 0;
    return found;
  }
};

// One row of a block: writes the gradient, and adds the squared errors to the sums of each column. `plain`
// may be null.
template <class Value, class Target, class Raise>
inline void weigh_row(const Value* input, const Target* target, const float* mine, const float* theirs,
                      const uint8_t* ignore, Value* gradient, double* weighted, double* plain, Value scale,
                      bool sigmoid, float most, const Raise& raise, WrongValues<Value>& wrong) {
  constexpr int kCount = VectorOf<Value>::kCount;
  float weight[kBlock];
  for (int i = 0; i < kBlock; i += kLanes) {
    const Floats own = raise(min(load(mine + i), all(most))), other = raise(min(load(theirs + i), all(most)));
    const Floats sum = own + other;
    store(weight + i, ignore ? (not_zero<float>(ignore + i) ? all(0.0f) : sum) : sum);
  }
  for (int i = 0; i < kBlock; i += kCount) {
    auto prediction = load(input + i), slope = all((Value)1);
    wrong.look_at(prediction, target + i);
    if (sigmoid) logistic(load(input + i), prediction, slope);
    const auto difference = prediction - numbers<Value>(target + i);
    const auto pull = difference * convert<Value>(weight + i);
    add_to(weighted + i, pull * difference);
    store(gradient + i, pull * all(scale) * slope);
    if (plain) {
      const auto square = difference * difference;
      add_to(plain + i, ignore ? (not_zero<Value>(ignore + i) ? all((Value)0) : square) : square);
    }
  }
}

// One row of a block with only `width` columns. Lanes beyond these add 0, which is no wrong value.
template <class Value, class Target, class Raise>
inline void weigh_part(const Value* input, const Target* target, const float* mine, const float* theirs,
                       const uint8_t* ignore, Value* gradient, double* weighted, double* plain, Value scale,
                       bool sigmoid, float most, const Raise& raise, WrongValues<Value>& wrong,
                       int64_t width) {
  Value own_input[kBlock] = {}, own_gradient[kBlock];
  Target own_target[kBlock] = {};
  uint8_t own_ignore[kBlock];
  memset(own_ignore, 1, kBlock);
  memcpy(own_input, input, width * sizeof(Value));
  memcpy(own_target, target, width * sizeof(Target));
  if (ignore) {
    memcpy(own_ignore, ignore, width);
  } else {
    memset(own_ignore, 0, width);
  }
  weigh_row(own_input, own_target, mine, theirs, own_ignore, own_gradient, weighted, plain, scale, sigmoid,
            most, raise, wrong);
  memcpy(gradient, own_gradient, width * sizeof(Value));
}

// Columns [first, last) of one item: last pass of both fields, gradient, and sums of the errors.
template <class Value, class Target, class Raise>
Sums weigh_columns_with(const Job& job, const Workspace& workspace, int64_t item, const Weighing& weighing,
                        int64_t first, int64_t last, const Raise& raise) {
  const int64_t depth = job.grid.z, plane = job.grid.slice(), start = item * job.grid.voxels();
  const Value scale = (Value)(2.0 / (double)job.grid.voxels());
  double weighted[kBlock] = {}, plain[kBlock] = {};
  WrongValues<Value> wrong(weighing);
  for (int64_t at = first; at < last; at += kBlock) {
    const int64_t width = lesser(kBlock, last - at);
    for (int which = 0; which < 2; ++which)
      distances_of_block(job, workspace, item, weighing, which, at, width);
    for (int64_t k = 0; k < depth; ++k) {
      const int64_t place = start + k * plane + at;
      const auto weigh = [&](const auto& row, auto... rest) {
        row((const Value*)weighing.values[0] + place, (const Target*)weighing.values[1] + place,
            workspace.result[0] + k * kBlock, workspace.result[1] + k * kBlock,
            weighing.ignore ? weighing.ignore + place : nullptr, (Value*)weighing.gradient + place, weighted,
            weighing.with_plain ? plain : nullptr, scale, weighing.sigmoid, weighing.max_squared, raise,
            wrong, rest...);
      };
      if (width == kBlock) {
        prefetch_block((const Value*)weighing.values[0] + place + kBlock);
        prefetch_block((const Target*)weighing.values[1] + place + kBlock);
        weigh(weigh_row<Value, Target, Raise>);
      } else {
        weigh(weigh_part<Value, Target, Raise>, width);
      }
    }
  }
  Sums sums = {0, 0, wrong.any(wrong.input), wrong.any(wrong.target)};
  for (int i = 0; i < kBlock; ++i) sums.weighted += weighted[i], sums.plain += plain[i];
  return sums;
}

// Dispatches on the target's type and the exponent.
template <class Value>
Sums weigh_columns(const Job& job, const Workspace& workspace, int64_t item, const Weighing& weighing,
                   int64_t first, int64_t last) {
  const auto by_power = [&](auto target) {
    const auto with = [&](const auto& raise) {
      return weigh_columns_with<Value, decltype(target)>(job, workspace, item, weighing, first, last, raise);
    };
    if (weighing.alpha == 2) return with(Square{});
    if (weighing.alpha == 1) return with(Root{});
    return with(Power{(float)(weighing.alpha / 2)});
  };
  return weighing.byte_target ? by_power(uint8_t{}) : by_power(Value{});
}

}  // namespace

extern const Kernels kernels = {
    kMost,
    {mask_slices<uint8_t>, mask_slices<float>, value_slices<float>, value_slices<double>},
    columns,
    {weigh_columns<float>, weigh_columns<double>},
    {label_slices<uint8_t>, label_slices<uint16_t>, label_slices<uint32_t>, label_slices<uint64_t>},
    {label_columns<uint8_t>, label_columns<uint16_t>, label_columns<uint32_t>, label_columns<uint64_t>},
    distance_slices,
    distance_columns,
    nearest_slice,
    nearest_columns,
    {contour_strip<float>, contour_strip<double>},
    {contour_gradient_strip<float>, contour_gradient_strip<double>},
    {surface_strip<float>, surface_strip<double>},
    {surface_gradient_strip<float>, surface_gradient_strip<double>},
};

}  // namespace SURFLOSS_ISA
}  // namespace surfloss
