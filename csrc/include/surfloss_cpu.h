/* The C interface of the CPU library: plain pointers and numbers, no torch and no Python.
 *
 * Arrays are contiguous, `batch` items of `dims` (1 to 3) axes of `shape` each; the last axis is the fastest.
 * `spacing` holds `dims` positive finite steps in the order of the axes, for every item in turn where
 * `item_spacing` is not 0, else once for all. `isa` is one of the values below; `threads` is at least 1.
 * The library allocates nothing: the caller brings `scratch` of `surfloss_scratch_bytes` bytes, aligned to
 * 64, whose contents do not matter. Functions return a status; the library keeps no state between calls, so
 * they may run side by side and after a fork.
 */
#ifndef SURFLOSS_CPU_H
#define SURFLOSS_CPU_H

#include <stdint.h>

#if defined(_WIN32)
#define SURFLOSS_API __declspec(dllexport)
#else
#define SURFLOSS_API __attribute__((visibility("default")))
#endif

#define SURFLOSS_ABI 2

#ifdef __cplusplus
extern "C" {
#endif

enum surfloss_isa { SURFLOSS_BEST = 0, SURFLOSS_BASELINE = 1, SURFLOSS_AVX2 = 2, SURFLOSS_AVX512 = 3 };

enum surfloss_status {
  SURFLOSS_OK = 0,
  SURFLOSS_TOO_LARGE = 1,   /* more than 2^31 - 1 voxels an item */
  SURFLOSS_SPACING = 2,     /* a squared distance would leave float32's range */
  SURFLOSS_NO_MEMORY = 3,   /* the system has none left */
  SURFLOSS_UNSUPPORTED = 4, /* this processor lacks the instruction set, or the arguments make no sense */
};

enum surfloss_function { SURFLOSS_EDT = 0, SURFLOSS_NEAREST = 1, SURFLOSS_HAUSDORFF = 2 };

/* From foreground to the nearest 0; from every voxel to the other label; the same, negative in foreground. */
enum surfloss_form { SURFLOSS_ONE_SIDED = 0, SURFLOSS_TWO_SIDED = 1, SURFLOSS_SIGNED = 2 };

enum surfloss_empty { SURFLOSS_EMPTY_ZERO = 0, SURFLOSS_EMPTY_DIAGONAL = 1, SURFLOSS_EMPTY_REFERENCE = 2 };

SURFLOSS_API int32_t surfloss_abi(void);

/* The instruction set that SURFLOSS_BEST stands for on this processor. */
SURFLOSS_API int32_t surfloss_best_isa(void);

/* Bytes of scratch that a call needs, or -1 where the item is too large. */
SURFLOSS_API int64_t surfloss_scratch_bytes(int32_t function, int64_t batch, int32_t dims,
                                            const int64_t* shape, int32_t item_spacing, int32_t threads);

/* Distance in the given form, or its square; inf where there is none. The mask is of bytes, or of float32 with
 * `is_float`; what is not 0 is foreground. */
SURFLOSS_API int32_t surfloss_edt(const void* mask, int32_t is_float, float* distance, int64_t batch,
                                  int32_t dims, const int64_t* shape, const double* spacing,
                                  int32_t item_spacing, int32_t form, int32_t squared, int32_t threads,
                                  int32_t isa, void* scratch);

/* Index of the zero voxel nearest to every voxel, `(batch, dims, *shape)`; -1 where there is none. */
SURFLOSS_API int32_t surfloss_nearest_background(const uint8_t* mask, int32_t* nearest, int64_t batch,
                                                 int32_t dims, const int64_t* shape, const double* spacing,
                                                 int32_t item_spacing, int32_t threads, int32_t isa,
                                                 void* scratch);

/* For each item the sum of w (p - g)^2 with p the input, or its sigmoid, g the target and w = d_p^alpha +
 * d_g^alpha, d_x the two-sided distance of the mask x > 0.5; and the gradient with respect to the input of
 * that sum divided by the item's voxels. The input is float32, or float64 with `is_double`; the target is of
 * that type, or of bytes, where what is not 0 is 1. With `sigmoid` the mask of p is input > 0.
 * `input_squared` and `target_squared` are null, or squared distances to take instead, inf where there is
 * none; `empty` says what stands in there. `ignore` is null or marks voxels of weight 0. `field` is scratch
 * of a float32 a voxel, and may be the gradient itself where that is float32. */
SURFLOSS_API int32_t surfloss_hausdorff(const void* input, const void* target, int32_t is_double,
                                        int32_t byte_target, const float* input_squared,
                                        const float* target_squared, const uint8_t* ignore, float* field,
                                        void* gradient, double* error, int64_t batch, int32_t dims,
                                        const int64_t* shape, const double* spacing, int32_t item_spacing,
                                        int32_t sigmoid, double alpha, int32_t empty, int32_t threads,
                                        int32_t isa, void* scratch);

#ifdef __cplusplus
}
#endif

#endif
