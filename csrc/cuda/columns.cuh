// The passes along y and z: g(y) = min over k of f(k) + w (y - k)^2 in each column, exactly.
//
// A block takes 32 neighbouring columns, one a lane, into shared memory: row k of lane l at 32 k + l, so that
// lanes may read different rows without a bank conflict. For one label the nearest row never decreases with
// y, so known rows bound those between them. Every `top`-th row, at most 16, is searched outwards; then the
// seven rows between two known ones share the candidates from the nearest of the one to that of the other, at
// `top / 8`, ... 8, and 1 rows apart. A level costs a voxel some 8 candidates, whatever the mask is.
#pragma once
#include "common.cuh"

constexpr int kColumnWarps = 8;
constexpr int kFan = 8;

// Whether two sums of 16 bits and their minimum are one instruction; emulated they cost more than they save.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr bool kHasPairs = false;
#else
constexpr bool kHasPairs = true;
#endif

template <typename T>
__device__ T larger(T a, T b) {
  return a > b ? a : b;
}

// f + w d^2, in float with one rounding beside that of d^2; `weight` is 1 on int fields.
__device__ inline int candidate(int distance, int, int f) { return distance * distance + f; }
__device__ inline float candidate(float distance, float weight, float f) {
  return fmaf(distance * distance, weight, f);
}

template <typename T, bool tiled, bool indexed>
struct Columns {
  void*
      field[2];  // (split, z, y, x) each, T: mm^2 or squared steps, signed; float at the end of the last pass
  Offset split;  // items before it are in the first field, the others in the second
  const T* source;             // (items, z, y, x), where not tiled: a copy of the field
  int* coarse;                 // (blocks, every 8th row, 32 columns), where not tiled: nearest rows
  int* where;                  // (items, z, y, x), where indexed: the nearest row
  Offset voxels;               // of an item
  Offset inner;                // from one row of a column to the next
  int size;                    // rows, at most 2^24: positions are exact in float, and 64 times that in int
  Offset tiles;                // of 32 columns, in an item
  int top;                     // rows apart at the first level, a power of 8, at least 8
  double step;                 // along the axis, in mm
  const double* item_spacing;  // (split, dims), mm; or null
  int dims, axis;              // spatial axes, and which of them this is
  Finish finish;

  // A thread's column. `rows` and `nearest` are in shared memory, or in global memory where the axis is long.
  struct Column {
    const T* rows;  // (size), `pitch` apart
    Offset pitch;
    int* nearest;  // (every 8th row), 32 apart: the nearest row for its own label
    void* out;     // the field
    int* where;
    Offset start;  // of the column in the field
    bool exists;
    T weight;  // the squared step, in the unit of the field

    __device__ T row(int k) const { return rows[k * (tiled ? kWarp : pitch)]; }

    // The row nearest to row k for the label `inside`: row k itself where it has the other one.
    __device__ int nearest_of(int k, bool inside) const {
      return (row(k) > 0) == inside ? nearest[k / kFan * kWarp] : k;
    }
  };

  __device__ void solve() const {
    const Offset item = blockIdx.x / tiles, tile = blockIdx.x % tiles;
    const Offset index = tile * kWarp + threadIdx.x, columns = voxels / size;
    const Offset clamped = index < columns ? index : columns - 1;
    const bool second = item >= split;
    const Offset own_item = item - (second ? split : 0);
    Column column;
    column.out = second ? field[1] : field[0];
    column.where = where;
    column.start = own_item * voxels + clamped / inner * size * inner + clamped % inner;
    column.exists = index < columns;
    column.weight = kIsInt<T> ? T(1) : static_cast<T>(squared_step(step, item_spacing, own_item, dims, axis));
    const T* from = (tiled ? static_cast<const T*>(column.out) : source) + column.start;
    const T first = from[0];
    const int warps = blockDim.y;
    bool differ = false;  // a column of equal rows stays as it is
    if constexpr (tiled) {
      T* tile_rows = reinterpret_cast<T*>(shared) + threadIdx.x;
      constexpr int kAtOnce = 8;  // loads under way
      for (int row = threadIdx.y; row < size; row += kAtOnce * warps) {
        T values[kAtOnce];
        const T* next = from + row * inner;
#pragma unroll
        for (int u = 0; u < kAtOnce; ++u, next += warps * inner) {
          values[u] = row + u * warps < size ? *next : first;
        }
#pragma unroll
        for (int u = 0; u < kAtOnce; ++u) {
          differ |= values[u] != first;
          if (row + u * warps < size) tile_rows[(row + u * warps) * kWarp] = values[u];
        }
      }
      column.rows = tile_rows;
      column.pitch = kWarp;
      column.nearest = shared + size * kWarp + threadIdx.x;
    } else {
      for (int k = threadIdx.y; k < size && !differ; k += warps) differ = from[k * inner] != first;
      column.rows = from;
      column.pitch = inner;
      column.nearest =
          coarse + static_cast<Offset>(blockIdx.x) * ((size + kFan - 1) / kFan) * kWarp + threadIdx.x;
    }
    if (!__syncthreads_or(differ)) {
      for (int k = threadIdx.y; column.exists && k < size; k += warps) keep(column, k);
      return;
    }
    for (int y = threadIdx.y * top; column.exists && y < size; y += warps * top) outwards(column, y);
    for (int stride = top / kFan; stride > 1; stride /= kFan) level<true>(column, stride);
    level<indexed>(column, 1);
  }

  __device__ void keep(const Column& column, int k) const {
    const T value = column.row(k);
    write(column, column.start + k * inner, larger(value, -value), value > 0, k);
  }

  __device__ void write(const Column& column, Offset at, T distance, bool inside, int nearest) const {
    finish.write(column.out, at, distance, inside);
    if constexpr (indexed) column.where[at] = distance < infinity<T>() ? nearest : -1;
  }

  // Row y alone: both neighbours, then theirs, while their distance alone is less than the best. A place
  // beyond the ends is taken at the end, which is a candidate too.
  __device__ void outwards(const Column& column, int y) const {
    constexpr int kAtOnce = 4;
    const T value = column.row(y);
    const bool inside = value > 0;
    T best = larger(value, -value);
    int nearest = y;
    int d = 1;
    for (; d < size && candidate(static_cast<T>(d), column.weight, T(0)) < best; d += kAtOnce) {
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        const int below = y - d - u > 0 ? y - d - u : 0;
        const int above = d + u < size - y ? y + d + u : size - 1;
        for (int k : {below, above}) {
          const T f = column.row(k);
          const T found = candidate(static_cast<T>(y - k), column.weight, larger(inside ? f : -f, T(0)));
          nearest = found < best ? k : nearest;
          best = found < best ? found : best;
        }
      }
    }
    SURFLOSS_CANDIDATES(2 * (d - 1));
    write(column, column.start + y * inner, best, inside, nearest);
    column.nearest[y / kFan * kWarp] = nearest;
  }

  template <bool with_nearest>
  __device__ void level(const Column& column, int stride) const {
    __syncthreads();
    const int apart = kFan * stride, warps = blockDim.y;
    for (int y = threadIdx.y * apart; column.exists && y + stride < size; y += warps * apart) {
      between<with_nearest>(column, y, stride);
    }
  }

  // What row value `value` offers to a label.
  __device__ static T of_label(T value, bool inside) { return larger(inside ? value : -value, T(0)); }

  // The seven rows after `first`, two in the halves of a word: distances squared below 2^16, as is each sum
  // with what a row offers, which beyond `farthest` is of no use and cut off there.
  __device__ void in_pairs(const Column& column, int first, int lowest, int highest, int farthest,
                           const bool (&inside)[kFan], int (&best)[kFan]) const {
    constexpr int kPairs = kFan / 2;
    constexpr unsigned kBoth = 0x10001;
    // Bytes of (offer inside, offer outside) that the two rows take.
    constexpr unsigned kInside = 0x10, kOutside = 0x32;
    unsigned least[kPairs], takes[kPairs], squares[kPairs];
    unsigned step = (2 * (lowest - first) + 1) * kBoth;
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      const int j = 2 * p + 1, distance = j - (lowest - first);
      const bool second = j + 1 < kFan;  // the last pair has none
      least[p] = min(best[j], farthest);
      if (second) least[p] += static_cast<unsigned>(min(best[j + 1], farthest)) << 16;
      takes[p] = (inside[j] ? kInside : kOutside) + ((second && inside[j + 1] ? kInside : kOutside) << 8);
      squares[p] = distance * distance + (static_cast<unsigned>((distance + 1) * (distance + 1)) << 16);
    }
#pragma unroll 2
    for (int k = lowest; k <= highest; ++k) {
      const int value = column.row(k);
      const unsigned offers =
          __byte_perm(min(of_label(value, true), farthest), min(of_label(value, false), farthest), 0x5410);
#pragma unroll
      for (int p = 0; p < kPairs; ++p) {
        least[p] = __viaddmin_u16x2(__byte_perm(offers, 0, takes[p]), squares[p], least[p]);
        // (d - 1)^2 = d^2 - 2 d + 1, of both halves: the difference is one number of 32 bits.
        squares[p] += step - (2 * (2 * p + 1) + (2 * (2 * p + 2) << 16));
      }
      step += 2 * kBoth;
    }
#pragma unroll
    for (int j = 1; j < kFan; ++j) best[j] = least[(j - 1) / 2] >> (j % 2 ? 0 : 16) & 0xffff;
  }

  // Rows first + stride, ... first + 7 stride, of which those past the end are computed and not written.
  template <bool with_nearest>
  __device__ void between(const Column& column, int first, int stride) const {
    const int end = first + kFan * stride;
    T best[kFan];
    int nearest[kFan];
    bool inside[kFan], asks[2] = {false, false};
#pragma unroll
    for (int j = 1; j < kFan; ++j) {
      const int y = min(first + j * stride, size - 1);
      const T value = column.row(y);
      inside[j] = value > 0;
      best[j] = larger(value, -value);
      nearest[j] = y;
      asks[0] |= value < 0;
      asks[1] |= value > 0;
    }
    int lowest = size, highest = -1;
    [[maybe_unused]] T farthest = 0;  // no row of those labels that ask has its nearest farther away
#pragma unroll
    for (int side = 0; side < 2; ++side) {
      if (!asks[side]) continue;
      // Rounding may turn the two round where distances are so long that rows cannot be told apart.
      const int from = column.nearest_of(first, side),
                to = end < size ? column.nearest_of(end, side) : size - 1;
      lowest = min(lowest, min(from, to));
      highest = max(highest, max(from, to));
      if constexpr (kIsInt<T> && !with_nearest) {
        const int far_from = larger(first - from, from - first) + kFan,
                  far_to = larger(end - to, to - end) + kFan;
        farthest = larger(farthest, min(candidate(far_from, 1, of_label(column.row(from), side)),
                                        candidate(far_to, 1, of_label(column.row(to), side))));
      }
    }
    SURFLOSS_CANDIDATES((kFan - 1) * (highest < lowest ? 0 : highest - lowest + 1));
    bool solved = false;
    if constexpr (kHasPairs && kIsInt<T> && !with_nearest) {
      const int reach = max(first + kFan - lowest, highest - first);
      solved = reach * reach + farthest < 1 << 16;
      if (solved) in_pairs(column, first, lowest, highest, farthest, inside, best);
    }
#pragma unroll 2
    for (int k = lowest; k <= highest && !solved; ++k) {
      const T value = column.row(k), f_inside = larger(value, T(0)), f_outside = larger(-value, T(0));
      const T place = static_cast<T>(k - first);
#pragma unroll
      for (int j = 1; j < kFan; ++j) {
        const T distance = static_cast<T>(j * stride) - place;
        const T found = candidate(distance, column.weight, inside[j] ? f_inside : f_outside);
        if constexpr (with_nearest) nearest[j] = found < best[j] ? k : nearest[j];
        best[j] = found < best[j] ? found : best[j];
      }
    }
    const Offset at = column.start + first * inner, apart = stride * inner;
#pragma unroll
    for (int j = 1; j < kFan; ++j) {
      const int y = first + j * stride;
      if (y >= size) break;
      write(column, at + j * apart, best[j], inside[j], nearest[j]);
      if constexpr (with_nearest) {
        if (stride > 1) column.nearest[y / kFan * kWarp] = nearest[j];
      }
    }
  }
};
