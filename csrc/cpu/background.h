// Distance to the nearest zero voxel in double, and its index, by the same three passes.
//
// Squared distances in whole units are exact in float32 up to 2^24. Most grids, or at least their planes,
// have such a unit; all other distances are compared in double.
#pragma once

#include <math.h>

#include "columns.h"
#include "job.h"
#include "rows.h"
#include "simd.h"

namespace surfloss {
namespace SURFLOSS_ISA {
namespace {

// Converts the result of the previous pass to squared distances: scales it, and squares it if it is
// distances.
template <class T>
struct Scale {
  T factor;
  bool square;
  typename VectorOf<T>::Values operator()(typename VectorOf<T>::Values v) const {
    v *= all(factor);
    return square ? v * v : v;
  }
};

template <class T, class Raw>
inline void gather_scaled(T* block, const Raw* row, int64_t width, uint8_t state, const Scale<T>& scale) {
  constexpr int kCount = VectorOf<T>::kCount;
  Raw part[kBlockOf<T>];
  if (state == kMixed && width < kBlockOf<T>) {
    // Lanes beyond the width repeat the last column, which never widens a search.
    for (int i = 0; i < kBlockOf<T>; ++i) part[i] = row[lesser(i, width - 1)];
    row = part;
  }
  for (int i = 0; i < kBlockOf<T>; i += kCount) {
    store(block + i, state == kMixed ? scale(convert<T>(row + i)) : all(state ? (T)INFINITY : (T)0));
  }
}

template <class T>
inline void put_part(T* to, const T* from, int64_t width) {
  memcpy(to, from, width * sizeof(T));
}

// Between passes a row's squared units, or steps, are floats in the memory of the final doubles. The floats
// of each kPiece columns are packed at the start of the memory of these columns.
constexpr int64_t kPiece = kMaxBlock;
inline void pack(double* to, const float* from, int64_t count) {
  for (int64_t i = 0; i < count; i += kPiece) {
    memcpy(to + i, from + i, lesser(kPiece, count - i) * sizeof(float));
  }
}
inline const float* packed(const double* row, int64_t column) {
  return (const float*)(row + column / kPiece * kPiece) + column % kPiece;
}

// Solves columns [first, last) of one slab of rows, `stride` apart. `from(k, i)` points to column i of row k
// as the previous pass left it, and may lie in `to`.
template <class T, class From, class End>
void solve_background(const Workspace& workspace, const From& from, typename End::Out* to, int64_t size,
                      int64_t stride, const uint8_t* states, const T* table, const int32_t* shorts,
                      const Scale<T>& scale, const End& end, int64_t first, int64_t last) {
  using Out = typename End::Out;
  constexpr int kWidth = kBlockOf<T>;
  const int64_t tile = tile_columns(size);
  T* column = (T*)workspace.column;
  Out* spare = (Out*)workspace.result[0];
  const Candidates candidates(states, size);
  for (int64_t at = first; at < last; at += tile) {
    const int64_t width = lesser(tile, last - at);
    for (int64_t k = 0; k < size; ++k) {
      for (int64_t i = 0; i < width; i += kWidth) {
        gather_scaled(column + i * size + k * kWidth, from(k, at + i), width - i, states[k], scale);
      }
    }
    for (int64_t i = 0; i < width; i += kWidth) {
      const bool whole = width - i >= kWidth;
      Out* out = whole ? to + at + i : spare;
      const int64_t out_stride = whole ? stride : kWidth;
      if constexpr (sizeof(T) == sizeof(float)) {
        solve_block(workspace, column + i * size, size, candidates, table, shorts, end, out, out_stride);
      } else {
        Columns<T, End>(column + i * size, size, candidates, table, (int64_t*)workspace.nearest, end)
            .solve(out, out_stride);
      }
      if (whole) continue;
      for (int64_t k = 0; k < size; ++k) put_part(to + k * stride + at + i, spare + k * kWidth, width - i);
    }
  }
}

// Passes along x and y over slices [first, last) of all items' slices. Writes only slices with both labels:
// packed steps along x if there is no y, else packed squared units, or mm^2 if the plane has no unit.
void distance_slices(const Job& job, const Workspace& workspace, const uint8_t* mask, double* distance,
                     uint8_t* states, int64_t first, int64_t last) {
  const auto [depth, rows, size] = job.grid;
  const int64_t plane = job.grid.slice();
  float* field = workspace.slice;
  const auto steps = [&, size = size](int64_t y, int64_t x) { return field + y * size + x; };
  for (int64_t slice = first; slice < last; ++slice) {
    const Tables& tables = job.of(slice / depth);
    for (int64_t y = 0; y < rows; ++y) {
      workspace.rows[y] = scan_row(mask + slice * plane + y * size, NotZero{}, field + y * size, size, false,
                                   tables, workspace.words + 1);
    }
    states[slice] = common_state(workspace.rows, rows);
    if (states[slice] != kMixed) continue;
    double* to = distance + slice * plane;
    if (rows == 1) {
      pack(to, field, plane);
    } else if (tables.whole_plane) {
      solve_background(workspace, steps, field, rows, size, workspace.rows, tables.y, tables.short_y,
                       Scale<float>{tables.multiple_x, true}, Squared<float>{}, 0, size);
      pack(to, field, plane);
    } else {
      solve_background(workspace, steps, to, rows, size, workspace.rows, tables.y_sq, nullptr,
                       Scale<double>{tables.step[2], true}, Squared<double>{}, 0, size);
    }
  }
}

// Pass along z over columns [first, last) of one item's plane, in place, to mm.
void distance_columns(const Job& job, const Workspace& workspace, int64_t item, double* distance,
                      const uint8_t* states, int64_t first, int64_t last) {
  const int64_t depth = job.grid.z, plane = job.grid.slice();
  const Tables& tables = job.of(item);
  distance += item * job.grid.voxels();
  states += item * depth;
  const State state = common_state(states, depth);
  if (state != kMixed) {
    for (int64_t k = 0; k < depth; ++k) {
      for (int64_t i = first; i < last; ++i) distance[k * plane + i] = state ? (double)INFINITY : 0.0;
    }
    return;
  }
  if (depth == 1) {  // y also has size 1: a single row
    for (int64_t at = first; at < last; at += kPiece) {
      float steps[kPiece];
      const int64_t count = lesser(kPiece, last - at);
      memcpy(steps, packed(distance, at), count * sizeof(float));
      for (int64_t i = 0; i < count; ++i) distance[at + i] = steps[i] * tables.step[2];
    }
    return;
  }
  const bool steps = job.grid.y == 1;  // the packed values are steps along x
  const auto floats = [&](int64_t k, int64_t i) { return packed(distance + k * plane, i); };
  const auto doubles = [&](int64_t k, int64_t i) { return distance + k * plane + i; };
  if (tables.whole) {
    solve_background(workspace, floats, distance, depth, plane, states, tables.z, tables.short_z,
                     Scale<float>{steps ? tables.multiple_x : 1, steps}, Rooted<float>{tables.unit}, first,
                     last);
  } else if (steps || tables.whole_plane) {
    solve_background(workspace, floats, distance, depth, plane, states, tables.z_sq, nullptr,
                     Scale<double>{steps ? tables.step[2] : tables.unit * tables.unit, steps},
                     Rooted<double>{1}, first, last);
  } else {
    solve_background(workspace, doubles, distance, depth, plane, states, tables.z_sq, nullptr,
                     Scale<double>{1, false}, Rooted<double>{1}, first, last);
  }
}

// Index of the nearest zero along a row, from its labels as bits; -1 if it has none.
inline State nearest_in_row(const uint64_t* words, int32_t* row, int64_t size) {
  Ints lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  bool label = words[0] & 1;
  int64_t from = 0;
  // A run may write beyond its end; the next run overwrites that.
  const auto fill = [&](int64_t to) {
    const int64_t before = from - 1, after = to < size ? to : before;
    const int64_t last = from > 0 ? (before + after) / 2 : -1;  // last voxel nearer to `before`
    for (int64_t i = from; i < to; i += kLanes) {
      const Ints place = all((int32_t)i) + lane;
      const Ints v = !label ? place : place <= (int32_t)last ? all((int32_t)before) : all((int32_t)after);
      if (i + kLanes <= size) {
        store(row + i, v);
      } else {
        memcpy(row + i, &v, (size - i) * sizeof(int32_t));
      }
    }
  };
  for (int64_t at = 0; at < size; at += 64) {
    const uint64_t word = words[at / 64];
    for (uint64_t changes = word ^ (word << 1 | (uint64_t)label); changes; changes &= changes - 1) {
      const int64_t to = at + __builtin_ctzll(changes);
      fill(to);
      from = to;
      label = !label;
    }
  }
  fill(size);
  return from > 0 ? kMixed : label ? kForeground : kBackground;
}

// An axis of an earlier pass: its indices, which this pass replaces by those of the nearest row, and the
// columns' places along it.
template <class T>
struct Passed {
  int32_t* index;
  T step;
  int64_t divisor, modulus;  // the place along the axis is column / divisor % modulus
};

// One pass along an axis of `size` rows, `stride` apart, over columns [first, last). Writes the nearest rows
// to `axis`, and the distances to `distance` unless that is null.
template <class T, int kPassed, class End>
void nearest_rows(const Workspace& workspace, const Passed<T> (&passed)[kPassed], int32_t* axis, int64_t size,
                  int64_t stride, const uint8_t* states, const T* table, const End& end,
                  typename End::Out* distance, int64_t first, int64_t last) {
  using Whole = typename VectorOf<T>::Whole;
  constexpr int kWidth = kBlockOf<T>, kCount = VectorOf<T>::kCount;
  const int64_t tile = tile_columns(size);
  T* column = (T*)workspace.column;
  typename End::Out* spare = (typename End::Out*)workspace.result[0];
  Whole* rows = (Whole*)workspace.result[1];
  const Candidates candidates(states, size);
  for (int64_t at = first; at < last; at += tile) {
    const int64_t width = lesser(tile, last - at);
    for (int64_t i = 0; i < width; i += kWidth) {
      int32_t place[kPassed][kWidth];
      for (int p = 0; p < kPassed; ++p) {
        for (int j = 0; j < kWidth; ++j) {
          place[p][j] = (int32_t)((at + lesser(i + j, width - 1)) / passed[p].divisor % passed[p].modulus);
        }
      }
      for (int64_t k = 0; k < size; ++k) {
        const int64_t to = i * size + k * kWidth;
        for (int p = 0; p < kPassed; ++p) {
          const int32_t* row = passed[p].index + k * stride + at + i;
          int32_t* old = workspace.index[p] + to;
          if (width - i >= kWidth) {
            memcpy(old, row, kWidth * sizeof(int32_t));
          } else {
            for (int j = 0; j < kWidth; ++j) old[j] = row[lesser(j, width - i - 1)];
          }
        }
        for (int j = 0; j < kWidth; j += kCount) {
          auto sum = all((T)0);
          for (int p = 0; p < kPassed; ++p) {
            const auto steps = convert<T>(workspace.index[p] + to + j) - convert<T>(place[p] + j);
            const auto along = steps * all(passed[p].step);
            sum += along * along;
          }
          const auto found = convert<T>(workspace.index[0] + to + j) >= 0;
          store(column + to + j, found ? sum : all((T)INFINITY));
        }
      }
    }
    for (int64_t i = 0; i < width; i += kWidth) {
      const int64_t count = lesser(kWidth, width - i);
      Columns<T, End, true>(column + i * size, size, candidates, table, rows, end).solve(spare, kWidth);
      for (int64_t k = 0; k < size; ++k) {
        const int64_t to = k * stride + at + i;
        int32_t row[kWidth], found[kPassed][kWidth];
        for (int j = 0; j < kWidth; ++j) row[j] = (int32_t)rows[k * kWidth + j];
        for (int j = 0; j < kWidth; j += kLanes) {
          Ints lane;
          for (int l = 0; l < kLanes; ++l) lane[l] = j + l;
          for (int p = 0; p < kPassed; ++p) {
            store(found[p] + j, lookup(workspace.index[p] + i * size, load(row + j) * kWidth + lane));
          }
        }
        put_part(axis + to, row, count);
        for (int p = 0; p < kPassed; ++p) put_part(passed[p].index + to, found[p], count);
        if (distance) put_part(distance + to, spare + k * kWidth, count);
      }
    }
  }
}

// Passes along x and y in slice z of an item. All indices of a slice without zeros are -1.
void nearest_slice(const Job& job, const Workspace& workspace, int64_t item, int64_t z, const uint8_t* mask,
                   const Indices& to, uint8_t* states) {
  const auto [depth, rows, size] = job.grid;
  const Tables& tables = job.of(item);
  const int64_t start = z * rows * size;
  mask += item * job.grid.voxels() + start;
  for (int64_t y = 0; y < rows; ++y) {
    row_bits(mask + y * size, NotZero{}, size, workspace.words + 1);
    workspace.rows[y] = nearest_in_row(workspace.words + 1, to.x + start + y * size, size);
  }
  const State state = common_state(workspace.rows, rows);
  states[item * depth + z] = state;
  if (rows == 1) return;
  if (state == kForeground) {
    for (int64_t i = 0; i < rows * size; ++i) to.y[start + i] = -1;
  } else if (tables.whole_plane) {
    const Passed<float> passed[] = {{to.x + start, tables.multiple_x, 1, size}};
    nearest_rows(workspace, passed, to.y + start, rows, size, workspace.rows, tables.y, Squared<float>{},
                 nullptr, 0, size);
  } else {
    const Passed<double> passed[] = {{to.x + start, tables.step[2], 1, size}};
    nearest_rows(workspace, passed, to.y + start, rows, size, workspace.rows, tables.y_sq, Squared<double>{},
                 nullptr, 0, size);
  }
}

// Pass along z over columns [first, last) of one item's plane; also writes `distance` in mm unless it is
// null.
template <class T>
void nearest_columns_in(const Job& job, const Workspace& workspace, const Indices& to, const uint8_t* states,
                        const T* table, T step_y, T step_x, const Rooted<T>& end, double* distance,
                        int64_t first, int64_t last) {
  const auto [depth, rows, size] = job.grid;
  const Passed<T> x = {to.x, step_x, 1, size}, y = {to.y, step_y, size, rows};
  if (rows == 1) {
    const Passed<T> passed[] = {x};
    nearest_rows(workspace, passed, to.z, depth, size, states, table, end, distance, first, last);
  } else {
    const Passed<T> passed[] = {x, y};
    nearest_rows(workspace, passed, to.z, depth, rows * size, states, table, end, distance, first, last);
  }
}

void nearest_columns(const Job& job, const Workspace& workspace, int64_t item, const Indices& to,
                     double* distance, const uint8_t* states, int64_t first, int64_t last) {
  const int64_t depth = job.grid.z, plane = job.grid.slice();
  const Tables& tables = job.of(item);
  states += item * depth;
  if (distance) distance += item * job.grid.voxels();
  const bool none = common_state(states, depth) == kForeground;
  if (depth == 1 || none) {
    for (int64_t k = 0; k < depth; ++k) {
      for (int64_t i = k * plane + first; i < k * plane + last; ++i) {
        if (depth > 1) to.z[i] = -1;
        if (distance)
          distance[i] = none ? (double)INFINITY : __builtin_fabs((double)(to.x[i] - i)) * tables.step[2];
      }
    }
  } else if (tables.whole) {
    nearest_columns_in(job, workspace, to, states, tables.z, tables.multiple_y, tables.multiple_x,
                       Rooted<float>{tables.unit}, distance, first, last);
  } else {
    nearest_columns_in(job, workspace, to, states, tables.z_sq, tables.step[1], tables.step[2],
                       Rooted<double>{1}, distance, first, last);
  }
}

}  // namespace
}  // namespace SURFLOSS_ISA
}  // namespace surfloss
