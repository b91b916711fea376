// The types shared by the driver (baseline code) and the kernels (one build per instruction set).
#pragma once

#include <stdint.h>

namespace surfloss {

constexpr int kMaxBlock = 32;  // columns of the widest block of any instruction set; also pads tables
constexpr int kMinGroup = 4;   // smallest distance between coarse rows

constexpr int kNearSteps = 8;  // in shorts: distance within which all rows are searched without bounds

constexpr int64_t kTile = 1 << 16;  // floats per tile, so that it stays in the L2 cache

// Columns that are loaded together. Rows may lie a slice apart, so that each costs a page, and with a power
// of two they share few cache sets. Loading long pieces of each row spreads these costs.
inline int64_t tile_columns(int64_t rows) {
  const int64_t blocks = kTile / kMaxBlock / rows;
  return kMaxBlock * (blocks < 1 ? 1 : blocks > 8 ? 8 : blocks);
}

enum State : uint8_t { kBackground = 0, kForeground = 1, kMixed = 2 };  // labels of a row or slice

// Squared distances by number of steps, computed in double and rounded to float32. They are in squared units
// if the steps of the plane (for z: of the item) are integer multiples of a unit, else in mm^2. Exception:
// for distances in double and for indices, `up` and `down` hold the number of steps.
struct Tables {
  double step_sq[3];                 // of z, y, x, in mm^2
  const float *z, *y;                // point to the center: entry d, of either sign, is for |d| steps
  const int32_t *short_z, *short_y;  // z and y as shorts (simd.h), each stored twice; or null
  const float *up, *down;            // along x: entry d of `up` is for d steps, of `down` for x - d
  double step[3];                    // of z, y, x, in mm
  double unit;                       // mm; the steps are multiples of it
  float multiple_y, multiple_x;      // steps in units
  float before_z, after_z;           // factors before and after the pass along z that convert to mm^2
  bool whole_plane, whole;           // whether y and x, or all axes, have a unit and exact squares
  const double *z_sq, *y_sq;         // mm^2; point to the center
  double diagonal_sq;                // of the item, in mm^2
  double before_sq;                  // squared step of the first axis if it has size 1, else 0; for SciPy
  float thin_sq;                     // least squared step of the axes of size 1, inf if there is none
};

// The shape of an item as three axes. Axes of size 1 are dropped, and a plane becomes (rows, 1, columns), so
// that threads can share its columns.
struct Grid {
  int64_t z, y, x;
  int64_t slice() const { return y * x; }
  int64_t voxels() const { return z * y * x; }
};

// How the last pass ends: optional root, and a sign per label.
struct Outcome {
  using Out = float;
  static constexpr int kSides = 2;
  bool root;
  int32_t signs[2];  // sign bit or 0, for background and foreground
  float scale;       // factor of the squared distance
};

struct Job {
  Grid grid;
  bool two_sided;
  Outcome outcome;  // of the last pass
  float threshold;  // for values instead of masks: foreground lies above it
  const Tables* tables;
  bool item_tables;  // whether each item has its own tables
  const Tables& of(int64_t item) const { return tables[item_tables ? item : 0]; }
  Outcome outcome_of(int64_t item) const {
    return {outcome.root, {outcome.signs[0], outcome.signs[1]}, of(item).after_z};
  }
};

// Decides whether to try a block in shorts. Long distances cluster, so after a failure some blocks are
// skipped.
struct Patience {
  int left, pause;
  bool tries() { return left == 0 || --left == 0; }
  void learn(bool solved) { left = pause = solved ? 0 : pause < 16 ? 2 * pause + 1 : 16; }
};

// Scratch memory of one thread.
struct Workspace {
  float* column;     // (rows, columns of a tile), mm^2, signed; rows is y or z
  float* result[2];  // (max(y, z), kMaxBlock), mm^2: one block of columns each
  uint16_t* shorts;  // (max(y, z) + 2 kNearSteps, 2, kMaxBlock): one block of columns in squared units
  Patience* patience;
  int32_t* nearest;   // (coarse rows, kMaxBlock): the nearest row
  int32_t* index[2];  // (rows, columns of a tile): indices of the earlier passes
  float* slice;       // (y, x): the field of one slice
  uint8_t* rows;      // (y): states of the rows of a slice
  uint64_t* words;    // labels of a row as bits, with one word of padding on either side
};

struct Weighing {
  const void* values[2];     // (batch, z, y, x): input and target
  bool byte_target;          // the target is bytes, nonzero means 1; else it has the input's type
  void* gradient;            // (batch, z, y, x), of the input's type; if float, may be the first field
  bool sigmoid;              // whether the input is logits
  float* fields[2];          // (items of a round, z, y, x), mm^2, signed, after the passes in the slices
  const uint8_t* states[2];  // (items of a round, z)
  const float* given[2];     // (batch, z, y, x), mm^2: known squared distances, inf for none; or null
  const uint8_t* ignore;     // (batch, z, y, x): voxels of weight 0; or null
  double alpha;
  float max_squared;        // mm^2: cap of the squared distance; inf for none
  bool with_plain;          // whether to compute plain sums
  int32_t empty;            // of enum surfloss_empty
  bool before_z, before_x;  // whether the caller's first axis, where SciPy adds a voxel in front, is z or x
  double lowest, highest;   // range of right values of the input
};

// Sums of squared errors, with their weights and with weight 1; and whether there were wrong values.
struct Sums {
  double weighted, plain;
  bool wrong_input, wrong_target;

  void add(const Sums& other) {
    weighted += other.weighted;
    plain += other.plain;
    wrong_input |= other.wrong_input;
    wrong_target |= other.wrong_target;
  }
};

// The labels and options of `surfloss_label_edt`.
struct Labelling {
  const void* labels;    // (batch, z, y, x), integers of any size; only equality matters
  bool zero_background;  // label 0 gets distance 0
  bool is_signed;        // labels other than 0 get negative distances
  bool closed;           // the outside of an item is another label
};
constexpr int kLabelSizes = 4;  // labels of 1, 2, 4 and 8 bytes

// The output of one item's indices: (z, y, x) per axis, null for axes of size 1.
struct Indices {
  int32_t *z, *y, *x;
};

// A contour or a soft surface, or the gradient of one. Arrays are (items, z, y, x).
struct ContourJob {
  Grid grid;
  bool volume;               // windows of 3 along z too; else planes are independent
  int64_t stride;            // of the rows of a strip's memory, in values
  const void* values;        // the input; for gradients, the gradient with respect to the output
  const uint8_t* ignore;     // nonzero: in no window; or null
  void* result;              // the output; for gradients, the gradient with respect to the input
  int8_t *highest, *lowest;  // ways to the maximum and the minimum (contour.h); a surface has only `lowest`
};

// The planes and rows of one task.
struct Strip {
  int64_t item, first_z, last_z, first_y, last_y;
};

// A pass over one strip, with its scratch memory.
using ContourPass = void (*)(const ContourJob&, const Strip&, char* memory);

// How the input of a pass is stored.
enum Layout { kByteMask, kFloatMask, kFloatValues, kDoubleValues, kLayouts };

inline int64_t bytes_a_voxel(Layout layout) {
  return layout == kByteMask ? 1 : layout == kDoubleValues ? 8 : 4;
}

// Values, fields and masks are (batch, z, y, x), states (batch, z).
struct Kernels {
  int32_t most_short;  // kMost of simd.h
  // Passes along x and y over slices [first, last) of all items' slices. Writes the signed field in mm^2 and
  // the state of each slice. Foreground is nonzero in masks, and above the threshold in values.
  void (*slices[kLayouts])(const Job&, const Workspace&, const void* values, float* field, uint8_t* states,
                           int64_t first, int64_t last);
  // Pass along z over columns [first, last) of one item's plane, in place; ends with the job's outcome.
  void (*columns)(const Job&, const Workspace&, int64_t item, float* field, const uint8_t* states,
                  int64_t first, int64_t last);
  // Pass along z over both fields of the Hausdorff error, for an input in float or double. Writes the
  // gradient and returns the sums of the squared errors.
  Sums (*weigh_columns[2])(const Job&, const Workspace&, int64_t item, const Weighing&, int64_t first,
                           int64_t last);
  // The two passes for many labels, indexed by log2 of the label size in bytes. `contents` describes each
  // slice.
  void (*label_slices[kLabelSizes])(const Job&, const Workspace&, const Labelling&, float* field,
                                    uint8_t* contents, int64_t first, int64_t last);
  void (*label_columns[kLabelSizes])(const Job&, const Workspace&, const Labelling&, int64_t item,
                                     float* field, const uint8_t* contents, int64_t first, int64_t last);
  // The two passes of the distance to the nearest zero voxel in double.
  void (*distance_slices)(const Job&, const Workspace&, const uint8_t* mask, double* distance,
                          uint8_t* states, int64_t first, int64_t last);
  void (*distance_columns)(const Job&, const Workspace&, int64_t item, double* distance,
                           const uint8_t* states, int64_t first, int64_t last);
  // The two passes of the nearest zero voxel: along x and y in slice z of an item, then along z in columns
  // [first, last). The second also writes the distance unless that is null.
  void (*nearest_slice)(const Job&, const Workspace&, int64_t item, int64_t z, const uint8_t* mask,
                        const Indices& to, uint8_t* states);
  void (*nearest_columns)(const Job&, const Workspace&, int64_t item, const Indices& to, double* distance,
                          const uint8_t* states, int64_t first, int64_t last);
  // The contour of floats or doubles, and its gradient.
  ContourPass contour[2];
  ContourPass contour_gradient[2];
  // The soft surface, and its gradient.
  ContourPass surface[2];
  ContourPass surface_gradient[2];
};

namespace baseline {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}

}  // namespace surfloss
