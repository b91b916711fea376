// What the driver (baseline code) and the kernels (one build per instruction set) tell each other.
#pragma once

#include <stdint.h>

namespace surfloss {

constexpr int kMaxBlock =
    32;  // the widest block of columns, and the padding of tables, of any instruction set
constexpr int kMinGroup = 4;  // the closest that coarse rows lie

constexpr int kNearSteps = 8;  // of shorts: as far as all rows are looked at

constexpr int64_t kTile = 1 << 16;  // floats of a tile, which stays in the second cache

// Columns that are brought in together. The rows of a column may lie a slice apart, where each costs a page
// and a power of two shares few sets of a cache: long pieces of them spread that.
inline int64_t tile_columns(int64_t rows) {
  const int64_t blocks = kTile / kMaxBlock / rows;
  return kMaxBlock * (blocks < 1 ? 1 : blocks > 8 ? 8 : blocks);
}

enum State : uint8_t { kBackground = 0, kForeground = 1, kMixed = 2 };  // labels of a row or slice

// Squared distances by number of steps, float32 of the exact double: in squared units where the steps of the
// plane (of the item: for z) are whole multiples of one, else in mm^2. Along x, distances in double and
// indices have here the steps themselves.
struct Tables {
  double step_sq[3];                 // of z, y, x, in mm^2
  const float *z, *y;                // at the centre: entry d is for d steps either way
  const int32_t *short_z, *short_y;  // the same, as shorts (simd.h), each twice; or null
  const float *up, *down;            // entry d of `up` is for d steps, of `down` for x - d
  double step[3];                    // of z, y, x, in mm
  double unit;                       // mm, of which the steps are multiples
  float multiple_y, multiple_x;
  float before_z, after_z;    // what squared distances are multiplied by, to become mm^2
  bool whole_plane, whole;    // whether those of y and x, or of all three, are whole and their squares exact
  const double *z_sq, *y_sq;  // mm^2, at the centre
  double diagonal_sq;         // of the item
  double before_sq;           // SciPy's step to before the first axis, where that one has size 1
  float thin_sq;              // least squared step of the axes of size 1, inf if there is none
};

// The item's axes are brought to three. Axes of size 1 are dropped, and a plane becomes (rows, 1, columns),
// so that its columns too are shared out among threads.
struct Grid {
  int64_t z, y, x;
  int64_t slice() const { return y * x; }
  int64_t voxels() const { return z * y * x; }
};

// What a squared distance becomes at the end of a pass: its root, and a sign for each label.
struct Outcome {
  using Out = float;
  static constexpr int kSides = 2;
  bool root;
  int32_t signs[2];  // sign bit or 0, of background and of foreground
  float scale;       // of the squared distance
};

struct Job {
  Grid grid;
  bool two_sided;
  Outcome outcome;  // of the last pass
  float threshold;  // of values that are no masks: foreground is what lies above
  const Tables* tables;
  bool item_tables;  // a table for each item, or one for all
  const Tables& of(int64_t item) const { return tables[item_tables ? item : 0]; }
  Outcome outcome_of(int64_t item) const {
    return {outcome.root, {outcome.signs[0], outcome.signs[1]}, of(item).after_z};
  }
};

// Long distances lie together: after a block that was too long for shorts some are not tried.
struct Patience {
  int left, pause;
  bool tries() { return left == 0 || --left == 0; }
  void learn(bool solved) { left = pause = solved ? 0 : pause < 16 ? 2 * pause + 1 : 16; }
};

// Memory of one thread.
struct Workspace {
  float* column;     // (rows, columns of a tile), mm^2, signed; rows is y or z
  float* result[2];  // (max(y, z), kMaxBlock), mm^2: a block of columns each
  uint16_t* shorts;  // (max(y, z) + 2 kNearSteps, 2, kMaxBlock): a block of columns in whole units
  Patience* patience;
  int32_t* nearest;   // (coarse rows, kMaxBlock): row of what is nearest
  int32_t* index[2];  // (rows, columns of a tile): nearest along y and x, before this pass
  float* slice;       // (y, x): the field of one slice
  uint8_t* rows;      // (y): states of the rows of a slice
  uint64_t* words;    // labels of a row as bits, with a word before and after
};

struct Weighing {
  const void* values[2];     // (batch, z, y, x): input and target
  bool byte_target;          // what is not 0 is 1; else both are the input's type
  void* gradient;            // (batch, z, y, x), of the input's type; may be the first field if that is float
  bool sigmoid;              // of the input, whose gradient goes through it
  float* fields[2];          // (items of a round, z, y, x), mm^2, signed, after the passes in the slices
  const uint8_t* states[2];  // (items of a round, z)
  const float* given[2];     // (batch, z, y, x), mm^2, known to the caller, inf where there is none; or null
  const uint8_t* ignore;     // (batch, z, y, x): voxels of weight 0; or null
  double alpha;
  float max_squared;  // mm^2, of a distance; inf for none
  bool with_plain;    // whether plain sums are wanted
  int32_t empty;
  bool before_z, before_x;  // whether the first axis, before which SciPy's missing voxel lies, is z or x here
  double lowest, highest;   // values of the input that are right
};

// Sums of squared errors, times their weights and with weights of 1, and whether there were wrong values.
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

// Many labels at once: what is measured to what.
struct Labelling {
  const void* labels;    // (batch, z, y, x), integers of any size: only equality counts
  bool zero_background;  // label 0 asks for nothing and gets 0
  bool is_signed;        // every other label is negative
  bool closed;           // outside of the item is a label of its own
};
constexpr int kLabelSizes = 4;  // of 1, 2, 4 and 8 bytes

// Where the indices of one item go, (z, y, x) for each axis, null for axes of size 1.
struct Indices {
  int32_t *z, *y, *x;
};

// A contour or a soft surface, or the gradient: arrays are (items, z, y, x) of the grid.
struct ContourJob {
  Grid grid;
  bool volume;               // windows of 3 along z too; else every plane by itself
  int64_t stride;            // of the rows of a strip's memory
  const void* values;        // the input, or the gradient with respect to what was made of it
  const uint8_t* ignore;     // voxels in no window; or null
  void* result;              // what is made of the input, or the gradient with respect to it
  int8_t *highest, *lowest;  // the ways back; of a surface `lowest` alone
};

// Planes and rows that are worked on together.
struct Strip {
  int64_t item, first_z, last_z, first_y, last_y;
};

// Of one strip, in memory of its own: of floats, and of doubles.
using ContourPass = void (*)(const ContourJob&, const Strip&, char* memory);

// How labels are stored.
enum Layout { kByteMask, kFloatMask, kFloatValues, kDoubleValues, kLayouts };

inline int64_t bytes_a_voxel(Layout layout) {
  return layout == kByteMask ? 1 : layout == kDoubleValues ? 8 : 4;
}

// Shapes are by the job's grid: values, fields and masks (batch, z, y, x), states (batch, z).
struct Kernels {
  int32_t most_short;  // kMost of simd.h
  // Passes along x and y: slices [first, last) of all items' slices, to a field in mm^2, signed, and a state
  // for each. Foreground is what is not 0 in masks, and what lies above the threshold in values.
  void (*slices[kLayouts])(const Job&, const Workspace&, const void* values, float* field, uint8_t* states,
                           int64_t first, int64_t last);
  // Pass along z over columns [first, last) of one item's plane, in place, to the job's outcome.
  void (*columns)(const Job&, const Workspace&, int64_t item, float* field, const uint8_t* states,
                  int64_t first, int64_t last);
  // The same for two fields of an input in float or double, to the gradient and the sums of the squared
  // errors.
  Sums (*weigh_columns[2])(const Job&, const Workspace&, int64_t item, const Weighing&, int64_t first,
                           int64_t last);
  // Many labels, by the logarithm of their size in bytes: the same passes, and what they tell of each slice.
  void (*label_slices[kLabelSizes])(const Job&, const Workspace&, const Labelling&, float* field,
                                    uint8_t* contents, int64_t first, int64_t last);
  void (*label_columns[kLabelSizes])(const Job&, const Workspace&, const Labelling&, int64_t item,
                                     float* field, const uint8_t* contents, int64_t first, int64_t last);
  // Distance to the nearest zero voxel in double: as above.
  void (*distance_slices)(const Job&, const Workspace&, const uint8_t* mask, double* distance,
                          uint8_t* states, int64_t first, int64_t last);
  void (*distance_columns)(const Job&, const Workspace&, int64_t item, double* distance,
                           const uint8_t* states, int64_t first, int64_t last);
  // Nearest zero voxel: along x and y in slice z of an item, then along z in columns [first, last), there
  // also the distance, unless that is null.
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
