// The contour by pooling, and its gradient, one strip of rows at a time.
//
// A 3x3x3 window is separable: the minimum of three voxels of a row, then of three rows, then of three
// planes. A strip processes its planes in order and keeps the previous results that later planes need. It
// recomputes its rim: two rows on either side, and two planes.
//
// The "way" of a voxel tells which of the three each axis selected: kBefore, kAfter, or 0 for the middle, in
// two bits per axis. The bits of (x, y, z) fit in a byte. Of equal values the first in scan order is
// selected, as in PyTorch's pooling. The gradient follows the ways back, one axis at a time: each voxel adds
// up what its three windows along the axis send to it.
#pragma once

#include <math.h>
#include <string.h>

#include "job.h"
#include "simd.h"

namespace surfloss {
namespace SURFLOSS_ISA {

constexpr int kBefore = 1, kAfter = 2;
constexpr int kAlongY = 4, kAlongZ = 16;  // factors that shift the bits of an axis into place
constexpr int kNoContour = -128;          // added to the byte of a voxel with contour 0
constexpr int64_t kRim = 2;

// The integer type of ways. It has the size of a value, so that vectors of both have the same number of
// lanes.
template <class Value>
struct WayOf {
  using type = int32_t;
};
template <>
struct WayOf<double> {
  using type = int64_t;
};

// Rows of a strip, each padded on either side by one voxel with the value for "no voxel".
template <class T>
class Rows {
 public:
  Rows(char*& memory, int64_t count, const ContourJob& job, T nothing)
      : first_((T*)memory + 1), count_(count), stride_(job.stride), nothing_(nothing) {
    memory += count * stride_ * sizeof(T);
    for (int64_t row = 0; row < count; ++row) (*this)[row][-1] = (*this)[row][job.grid.x] = nothing;
  }
  T* operator[](int64_t row) const { return first_ + row * stride_; }
  void clear() const {
    for (int64_t i = 0; i < count_ * stride_ - 1; ++i) first_[i] = nothing_;
  }

 private:
  T* first_;
  int64_t count_, stride_;
  T nothing_;
};

// The values of a plane's rows, and the ways that led to them.
template <class Value>
struct Ways {
  using Way = typename WayOf<Value>::type;
  Rows<Value> values;
  Rows<Way> ways;
  Ways(char*& memory, int64_t count, const ContourJob& job, Value nothing)
      : values(memory, count, job, nothing), ways(memory, count, job, 0) {}
  void clear() const { values.clear(), ways.clear(); }
};

// The minimum of three rows, and `ways` plus the way to it. Selects the first of equal values but the last
// NaN.
template <class Value, class Way>
void least_of(const Value* before, const Value* middle, const Value* after, const Way* ways, Way axis,
              int64_t count, Value* __restrict least, Way* __restrict to) {
  for (int64_t i = 0; i < count; ++i) {
    const Value a = before[i], b = middle[i], c = after[i];
    const bool is_middle = (b < a) | (b != b);
    const Value lower = is_middle ? b : a;
    const bool is_after = (c < lower) | (c != c);
    least[i] = is_after ? c : lower;
    to[i] = ways[i] + (is_after ? kAfter * axis : is_middle ? 0 : kBefore * axis);
  }
}

// Reads a row of the input, with infinity at voxels that no window includes: outside the item, or ignored.
template <class Value>
void read_row(const ContourJob& job, int64_t item, int64_t z, int64_t y, Value* row) {
  const int64_t size = job.grid.x;
  if (z < 0 || z >= job.grid.z || y < 0 || y >= job.grid.y) {
    for (int64_t i = 0; i < size; ++i) row[i] = (Value)INFINITY;
    return;
  }
  const int64_t place = ((item * job.grid.z + z) * job.grid.y + y) * size;
  memcpy(row, (const Value*)job.values + place, size * sizeof(Value));
  if (!job.ignore) return;
  const uint8_t* ignore = job.ignore + place;
  for (int64_t i = 0; i < size; ++i) row[i] = ignore[i] ? (Value)INFINITY : row[i];
}

// The negated erosion, with infinity outside the item and at ignored voxels.
template <class Value>
void negate_row(const ContourJob& job, int64_t item, int64_t z, int64_t y, const Value* eroded,
                Value* __restrict row) {
  const int64_t size = job.grid.x;
  if (z < 0 || z >= job.grid.z || y < 0 || y >= job.grid.y) {
    for (int64_t i = 0; i < size; ++i) row[i] = (Value)INFINITY;
    return;
  }
  for (int64_t i = 0; i < size; ++i) row[i] = -eroded[i];
  if (!job.ignore) return;
  const uint8_t* ignore = job.ignore + ((item * job.grid.z + z) * job.grid.y + y) * size;
  for (int64_t i = 0; i < size; ++i) row[i] = ignore[i] ? (Value)INFINITY : row[i];
}

template <class Value, class Way>
void write_contour(const Value* negated, const Value* least, const Way* ways, bool with_ignored,
                   int64_t count, Value* __restrict contour, int8_t* __restrict highest) {
  const Value ignored = (Value)(with_ignored ? INFINITY : NAN);  // nothing equals NaN
  for (int64_t i = 0; i < count; ++i) {
    const Value difference = negated[i] - least[i];
    const bool none = (difference <= 0) | (negated[i] == ignored);
    contour[i] = none ? 0 : difference;
    highest[i] = (int8_t)(ways[i] + (none ? kNoContour : 0));
  }
}

template <class Way>
void write_ways(const Way* ways, int64_t count, int8_t* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] = (int8_t)ways[i];
}

template <class Value>
void contour_strip(const ContourJob& job, const Strip& strip, char* memory) {
  using Way = typename WayOf<Value>::type;
  const Value nothing = (Value)INFINITY;
  const int64_t size = job.grid.x, rows = strip.last_y - strip.first_y;
  const int64_t reach = job.volume ? 1 : 0;
  Ways<Value> across(memory, rows + 2 * kRim, job, nothing), again(memory, rows + 2, job, nothing);
  // Rings of three: this plane and the two before.
  Ways<Value> least[3] = {
      {memory, rows + 2, job, nothing}, {memory, rows + 2, job, nothing}, {memory, rows + 2, job, nothing}};
  Ways<Value> most[3] = {
      {memory, rows, job, nothing}, {memory, rows, job, nothing}, {memory, rows, job, nothing}};
  Rows<Value> negated[2] = {{memory, rows + 2, job, nothing}, {memory, rows + 2, job, nothing}};
  Ways<Value> found(memory, 1, job, nothing);
  const Rows<Way> no_way(memory, 1, job, 0);
  no_way.clear();
  // There is no plane before the first one.
  for (int i = 0; job.volume && i < 3; ++i) least[i].clear(), most[i].clear();
  for (int i = 0; job.volume && i < 2; ++i) negated[i].clear();
  const auto place = [&](int64_t z, int64_t y) {
    return ((strip.item * job.grid.z + z) * job.grid.y + y) * size;
  };

  const int64_t begin = strip.first_z < 2 * reach ? 0 : strip.first_z - 2 * reach;
  for (int64_t z = begin; z < strip.last_z + 2 * reach; ++z) {
    const int64_t now = z % 3, before = (z + 2) % 3, before_that = (z + 1) % 3;
    for (int64_t r = 0; r < rows + 2 * kRim; ++r) {
      Value* row = found.values[0];
      read_row(job, strip.item, z, strip.first_y + r - kRim, row);
      least_of<Value, Way>(row - 1, row, row + 1, no_way[0], 1, size, across.values[r], across.ways[r]);
    }
    // The erosion: of this plane, or in volumes of the previous one, whose last neighbor is now known.
    const Rows<Value>& minus = negated[z % 2];
    for (int64_t r = 0; r < rows + 2; ++r) {
      least_of<Value, Way>(across.values[r], across.values[r + 1], across.values[r + 2], across.ways[r + 1],
                           kAlongY, size, least[now].values[r], least[now].ways[r]);
      const Value* eroded = least[now].values[r];
      const Way* ways = least[now].ways[r];
      if (job.volume) {
        least_of<Value, Way>(least[before_that].values[r], least[before].values[r], eroded,
                             least[before].ways[r], kAlongZ, size, found.values[0], found.ways[0]);
        eroded = found.values[0];
        ways = found.ways[0];
      }
      const int64_t own_z = z - reach, own_y = strip.first_y + r - 1;
      negate_row(job, strip.item, own_z, own_y, eroded, minus[r]);
      if (own_z >= strip.first_z && own_z < strip.last_z && r >= 1 && r <= rows) {
        write_ways(ways, size, job.lowest + place(own_z, own_y));
      }
      least_of<Value, Way>(minus[r] - 1, minus[r], minus[r] + 1, no_way[0], 1, size, again.values[r],
                           again.ways[r]);
    }
    // The maximum of the erosion, and the contour: of this plane, or in volumes of the one two planes back.
    const int64_t own_z = z - 2 * reach;
    for (int64_t r = 0; r < rows; ++r) {
      least_of<Value, Way>(again.values[r], again.values[r + 1], again.values[r + 2], again.ways[r + 1],
                           kAlongY, size, most[now].values[r], most[now].ways[r]);
      const Value* greatest = most[now].values[r];
      const Way* ways = most[now].ways[r];
      if (job.volume) {
        least_of<Value, Way>(most[before_that].values[r], most[before].values[r], greatest,
                             most[before].ways[r], kAlongZ, size, found.values[0], found.ways[0]);
        greatest = found.values[0];
        ways = found.ways[0];
      }
      if (own_z < strip.first_z) continue;
      const int64_t to = place(own_z, strip.first_y + r);
      write_contour(negated[(z + reach) % 2][r + 1], greatest, ways, job.ignore != nullptr, size,
                    (Value*)job.result + to, job.highest + to);
    }
  }
}

// Distributes a row's values along z, which completes the row of the plane before. On entry `before` and
// `here` are the sums so far of the plane before and of this plane; on exit, of this plane and the next.
template <class Value, class Way>
void send_along_z(const Value* values, const Way* ways, int64_t count, Value* __restrict before,
                  Value* __restrict here, Value* __restrict complete) {
  for (int64_t i = 0; i < count; ++i) {
    const Value value = values[i];
    const bool back = ways[i] & (kBefore * kAlongZ), on = ways[i] & (kAfter * kAlongZ);
    complete[i] = before[i] + (back ? value : 0);
    before[i] = here[i] + ((back || on) ? 0 : value);
    here[i] = on ? value : 0;
  }
}

// The sum that a row gets from itself and from the rows above and below.
template <class Value, class Way>
void send_along_y(const Rows<Value>& values, const Rows<Way>& ways, int64_t row, int64_t count,
                  Value* __restrict to) {
  const Value *above = values[row - 1], *own = values[row], *below = values[row + 1];
  const Way *down = ways[row - 1], *stay = ways[row], *up = ways[row + 1];
  for (int64_t i = 0; i < count; ++i) {
    const Value kept = stay[i] & ((kBefore | kAfter) * kAlongY) ? 0 : own[i];
    const Value from_above = down[i] & (kAfter * kAlongY) ? above[i] : 0;
    const Value from_below = up[i] & (kBefore * kAlongY) ? below[i] : 0;
    to[i] = kept + (from_above + from_below);
  }
}

template <class Value, class Way>
void send_along_x(const Value* values, const Way* ways, int64_t count, Value* __restrict to) {
  for (int64_t i = 0; i < count; ++i) {
    const Value kept = ways[i] & (kBefore | kAfter) ? 0 : values[i];
    const Value from_next = ways[i + 1] & kBefore ? values[i + 1] : 0;
    const Value from_last = ways[i - 1] & kAfter ? values[i - 1] : 0;
    to[i] = kept + (from_next + from_last);
  }
}

// The gradient of a contour voxel goes to the erosion that was its maximum and, negated, to its own erosion;
// from both it goes on to the inputs that were the minimum.
template <class Value>
void contour_gradient_strip(const ContourJob& job, const Strip& strip, char* memory) {
  using Way = typename WayOf<Value>::type;
  const int64_t size = job.grid.x, rows = strip.last_y - strip.first_y;
  const int64_t reach = job.volume ? 1 : 0, high = rows + 2 * kRim, low = rows + 2;
  // Of this plane and the one before: the gradient with the ways to the maximum, and the ways to the minimum.
  Ways<Value> given[2] = {{memory, high, job, 0}, {memory, high, job, 0}};
  Rows<Way> ways_on[2] = {{memory, low, job, 0}, {memory, low, job, 0}};
  Rows<Value> up_before(memory, high, job, 0), up_here(memory, high, job, 0);
  Rows<Value> down_before(memory, low, job, 0), down_here(memory, low, job, 0);
  Rows<Value> up(memory, high, job, 0), down(memory, low, job, 0), sent(memory, low, job, 0);
  Rows<Value> line(memory, 1, job, 0);
  for (int i = 0; job.volume && i < 2; ++i) given[i].clear(), ways_on[i].clear();
  const Rows<Value>* got[] = {&up_before, &up_here, &down_before, &down_here};
  for (const Rows<Value>* rows_got : got) {
    if (job.volume) rows_got->clear();
  }
  const auto exists = [&](int64_t z, int64_t y) {
    return z >= 0 && z < job.grid.z && y >= 0 && y < job.grid.y;
  };
  const auto place = [&](int64_t z, int64_t y) {
    return ((strip.item * job.grid.z + z) * job.grid.y + y) * size;
  };

  const int64_t begin = strip.first_z < 2 * reach ? 0 : strip.first_z - 2 * reach;
  for (int64_t z = begin; z < strip.last_z + 2 * reach; ++z) {
    const Ways<Value>&now = given[z % 2], &of = given[(z + reach) % 2];
    for (int64_t r = 0; r < high; ++r) {
      Value* values = now.values[r];
      Way* ways = now.ways[r];
      const int64_t y = strip.first_y + r - kRim;
      if (exists(z, y)) {
        const Value* grad = (const Value*)job.values + place(z, y);
        const int8_t* highest = job.highest + place(z, y);
        for (int64_t i = 0; i < size; ++i) {
          ways[i] = highest[i];
          values[i] = ways[i] < 0 ? 0 : grad[i];
        }
      } else {
        for (int64_t i = 0; i < size; ++i) values[i] = 0, ways[i] = 0;
      }
      if (job.volume) send_along_z(values, ways, size, up_before[r], up_here[r], up[r]);
    }
    const Rows<Value>& ups = job.volume ? up : now.values;

    // To the erosions: of this plane, or in volumes of the previous one.
    const Rows<Way>& ways_now = ways_on[z % 2];
    for (int64_t r = 0; r < low; ++r) {
      send_along_y(ups, of.ways, r + 1, size, line[0]);
      send_along_x(line[0], of.ways[r + 1], size, sent[r]);
      const Value* own = of.values[r + 1];
      for (int64_t i = 0; i < size; ++i) sent[r][i] -= own[i];
      const int64_t y = strip.first_y + r - 1;
      Way* ways = ways_now[r];
      if (exists(z - reach, y)) {
        const int8_t* lowest = job.lowest + place(z - reach, y);
        for (int64_t i = 0; i < size; ++i) ways[i] = lowest[i];
      } else {
        for (int64_t i = 0; i < size; ++i) ways[i] = 0;
      }
      if (job.volume) send_along_z(sent[r], ways, size, down_before[r], down_here[r], down[r]);
    }
    const Rows<Value>& downs = job.volume ? down : sent;

    // To the inputs: of this plane, or in volumes of the one two planes back.
    const int64_t own_z = z - 2 * reach;
    if (own_z < strip.first_z) continue;
    for (int64_t r = 0; r < rows; ++r) {
      const Rows<Way>& on = ways_on[(z + reach) % 2];
      send_along_y(downs, on, r + 1, size, line[0]);
      send_along_x(line[0], on[r + 1], size, (Value*)job.result + place(own_z, strip.first_y + r));
    }
  }
}

}  // namespace SURFLOSS_ISA
}  // namespace surfloss
