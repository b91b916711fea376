// Shared by the kernels: how a voxel becomes a label, how fields store distances, and how the last pass ends.
//
// A field holds one number s per voxel: the squared distance to the other label along the axes processed so
// far, negative in the background. It serves both labels: a foreground voxel reads max(s, 0), which is 0 at
// every background voxel, and a background voxel reads max(-s, 0). The type T is int on grids with equal
// steps, in squared steps, and float otherwise. In the one-sided transform the background is 0.
//
// Indices within an axis are int; offsets into an array are 64-bit. The parameters of a kernel are the fields
// of its struct, in order; comments there give shapes and units. One launch may process two masks: `split` is
// the number of items of each.
#pragma once

// Tests define this to count the candidates that a thread reads.
#ifndef SURFLOSS_CANDIDATES
#define SURFLOSS_CANDIDATES(count) static_cast<void>(count)
#endif

typedef long long Offset;

extern __shared__ int shared[];

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Above every finite squared distance of an int field, but low enough to add the square of an axis.
constexpr int kIntInfinity = 1 << 30;

template <typename T>
constexpr bool kIsInt = static_cast<T>(0.5) == static_cast<T>(0);

template <typename T>
__device__ T infinity() {
  if constexpr (kIsInt<T>) return kIntInfinity;
  return static_cast<T>(__int_as_float(0x7f800000));
}

// How the value of a voxel becomes a label. The Python adapter uses the same numbers.
enum Kind {
  kByte,
  kHalf,
  kFloat,
  kDouble,
  kFloatAboveHalf,
  kDoubleAboveHalf,
  kFloatAboveZero,
  kDoubleAboveZero
};

template <int kind>
__device__ bool is_foreground(const void* values, Offset i) {
  if constexpr (kind == kByte) return static_cast<const unsigned char*>(values)[i] != 0;
  // float16 and bfloat16: anything but +0 and -0.
  if constexpr (kind == kHalf) return (static_cast<const unsigned short*>(values)[i] & 0x7fff) != 0;
  if constexpr (kind == kFloat) return static_cast<const float*>(values)[i] != 0;
  if constexpr (kind == kDouble) return static_cast<const double*>(values)[i] != 0;
  if constexpr (kind == kFloatAboveHalf) return static_cast<const float*>(values)[i] > 0.5f;
  if constexpr (kind == kDoubleAboveHalf) return static_cast<const double*>(values)[i] > 0.5;
  if constexpr (kind == kFloatAboveZero) return static_cast<const float*>(values)[i] > 0;
  if constexpr (kind == kDoubleAboveZero) return static_cast<const double*>(values)[i] > 0;
}

enum Form { kOneSided, kTwoSided, kSigned };

// What a pass writes: the signed field for the next pass, or the result.
struct Finish {
  bool last;
  int form;
  bool squared;
  float unit;  // squared step of an int field, in mm^2

  template <typename T>
  __device__ void write(void* field, Offset at, T distance, bool inside) const {
    if (!last) {
      static_cast<T*>(field)[at] = inside ? distance : -distance;
      return;
    }
    float value = distance < infinity<T>() ? static_cast<float>(distance) * unit : infinity<float>();
    if (!squared) value = sqrtf(value);
    static_cast<float*>(field)[at] = form == kSigned && inside ? -value : value;
  }
};

// The squared step along `axis`, in mm^2: from `item_spacing` (batch, dims), or `shared_step` if that is
// null.
__device__ inline double squared_step(double shared_step, const double* item_spacing, Offset item, int dims,
                                      int axis) {
  const double step = item_spacing ? item_spacing[item * dims + axis] : shared_step;
  return step * step;
}
