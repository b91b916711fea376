// The passes along y and z: g(y) = min over k of f(k) + w (y - k)^2 in each column, exactly.
//
// A block loads 32 neighboring columns, one per lane, into shared memory. Row k of lane l is at 32 k + l, so
// lanes can read different rows without bank conflicts. For one label the nearest row never decreases with y,
// so solved rows bound the rows between them. Every `top`-th row, at most 16 of them, is searched outwards
// without bounds. Then, level by level at `top / 8`, ... 8, and 1 rows apart, the seven rows between two
// solved rows share the candidates between the nearest rows of these two. A level costs about 8 candidates
// per voxel for any mask.
#pragma once
#include "common.cuh"

constexpr int kColumnWarps = 8;
constexpr int kFan = 8;

// Whether the device has one instruction for two 16-bit sums with minimum. Emulating it costs more than it
// saves.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr bool kHasPairs = false;
#else
constexpr bool kHasPairs = true;
#endif

template <typename T>
__device__ T larger(T a, T b) {
  return a > b ? a : b;
}

// f + w d^2; in float with one rounding besides that of d^2. `weight` is 1 for int fields.
__device__ inline int candidate(int distance, int, int f) { return distance * distance + f; }
__device__ inline float candidate(float distance, float weight, float f) {
  return fmaf(distance * distance, weight, f);
}

template <typename T, bool tiled, bool indexed>
struct Columns {
  void* field[2];              // (split, z, y, x), T, signed: mm^2 or squared steps; last pass: float
  Offset split;                // items below it are in the first field, the others in the second
  const T* source;             // (items, z, y, x): a copy of the field; unused if tiled
  int* coarse;                 // (blocks, every 8th row, 32 columns): nearest rows; unused if tiled
  int* where;                  // (items, z, y, x): the nearest row; if indexed
  Offset voxels;               // per item
  Offset inner;                // distance between rows of a column
  int size;                    // rows, at most 2^24: positions are exact in float, and 64 times that in int
  Offset tiles;                // tiles of 32 columns per item
  int top;                     // distance between rows of the first level, a power of 8, at least 8
  double step;                 // along the axis, in mm
  const double* item_spacing;  // (split, dims), mm; or null
  int dims, axis;              // number of spatial axes, and the axis of this pass
  Finish finish;

  // A thread's column. `rows` and `nearest` are in shared memory if tiled, else in global memory.
  struct Column {
    const T* rows;  // (size), `pitch` apart
    Offset pitch;
    int* nearest;  // (every 8th row), 32 apart: the nearest row for the row's own label
    void* out;     // the field
    int* where;
    Offset start;  // position of the column in the field
    bool exists;
    T weight;  // squared step, in the unit of the field

    __device__ T row(int k) const { return rows[k * (tiled ? kWarp : pitch)]; }

    // The row nearest to row k for the label `inside`: row k itself if it has the other label.
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
    bool differ = false;  // a column of equal rows needs no search
    if constexpr (tiled) {
      T* tile_rows = reinterpret_cast<T*>(shared) + threadIdx.x;
      constexpr int kAtOnce = 8;  // loads in flight
      for (int row = threadIdx.y; row < size; row += kAtOnce * warps) {
        T values[kAtOnce];
        const T* next = from + row * inner;
#pragma unroll
        for (int u = 0; u < kAtOnce; ++u, next += warps * inner) {
          if (row + u * warps >= size) break;
          values[u] = *next;
        }
#pragma unroll
        for (int u = 0; u < kAtOnce; ++u) {
          if (row + u * warps >= size) break;
          differ |= values[u] != first;
          tile_rows[(row + u * warps) * kWarp] = values[u];
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

  // Searches row y alone: the rows d above and below, while d^2 alone is below the best. Positions beyond an
  // end are clamped to the end, which is a valid candidate.
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

  // The value of a row as a label sees it.
  __device__ static T of_label(T value, bool inside) { return larger(inside ? value : -value, T(0)); }

  // Solves the seven rows after `first`, two in the halves of each word. Requires squared distances below
  // 2^16, also after the values of rows are added; these values are capped at `farthest`, beyond which none
  // can win.
  __device__ void in_pairs(const Column& column, int first, int lowest, int highest, int farthest,
                           const bool (&inside)[kFan], int (&best)[kFan]) const {
    constexpr int kPairs = kFan / 2;
    constexpr unsigned kBoth = 0x10001;
    // Byte selectors: whether a row takes the offer for inside or for outside.
    constexpr unsigned kInside = 0x10, kOutside = 0x32;
    unsigned least[kPairs], takes[kPairs], squares[kPairs];
    unsigned step = (2 * (lowest - first) + 1) * kBoth;
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      const int j = 2 * p + 1, distance = j - (lowest - first);
      const bool second = j + 1 < kFan;  // the last pair has only one row
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
        // (d - 1)^2 = d^2 - 2 d + 1: one 32-bit addition updates both halves.
        squares[p] += step - (2 * (2 * p + 1) + (2 * (2 * p + 2) << 16));
      }
      step += 2 * kBoth;
    }
#pragma unroll
    for (int j = 1; j < kFan; ++j) best[j] = least[(j - 1) / 2] >> (j % 2 ? 0 : 16) & 0xffff;
  }

  // Solves rows first + stride, ... first + 7 stride. Rows past the end are computed but not written.
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
    [[maybe_unused]] T farthest = 0;  // upper bound of the squared distances to be found
#pragma unroll
    for (int side = 0; side < 2; ++side) {
      if (!asks[side]) continue;
      // For very long distances rounding can make the bounds cross.
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
