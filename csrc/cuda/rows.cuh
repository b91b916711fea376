// The pass along x: one warp per row, in chunks of 1,024 voxels held as 32 words of labels.
#pragma once
#include "common.cuh"

constexpr int kRowWarps = 8;
constexpr int kChunk = kWarp * kWarp;
constexpr int kNone = 0x7fffffff;

struct Labels {
  const void* values;  // (split, z, y, x), of the type that `kind` tells
  int kind;            // of enum Kind

  // The labels of voxels start + 32 j ... start + 32 j + 31, for lane j, of the row at offset `row`; 0 beyond
  // its end.
  __device__ __forceinline__ unsigned word(Offset row, int start, int size, int lane) const {
    switch (kind) {
      case kByte:
        return pack<kByte>(row, start, size, lane);
      case kHalf:
        return pack<kHalf>(row, start, size, lane);
      case kFloat:
        return pack<kFloat>(row, start, size, lane);
      case kDouble:
        return pack<kDouble>(row, start, size, lane);
      case kFloatAboveHalf:
        return pack<kFloatAboveHalf>(row, start, size, lane);
      case kDoubleAboveHalf:
        return pack<kDoubleAboveHalf>(row, start, size, lane);
      case kFloatAboveZero:
        return pack<kFloatAboveZero>(row, start, size, lane);
      default:
        return pack<kDoubleAboveZero>(row, start, size, lane);
    }
  }

  template <int kind>
  __device__ __forceinline__ unsigned pack(Offset row, int start, int size, int lane) const {
    constexpr int kAtOnce = 8;  // loads under way
    const Offset left = static_cast<Offset>(size) - start;
    const int words = left < kChunk ? static_cast<int>((left + kWarp - 1) / kWarp) : kWarp;
    unsigned word = 0;
    for (int j = 0; j < words; j += kAtOnce) {
      unsigned labels = 0;
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        if (j + u >= words) break;
        const Offset x = static_cast<Offset>(start) + kWarp * (j + u) + lane;
        const bool label = is_foreground<kind>(values, row + (x < size ? x : size - 1)) && x < size;
        labels |= static_cast<unsigned>(label) << u;
      }
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u) {
        if (j + u >= words) break;
        const unsigned bits = __ballot_sync(kAllLanes, labels >> u & 1);
        if (lane == j + u) word = bits;
      }
    }
    return word;
  }

  // The first voxel from `start` on whose label is not `label`, or kNone.
  __device__ __forceinline__ int next_other(Offset row, Offset start, int size, bool label, int lane) const {
    for (; start < size; start += kChunk) {
      const unsigned bits = word(row, static_cast<int>(start), size, lane);
      const Offset left = size - (start + kWarp * lane);  // voxels from this lane's word on
      const unsigned valid = left >= kWarp ? kAllLanes : left > 0 ? (1u << left) - 1 : 0;
      const unsigned other = (label ? ~bits : bits) & valid;
      const unsigned lanes = __ballot_sync(kAllLanes, other != 0);
      if (lanes) {
        const int found = static_cast<int>(start) + kWarp * lane + __ffs(other) - 1;
        return __shfl_sync(kAllLanes, found, __ffs(lanes) - 1);
      }
    }
    return kNone;
  }
};

struct Rows {
  Labels labels[2];
  void* field[2];  // (split, z, y, x), T, signed: mm^2 or squared steps; last pass: float
  Offset split;    // items below it have the first labels and field, the others the second
  int* where;      // (items, z, y, x): x of the nearest background voxel; or null
  Offset items, rows_per_item;
  int size;                    // voxels per row
  double step;                 // along x, in mm
  const double* item_spacing;  // (split, dims), mm; or null
  int dims;                    // number of spatial axes
  Finish finish;

  template <typename T>
  __device__ void solve() const {
    const Offset row = static_cast<Offset>(blockIdx.x) * kRowWarps + threadIdx.y;
    if (row >= items * rows_per_item) return;
    const Offset item = row / rows_per_item;
    const int side = item >= split;
    const Offset start = (row - (side ? split * rows_per_item : 0)) * size;
    const double weight = squared_step(step, item_spacing, item - (side ? split : 0), dims, dims - 1);
    const Labels own{side ? labels[1].values : labels[0].values, side ? labels[1].kind : labels[0].kind};
    solve_row<T>(own, side ? field[1] : field[0], start, weight);
  }

  // A boundary at x lies between voxel x - 1 and voxel x, which differ.
  template <typename T>
  __device__ void solve_row(const Labels& label, void* out, Offset row, double weight) const {
    const int lane = threadIdx.x;
    unsigned* words = reinterpret_cast<unsigned*>(shared) + 4 * kWarp * threadIdx.y;
    unsigned* boundaries = words + kWarp;
    int* before = reinterpret_cast<int*>(boundaries + kWarp);  // per word: the last boundary before it,
    int* after = before + kWarp;                               // and the first boundary after it
    int last = -1, next = -1;
    bool left_label = false;
    for (Offset chunk = 0; chunk < size; chunk += kChunk) {
      const int start = static_cast<int>(chunk), place = static_cast<int>(chunk + kWarp * lane);
      const int end = size - start < kChunk ? size : start + kChunk;
      const unsigned word = label.word(row, start, size, lane);
      const unsigned previous = __shfl_up_sync(kAllLanes, word, 1);
      const unsigned carried = lane > 0 ? previous >> 31 : start > 0 ? left_label : word & 1;
      unsigned boundary = word ^ (word << 1 | carried);
      const int left = end - place;  // voxels in the row from this word on
      if (left < kWarp) boundary &= left > 0 ? (1u << left) - 1 : 0;
      const int highest = place + 31 - __clz(boundary), lowest = place + __ffs(boundary) - 1;
      const unsigned lanes = __ballot_sync(kAllLanes, boundary != 0);
      const unsigned lower = lanes & ((1u << lane) - 1), upper = lanes & ~((2u << lane) - 1);
      const int from_lower = __shfl_sync(kAllLanes, highest, lower ? 31 - __clz(lower) : 0);
      const int from_upper = __shfl_sync(kAllLanes, lowest, upper ? __ffs(upper) - 1 : 0);
      const int from_last = __shfl_sync(kAllLanes, highest, lanes ? 31 - __clz(lanes) : 0);
      left_label = __shfl_sync(kAllLanes, word, (end - start - 1) / kWarp) >> (end - start - 1) % kWarp & 1;
      // Keep a boundary found ahead until it is passed, so that a row is read at most twice.
      if (next < end) next = label.next_other(row, end, size, left_label, lane);
      words[lane] = word;
      boundaries[lane] = boundary;
      before[lane] = lower ? from_lower : last;
      after[lane] = upper ? from_upper : next;
      if (lanes) last = from_last;
      __syncwarp();
      const int count = (end - start - lane + kWarp - 1) / kWarp;
      for (int j = 0; j < count; ++j) {
        const int x = start + kWarp * j + lane;
        const bool inside = words[j] >> lane & 1;
        // Both are loaded in any case: a selection costs less than lanes that take different branches.
        const int from_before = before[j], from_after = after[j];
        const unsigned at_or_below = boundaries[j] << (31 - lane),
                       above = boundaries[j] & ~((2u << lane) - 1);
        const int low = at_or_below ? x - __clz(at_or_below) : from_before;
        const int high = above ? start + kWarp * j + __ffs(above) - 1 : from_after;
        write<T>(out, row, x, low, high, inside, weight);
      }
      __syncwarp();
    }
  }

  template <typename T>
  __device__ void write(void* out, Offset row, int x, int low, int high, bool inside, double weight) const {
    const int below = low >= 0 ? x - low + 1 : kNone, above = high != kNone ? high - x : kNone;
    const int steps = below < above ? below : above;
    const bool found = steps != kNone;
    T distance = infinity<T>();
    if (!inside && finish.form == kOneSided) {
      distance = 0;
    } else if (found) {
      if constexpr (kIsInt<T>) {
        distance = steps * steps;
      } else {
        distance = static_cast<T>(static_cast<double>(steps) * steps * weight);
      }
    }
    finish.write(out, row + x, distance, inside);
    if (where) where[row + x] = !inside ? x : !found ? -1 : below < above ? low - 1 : high;
  }
};
