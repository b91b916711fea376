/* The C interface of the CPU library: plain pointers and numbers, no torch and no Python.
 *
 * An array is contiguous and has its shape beside it, and its unit where it has one: (batch, *shape) are
 * `batch` items of the spatial axes `shape`, the last of which is the fastest. A flag is 0 or not 0. The
 * library allocates nothing, so the caller brings `scratch`. Functions return a status; the library keeps no
 * state between calls, so they may run side by side and after a fork.
 *
 * All take `batch` items of `dims` axes, 1 to 3; shape (dims), voxels; spacing (batch, dims) with the flag
 * `item_spacing`, else (dims) for all items, mm, positive and finite; `threads`, at least 1; `isa` of enum
 * surfloss_isa; scratch of `surfloss_scratch_bytes` bytes, aligned to 64, whose contents do not matter.
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
  SURFLOSS_TOO_LARGE = 1,   /* more than 2^31 - 1 voxels an item, or too long an axis */
  SURFLOSS_SPACING = 2,     /* a squared distance would leave float32's range */
  SURFLOSS_NO_MEMORY = 3,   /* the system has none left */
  SURFLOSS_UNSUPPORTED = 4, /* this processor lacks the instruction set, or the arguments make no sense */
};

enum surfloss_function {
  SURFLOSS_EDT = 0,
  SURFLOSS_NEAREST = 1,
  SURFLOSS_HAUSDORFF = 2,
  SURFLOSS_DISTANCE = 3,
};

/* From foreground to the nearest 0; from every voxel to the other label; the same, negative in foreground. */
enum surfloss_form { SURFLOSS_ONE_SIDED = 0, SURFLOSS_TWO_SIDED = 1, SURFLOSS_SIGNED = 2 };

enum surfloss_empty { SURFLOSS_EMPTY_ZERO = 0, SURFLOSS_EMPTY_DIAGONAL = 1, SURFLOSS_EMPTY_SCIPY = 2 };

SURFLOSS_API int32_t surfloss_abi(void);

/* The instruction set that SURFLOSS_BEST stands for on this processor. */
SURFLOSS_API int32_t surfloss_best_isa(void);

/* Bytes of scratch that a call needs, or -1 where the item is too large. */
SURFLOSS_API int64_t surfloss_scratch_bytes(int32_t function, int64_t batch, int32_t dims,
                                            const int64_t* shape, int32_t item_spacing, int32_t threads);

/* Distance in the given form, or its square. What is not 0 in the mask is foreground. */
SURFLOSS_API int32_t surfloss_edt(const void* mask, /* (batch, *shape), bytes, or float32 with `is_float` */
                                  int32_t is_float, /* flag */
                                  float* distance,  /* (batch, *shape), mm or mm^2; inf where there is none */
                                  int64_t batch, int32_t dims, const int64_t* shape, const double* spacing,
                                  int32_t item_spacing, int32_t form, /* of enum surfloss_form */
                                  int32_t squared,                    /* flag */
                                  int32_t threads, int32_t isa, void* scratch);

/* The same for any number of labels: distance to the nearest voxel of another label. Here label 0 is the
 * background, which has distance 0 in the one-sided form; signed, all other labels are negative. Scratch is
 * as for SURFLOSS_EDT. */
SURFLOSS_API int32_t
surfloss_label_edt(const void* labels, /* (batch, *shape), integers */
                   int32_t bytes,      /* of a label: 1, 2, 4 or 8 */
                   float* distance,    /* (batch, *shape), mm or mm^2; inf where there is none */
                   int64_t batch, int32_t dims, const int64_t* shape, const double* spacing,
                   int32_t item_spacing, int32_t form, /* of enum surfloss_form */
                   int32_t squared,                    /* flag */
                   int32_t closed,                     /* flag: outside of the item is a label of its own */
                   int32_t threads, int32_t isa, void* scratch);

/* Distance to the nearest zero voxel in double. Where all steps, or those of the last two axes, are whole
 * multiples of the smallest and squares stay below 2^24, it is the root of an exact integer, times a step;
 * else within 2 units in the last place. Axes have at most 2^24 voxels. Scratch is SURFLOSS_DISTANCE's. */
SURFLOSS_API int32_t
surfloss_background_distance(const uint8_t* mask, /* (batch, *shape) */
                             double* distance,    /* (batch, *shape), mm; inf where there is none */
                             int64_t batch, int32_t dims, const int64_t* shape, const double* spacing,
                             int32_t item_spacing, int32_t threads, int32_t isa, void* scratch);

/* Index of the zero voxel nearest to every voxel, compared as exactly, and if wanted its distance. */
SURFLOSS_API int32_t
surfloss_nearest_background(const uint8_t* mask, /* (batch, *shape) */
                            int32_t* nearest,    /* (batch, dims, *shape), voxels; -1 where there is none */
                            double* distance,    /* (batch, *shape), mm; inf where there is none; or null */
                            int64_t batch, int32_t dims, const int64_t* shape, const double* spacing,
                            int32_t item_spacing, int32_t threads, int32_t isa, void* scratch);

/* For each item the sum of w (p - g)^2 with p the input, or its sigmoid, g the target and w = d_p^alpha +
 * d_g^alpha, d_x the two-sided distance of the mask x > 0.5, at most max_distance; and the gradient with
 * respect to the input of that sum divided by the item's voxels. Values are float32, or float64 with
 * `is_double`. Wrong values are found beside that: of the input outside [lowest, highest], and of a target of
 * values other than 0 and 1. */
SURFLOSS_API int32_t surfloss_hausdorff(
    const void* input,           /* (batch, *shape), values */
    const void* target,          /* (batch, *shape), values, or bytes of which all but 0 are 1 */
    int32_t is_double,           /* flag */
    int32_t byte_target,         /* flag */
    const float* input_squared,  /* (batch, *shape), mm^2, inf for none: taken for the distance; or null */
    const float* target_squared, /* the same of the target */
    const uint8_t* ignore,       /* (batch, *shape), voxels of weight 0; or null */
    float* field,                /* (batch, *shape), scratch; may be the gradient, if that is float32 */
    void* gradient,              /* (batch, *shape), values */
    double* weighted,            /* (batch): the sum */
    double* plain,               /* (batch): the same sum with w = 1, or 0 where ignored; or null */
    uint8_t* wrong,              /* (2): set to 1 where the input, the target has a wrong value */
    int64_t batch, int32_t dims, const int64_t* shape, const double* spacing, int32_t item_spacing,
    int32_t sigmoid,                   /* flag: the input has logits, and its mask is input > 0 */
    double alpha, double max_distance, /* mm, above 0; inf for none */
    double lowest, double highest, int32_t empty,                     /* of enum surfloss_empty: what stands in where there is no distance */
    int32_t threads, int32_t isa, void* scratch);

/* Bytes of scratch that the four functions below need. */
SURFLOSS_API int64_t surfloss_contour_scratch_bytes(int32_t is_double, int64_t size, /* of the last axis */
                                                    int32_t threads);

/* max(0, maxpool(minpool(x)) - minpool(x)) in windows of 3 voxels per axis, that of z 1 without `volume`.
 * Shape is (batch, z, y, x); values are float32, or float64 with `is_double`. */
SURFLOSS_API int32_t
surfloss_contour(const void* x,                   /* values */
                 const uint8_t* ignore,           /* voxels in no window, with contour 0; or null */
                 void* contour,                   /* values */
                 int8_t* highest, int8_t* lowest, /* for the gradient */
                 int32_t is_double, int32_t volume, int64_t batch, const int64_t* shape, int32_t threads,
                 int32_t isa, void* scratch);

/* The gradient with respect to x, from that with respect to the contour. */
SURFLOSS_API int32_t surfloss_contour_gradient(const void* gradient, const int8_t* highest,
                                               const int8_t* lowest, void* input_gradient, int32_t is_double,
                                               int32_t volume, int64_t batch, const int64_t* shape,
                                               int32_t threads, int32_t isa, void* scratch);

/* x less the least of x and its face neighbors; ignored voxels have none, and are nobody's neighbors. */
SURFLOSS_API int32_t surfloss_surface(const void* x, const uint8_t* ignore, void* surface,
                                      int8_t* lowest, /* for the gradient */
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
