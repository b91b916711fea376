// Index of the nearest zero voxel, by the same three passes as the distances, with all comparisons in double:
// whoever takes an index takes the distance in double too, and would see a tie of floats.
#pragma once

#include <math.h>

#include "job.h"
#include "simd.h"

namespace surfloss {
namespace SURFLOSS_ISA {
namespace {

constexpr int kWide = 8;
typedef double Doubles __attribute__((vector_size(8 * kWide)));
typedef int64_t Longs __attribute__((vector_size(8 * kWide)));

// Nearest zero along each row of `rows`, -1 where a row has none; tells whether any has one.
bool nearest_in_rows(const uint8_t* mask, int32_t* nearest, int64_t rows, int64_t size) {
  bool any = false;
  for (int64_t y = 0; y < rows; ++y, mask += size, nearest += size) {
    int64_t before = -1, after = -1;
    for (int64_t x = 0; x < size; ++x) {
      if (!mask[x]) before = x;
      nearest[x] = (int32_t)before;
    }
    any |= before >= 0;
    for (int64_t x = size - 1; x >= 0; --x) {
      if (!mask[x]) after = x;
      if (after >= 0 && (nearest[x] < 0 || after - x < x - nearest[x])) nearest[x] = (int32_t)after;
    }
  }
  return any;
}

// For kWide columns: which row k of f minimises f(k) + step_sq (y - k)^2, for every y.
struct NearestRows {
  const double* f;
  int32_t* nearest;
  double step_sq;

  // Rows [first, last], whose nearest rows lie in [low, high] since these do not decrease with y.
  void solve(int64_t first, int64_t last, int64_t low, int64_t high) const {
    if (first > last) return;
    const int64_t y = first + (last - first) / 2;
    Doubles best = Doubles{} + INFINITY;
    Longs row = Longs{} + low;
    for (int64_t k = low; k <= high; ++k) {
      Doubles sum;
      memcpy(&sum, f + k * kWide, sizeof sum);
      const double steps = (double)(y - k);
      sum += steps * steps * step_sq;
      row = sum < best ? Longs{} + k : row;
      best = sum < best ? sum : best;
    }
    int64_t least = high, most = low;
    for (int i = 0; i < kWide; ++i) {
      nearest[y * kWide + i] = (int32_t)row[i];
      least = row[i] < least ? row[i] : least;
      most = row[i] > most ? row[i] : most;
    }
    solve(first, y - 1, low, most);
    solve(y + 1, last, least, high);
  }
};

// One pass along an axis of `size` rows, `stride` apart, in columns [first, last). `passed` are the axes
// done, of which the indices become those of the nearest row; `axis` takes its number.
struct Passed {
  int32_t* index;
  double step_sq;
  int64_t divisor, modulus;  // position along the axis of a column: column / divisor % modulus
};

void nearest_rows(const Workspace& workspace, const Passed* passed, int count, int32_t* axis, double step_sq,
                  int64_t size, int64_t stride, int64_t first, int64_t last) {
  double* f = (double*)workspace.column;
  int32_t* old[2] = {(int32_t*)workspace.result[0], (int32_t*)workspace.result[0] + size * kWide};
  int32_t* rows = (int32_t*)workspace.result[1];
  for (int64_t at = first; at < last; at += kWide) {
    const int64_t width = last - at < kWide ? last - at : kWide;
    for (int64_t k = 0; k < size; ++k) {
      for (int64_t i = 0; i < kWide; ++i) {
        // Lanes beyond the width repeat the last column.
        const int64_t column = at + (i < width ? i : width - 1);
        double sum = 0;
        for (int p = 0; p < count; ++p) {
          const int32_t index = passed[p].index[k * stride + column];
          const double steps = (double)(index - column / passed[p].divisor % passed[p].modulus);
          sum = index < 0 ? INFINITY : sum + steps * steps * passed[p].step_sq;
          old[p][k * kWide + i] = index;
        }
        f[k * kWide + i] = sum;
      }
    }
    NearestRows{f, rows, step_sq}.solve(0, size - 1, 0, size - 1);
    for (int64_t k = 0; k < size; ++k) {
      for (int64_t i = 0; i < width; ++i) {
        const int32_t row = rows[k * kWide + i];
        axis[k * stride + at + i] = row;
        for (int p = 0; p < count; ++p) passed[p].index[k * stride + at + i] = old[p][row * kWide + i];
      }
    }
  }
}

// In a slice without a zero all indices are -1.
void nearest_slice(const Job& job, const Workspace& workspace, int64_t item, int64_t z, const uint8_t* mask,
                   const Indices& to, uint8_t* states) {
  const auto [depth, rows, size] = job.grid;
  const double* step_sq = job.of(item).step_sq;
  const int64_t start = z * rows * size;
  const bool any = nearest_in_rows(mask + item * job.grid.voxels() + start, to.x + start, rows, size);
  states[item * depth + z] = any ? kMixed : kForeground;
  if (rows == 1) return;
  if (any) {
    const Passed passed = {to.x + start, step_sq[2], 1, size};
    nearest_rows(workspace, &passed, 1, to.y + start, step_sq[1], rows, size, 0, size);
  } else {
    for (int64_t i = 0; i < rows * size; ++i) to.y[start + i] = -1;
  }
}

void nearest_columns(const Job& job, const Workspace& workspace, int64_t item, const Indices& to,
                     const uint8_t* states, int64_t first, int64_t last) {
  const auto [depth, rows, size] = job.grid;
  if (depth == 1) return;
  bool any = false;
  for (int64_t z = 0; z < depth; ++z) any |= states[item * depth + z] == kMixed;
  if (!any) {
    for (int64_t z = 0; z < depth; ++z) {
      for (int64_t i = first; i < last; ++i) to.z[z * rows * size + i] = -1;
    }
    return;
  }
  const double* step_sq = job.of(item).step_sq;
  const Passed passed[2] = {{to.x, step_sq[2], 1, size}, {to.y, step_sq[1], size, rows}};
  nearest_rows(workspace, passed, rows > 1 ? 2 : 1, to.z, step_sq[0], depth, rows * size, first, last);
}

}  // namespace
}  // namespace SURFLOSS_ISA
}  // namespace surfloss
