/* The C interface of the CPU library: plain pointers and numbers, no torch and no Python.
 *
 * Arrays are contiguous, with the last axis fastest. The comment on an array gives its shape and unit:
 * (batch, *shape) means `batch` items with the spatial axes `shape`. A flag is 0 or nonzero. Functions return
 * a status. The library allocates nothing and keeps no state between calls, so calls may run in parallel and
 * after a fork.
 *
 * Common arguments:
 *   batch         number of items
 *   dims, shape   number of spatial axes, 1 to 3, and their sizes (dims) in voxels
 *   spacing       mm, positive and finite: (batch, dims) if the flag `item_spacing` is set, else (dims)
 *   threads       at least 1
 *   isa           of enum surfloss_isa
 *   scratch       `surfloss_scratch_bytes` bytes, aligned to 64, uninitialized
 */
#ifndef SURFLOSS_CPU_H
#define SURFLOSS_CPU_H

#include <stdint.h>

#if defined(_WIN32)
#define SURFLOSS_API __declspec(dllexport)
#else
#define SURFLOSS_API __attribute__((visibility("default")))
#endif

#define SURFLOSS_ABI 7

#ifdef __cplusplus
extern "C" {
#endif

enum surfloss_isa { SURFLOSS_BEST = 0, SURFLOSS_BASELINE = 1, SURFLOSS_AVX2 = 2, SURFLOSS_AVX512 = 3 };

enum surfloss_status {
  SURFLOSS_OK = 0,
  SURFLOSS_TOO_LARGE = 1,   /* an item has more than 2^31 - 1 voxels, or an axis is too long */
  SURFLOSS_SPACING = 2,     /* a squared distance would leave the range of float32 */
  SURFLOSS_NO_MEMORY = 3,   /* the system is out of memory */
  SURFLOSS_UNSUPPORTED = 4, /* the processor lacks the instruction set, or an argument is invalid */
};

enum surfloss_function {
  SURFLOSS_EDT = 0,
  SURFLOSS_NEAREST = 1,
  SURFLOSS_HAUSDORFF = 2,
  SURFLOSS_DISTANCE = 3,
};

/* One-sided: from the foreground to the nearest background, 0 in the background. Two-sided: from every voxel
 * to the other label. Signed: two-sided, negative in the foreground. */
enum surfloss_form { SURFLOSS_ONE_SIDED = 0, SURFLOSS_TWO_SIDED = 1, SURFLOSS_SIGNED = 2 };

enum surfloss_empty { SURFLOSS_EMPTY_ZERO = 0, SURFLOSS_EMPTY_DIAGONAL = 1, SURFLOSS_EMPTY_SCIPY = 2 };

SURFLOSS_API int32_t surfloss_abi(void);

/* The instruction set that SURFLOSS_BEST selects on this processor. */
SURFLOSS_API int32_t surfloss_best_isa(void);

/* Bytes of scratch that a call needs, or -1 if the item is too large. */
SURFLOSS_API int64_t surfloss_scratch_bytes(int32_t function, int64_t batch, int32_t dims,
                                            const int64_t* shape, int32_t item_spacing, int32_t threads);

/* Distance in the given form, or its square. Nonzero mask voxels are foreground. */
SURFLOSS_API int32_t surfloss_edt(const void* mask, /* (batch, *shape), bytes, or float32 with `is_float` */
                                  int32_t is_float, /* flag */
                                  float* distance,  /* (batch, *shape), mm or mm^2; inf if there is none */
                                  int64_t batch, int32_t dims, const int64_t* shape, const double* spacing,
                                  int32_t item_spacing, int32_t form, /* of enum surfloss_form */
                                  int32_t squared,                    /* flag */
                                  int32_t threads, int32_t isa, void* scratch);

/* Distance to the nearest voxel of another label, for any number of labels, or its square. Label 0 is the
 * background: it gets distance 0 in the one-sided form, and all other labels are negative in the signed form.
 * Scratch is that of SURFLOSS_EDT. */
SURFLOSS_API int32_t
surfloss_label_edt(const void* labels, /* (batch, *shape), integers */
                   int32_t bytes,      /* per label: 1, 2, 4 or 8 */
                   float* distance,    /* (batch, *shape), mm or mm^2; inf if there is none */
                   int64_t batch, int32_t dims, const int64_t* shape, const double* spacing,
                   int32_t item_spacing, int32_t form, /* of enum surfloss_form */
                   int32_t squared,                    /* flag */
                   int32_t closed,                     /* flag: the outside of an item is another label */
                   int32_t threads, int32_t isa, void* scratch);

/* Distance to the nearest zero voxel in double. If all steps, or those of the last two axes, are integer
 * multiples of the smallest and squares stay below 2^24, the result is the root of an exact integer times a
 * step. Otherwise its error is at most 2 units in the last place. Axes have at most 2^24 voxels. Scratch is
 * that of SURFLOSS_DISTANCE. */
SURFLOSS_API int32_t
surfloss_background_distance(const uint8_t* mask, /* (batch, *shape) */
                             double* distance,    /* (batch, *shape), mm; inf if there is none */
                             int64_t batch, int32_t dims, const int64_t* shape, const double* spacing,
                             int32_t item_spacing, int32_t threads, int32_t isa, void* scratch);

/* Index of the zero voxel nearest to every voxel, found with the same precision, and optionally its
 * distance. */
SURFLOSS_API int32_t
surfloss_nearest_background(const uint8_t* mask, /* (batch, *shape) */
                            int32_t* nearest,    /* (batch, dims, *shape), voxels; -1 if there is none */
                            double* distance,    /* (batch, *shape), mm; inf if there is none; or null */
                            int64_t batch, int32_t dims, const int64_t* shape, const double* spacing,
                            int32_t item_spacing, int32_t threads, int32_t isa, void* scratch);

/* The Hausdorff error of each item: the sum of w (p - g)^2, and the gradient of the mean with respect to the
 * input. p is the input or its sigmoid, g the target, and w = d_p^alpha + d_g^alpha, where d_x is the
 * two-sided distance of the mask x > 0.5, capped at max_distance. Values are float32, or float64 with
 * `is_double`. Wrong values are reported: of the input outside [lowest, highest], and of a target of values
 * other than 0 and 1. */
SURFLOSS_API int32_t surfloss_hausdorff(
    const void* input,           /* (batch, *shape), values */
    const void* target,          /* (batch, *shape), values, or bytes (nonzero means 1) */
    int32_t is_double,           /* flag */
    int32_t byte_target,         /* flag */
    const float* input_squared,  /* (batch, *shape), mm^2: known d_p^2, inf for none; or null to compute it */
    const float* target_squared, /* (batch, *shape), mm^2: d_g^2 likewise */
    const uint8_t* ignore,       /* (batch, *shape), nonzero for weight 0; or null */
    float* field,                /* (batch, *shape), scratch; may be the gradient if that is float32 */
    void* gradient,              /* (batch, *shape), values */
    double* weighted,            /* (batch): the sum */
    double* plain,               /* (batch): the sum with w = 1, or 0 where ignored; or null */
    uint8_t* wrong,              /* (2): set to 1 if the input, or the target, has a wrong value */
    int64_t batch, int32_t dims, const int64_t* shape, const double* spacing, int32_t item_spacing,
    int32_t sigmoid,                   /* flag: the input is logits, with the mask input > 0 */
    double alpha, double max_distance, /* mm, above 0; inf for no cap */
    double lowest, double highest,     /* range of right values of the input */
    int32_t empty,                     /* of enum surfloss_empty: the distance if a mask has one label */
    int32_t threads, int32_t isa, void* scratch);

/* Bytes of scratch that each of the four functions below needs. */
SURFLOSS_API int64_t surfloss_contour_scratch_bytes(int32_t is_double, int64_t size, /* of the last axis */
                                                    int32_t threads);

/* max(0, maxpool(minpool(x)) - minpool(x)) with windows of 3 voxels per axis; along z 1 unless `volume` is
 * set. Arrays are (batch, z, y, x). Values are float32, or float64 with `is_double`. */
SURFLOSS_API int32_t
surfloss_contour(const void* x,                   /* values */
                 const uint8_t* ignore,           /* nonzero: outside every window, contour 0; or null */
                 void* contour,                   /* values */
                 int8_t* highest, int8_t* lowest, /* saved for the gradient */
                 int32_t is_double, int32_t volume, int64_t batch, const int64_t* shape, int32_t threads,
                 int32_t isa, void* scratch);

/* The gradient with respect to x, from the gradient with respect to the contour. */
SURFLOSS_API int32_t surfloss_contour_gradient(const void* gradient, const int8_t* highest,
                                               const int8_t* lowest, void* input_gradient, int32_t is_double,
                                               int32_t volume, int64_t batch, const int64_t* shape,
                                               int32_t threads, int32_t isa, void* scratch);

/* x minus the minimum of x and its face neighbors. Ignored voxels get 0 and are nobody's neighbors. */
SURFLOSS_API int32_t surfloss_surface(const void* x, const uint8_t* ignore, void* surface,
                                      int8_t* lowest, /* saved for the gradient */
                                      int32_t is_double, int64_t batch, const int64_t* shape, int32_t threads,
                                      int32_t isa, void* scratch);

SURFLOSS_API int32_t surfloss_surface_gradient(const void* gradient, const int8_t* lowest,
                                               void* input_gradient, int32_t is_double, int64_t batch,
                                               const int64_t* shape, int32_t threads, int32_t isa,
                                               void* scratch);

#ifdef __cplusplus
}
#endif

#endif
