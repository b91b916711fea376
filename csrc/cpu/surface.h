// The soft surface of a map, x - min(x and its face neighbors), and its gradient, one row at a time.
#pragma once

#include <math.h>

#include "contour.h"
#include "job.h"
#include "simd.h"

namespace surfloss {
namespace SURFLOSS_ISA {

// Where the minimum is: the voxel itself, or the first of its six neighbors that has this value.
enum Side { kOwn = 0, kBelowZ, kAboveZ, kBelowY, kAboveY, kBelowX, kAboveX };

// Updates the minimum of a row's voxels with the neighbors on one side, which begin at `neighbors`.
template <class Value, class Way>
void compare_with(const Value* neighbors, const uint8_t* ignore, Way side, int64_t count,
                  Value* __restrict least, Way* __restrict ways) {
  for (int64_t i = 0; i < count; ++i) {
    const Value other = ignore && ignore[i] ? (Value)INFINITY : neighbors[i];
    const bool lower = (other < least[i]) | (other != other);
    least[i] = lower ? other : least[i];
    ways[i] = lower ? side : ways[i];
  }
}

// Calls visit(side, offset of the neighbors in voxels, first voxel of the row that has one, number of
// voxels).
template <class Visit>
void visit_sides(const Grid& grid, int64_t z, int64_t y, const Visit& visit) {
  const int64_t row = grid.x, plane = grid.slice();
  if (z > 0) visit(kBelowZ, -plane, 0, row);
  if (z + 1 < grid.z) visit(kAboveZ, plane, 0, row);
  if (y > 0) visit(kBelowY, -row, 0, row);
  if (y + 1 < grid.y) visit(kAboveY, row, 0, row);
  visit(kBelowX, -1, 1, row - 1);
  visit(kAboveX, 1, 0, row - 1);
}

template <class Value>
void surface_strip(const ContourJob& job, const Strip& strip, char* memory) {
  using Way = typename WayOf<Value>::type;
  const Ways<Value> line(memory, 1, job, 0);
  Value* least = line.values[0];
  Way* ways = line.ways[0];
  const int64_t size = job.grid.x;
  for (int64_t z = strip.first_z; z < strip.last_z; ++z) {
    for (int64_t y = strip.first_y; y < strip.last_y; ++y) {
      const int64_t place = ((strip.item * job.grid.z + z) * job.grid.y + y) * size;
      const Value* own = (const Value*)job.values + place;
      const uint8_t* ignore = job.ignore ? job.ignore + place : nullptr;
      memcpy(least, own, size * sizeof(Value));
      memset(ways, 0, size * sizeof(Way));
      visit_sides(job.grid, z, y, [&](int side, int64_t offset, int64_t first, int64_t count) {
        compare_with<Value, Way>(own + offset + first, ignore ? ignore + offset + first : nullptr, side,
                                 count, least + first, ways + first);
      });
      Value* surface = (Value*)job.result + place;
      for (int64_t i = 0; i < size; ++i) surface[i] = own[i] - least[i];
      write_ways(ways, size, job.lowest + place);
      for (int64_t i = 0; ignore && i < size; ++i) {
        if (ignore[i]) surface[i] = 0, job.lowest[place + i] = kOwn;
      }
    }
  }
}

// The gradient of a voxel is its own, unless it is its own minimum, minus those of neighbors whose minimum it
// is.
template <class Value>
void surface_gradient_strip(const ContourJob& job, const Strip& strip, char*) {
  const int64_t size = job.grid.x;
  for (int64_t z = strip.first_z; z < strip.last_z; ++z) {
    for (int64_t y = strip.first_y; y < strip.last_y; ++y) {
      const int64_t place = ((strip.item * job.grid.z + z) * job.grid.y + y) * size;
      const Value* grad = (const Value*)job.values + place;
      const int8_t* ways = job.lowest + place;
      Value* __restrict to = (Value*)job.result + place;
      for (int64_t i = 0; i < size; ++i) to[i] = ways[i] == kOwn ? 0 : grad[i];
      visit_sides(job.grid, z, y, [&](int side, int64_t offset, int64_t first, int64_t count) {
        // Seen from the neighbor, this voxel is on the opposite side.
        const int8_t other = (int8_t)(side % 2 ? side + 1 : side - 1);
        const Value* sent = grad + offset + first;
        const int8_t* where = ways + offset + first;
        for (int64_t i = 0; i < count; ++i) to[first + i] -= where[i] == other ? sent[i] : 0;
      });
    }
  }
}

}  // namespace SURFLOSS_ISA
}  // namespace surfloss
