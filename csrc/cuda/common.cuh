// What the kernels share: how a voxel becomes a label, what a distance so far looks like, and how it ends.
//
// A field holds one number a voxel: the squared distance to the other label along the axes seen so far, with
// a minus sign in the background. So it serves both labels: a foreground voxel looks for max(s, 0), which is
// 0 at every background voxel, and a background voxel for max(-s, 0). T is int on grids of equal steps, in
// units of a step, and float elsewhere. In the one-sided transform the background is 0 and asks for nothing.
//
// Indices within an axis are int; offsets into an array are 64-bit. A kernel's parameters are the fields of
// its struct in their order; beside each stands its shape and unit. `split` is the items of one mask of two.
#pragma once

// Tests count the candidates that a thread looks at; on a device this is nothing.
#ifndef SURFLOSS_CANDIDATES
#define SURFLOSS_CANDIDATES(count) static_cast<void>(count)
#endif

typedef long long Offset;

extern __shared__ int shared[];

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Past every finite squared distance of an int field; the square of an axis may still be added to it.
constexpr int kIntInfinity = 1 << 30;

template <typename T>
constexpr bool kIsInt = static_cast<T>(0.5) == static_cast<T>(0);

template <typename T>
__device__ T infinity() {
  if constexpr (kIsInt<T>) return kIntInfinity;
  return static_cast<T>(__int_as_float(0x7f800000));
}

// How the bits of a voxel become a label; the adapter has the same numbers.
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
  // float16 and bfloat16: anything but the two zeros.
  if constexpr (kind == kHalf) return (static_cast<const unsigned short*>(values)[i] & 0x7fff) != 0;
  if constexpr (kind == kFloat) return static_cast<const float*>(values)[i] != 0;
  if constexpr (kind == kDouble) return static_cast<const double*>(values)[i] != 0;
  if constexpr (kind == kFloatAboveHalf) return static_cast<const float*>(values)[i] > 0.5f;
  if constexpr (kind == kDoubleAboveHalf) return static_cast<const double*>(values)[i] > 0.5;
  if constexpr (kind == kFloatAboveZero) return static_cast<const float*>(values)[i] > 0;
  if constexpr (kind == kDoubleAboveZero) return static_cast<const double*>(values)[i] > 0;
}

enum Form { kOneSided, kTwoSided, kSigned };

// What a pass writes: the signed field for the next one, or the answer.
struct Finish {
  bool last;
  int form;
  bool squared;
  float unit;  // the square of a step of an int field, in mm^2

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

// The squared step along `axis`, in mm^2: that of all items, or where `item_spacing` is given (batch, dims),
// its own.
__device__ inline double squared_step(double shared_step, const double* item_spacing, Offset item, int dims,
                                      int axis) {
  const double step = item_spacing ? item_spacing[item * dims + axis] : shared_step;
  return step * step;
}
