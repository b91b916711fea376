// Pass along x: the signed squared distance, within its row, of every voxel to the other label.
#pragma once

#include <math.h>

#include "job.h"
#include "simd.h"

namespace surfloss {
namespace SURFLOSS_ISA {

// One run [from, to) of equal labels, between boundaries on either side (or the border of the row).
inline void fill_run(float* row, int64_t from, int64_t to, int64_t size, Ints keep, Ints sign, const Tables& tables) {
  const float* up = tables.up + 1 - from;
  const float* down = tables.down + size - to;
  for (int64_t i = from; i < to; i += kLanes) {
    Floats v = to == size ? load(up + i) : load(down + i);
    if (from > 0) v = min(v, load(up + i));
    v = flip((Floats)((Ints)v & keep), sign);
    if (i + kLanes <= size) {
      store(row + i, v);  // what lies beyond the run is overwritten by the next one
    } else {
      memcpy(row + i, &v, (size - i) * sizeof(float));
    }
  }
}

// Writes the row only if it is mixed.
template <class Value>
State scan_row(const Value* values, float* row, int64_t size, bool two_sided, const Tables& tables) {
  const Ints keep[2] = {two_sided ? all(-1) : all(0), all(-1)};
  const Ints sign[2] = {two_sided ? all(kSign) : all(0), all(0)};
  bool label = false;
  int64_t from = 0;
  for (int64_t at = 0; at < size; at += 64) {
    uint64_t word;
    int64_t count = 64;
    if (at + 64 <= size) {
      word = bits(values + at);
    } else {
      Value tail[64] = {};
      count = size - at;
      memcpy(tail, values + at, count * sizeof(Value));
      word = bits(tail);
    }
    if (at == 0) label = word & 1;
    uint64_t changes = word ^ (word << 1 | (uint64_t)label);
    if (count < 64) changes &= ((uint64_t)1 << count) - 1;
    for (; changes; changes &= changes - 1) {
      const int64_t to = at + __builtin_ctzll(changes);
      fill_run(row, from, to, size, keep[label], sign[label], tables);
      from = to;
      label = !label;
    }
  }
  if (from == 0) return label ? kForeground : kBackground;
  fill_run(row, from, size, size, keep[label], sign[label], tables);
  return kMixed;
}

// What stands for the voxels of a row or slice that has one label.
inline float uniform_value(State state, bool two_sided) {
  if (state == kForeground) return INFINITY;
  return two_sided ? -INFINITY : 0.0f;
}

}  // namespace SURFLOSS_ISA
}  // namespace surfloss
