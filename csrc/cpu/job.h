// What the driver (baseline code) and the kernels (one build per instruction set) tell each other.
#pragma once

#include <stdint.h>

namespace surfloss {

constexpr int kMaxBlock =
    32;  // the widest block of columns, and the padding of tables, of any instruction set
constexpr int kMinGroup = 4;  // the closest that coarse rows lie

constexpr int64_t kTile = 1 << 16;  // floats of a tile, which stays in the second cache

// Columns that are brought in together. The rows of a column may lie a slice apart, where each costs a page
// and a power of two shares few sets of a cache: long pieces of them spread that.
inline int64_t tile_columns(int64_t rows) {
  const int64_t blocks = kTile / kMaxBlock / rows;
  return kMaxBlock * (blocks < 1 ? 1 : blocks > 8 ? 8 : blocks);
}

enum State : uint8_t { kBackground = 0, kForeground = 1, kMixed = 2 };  // labels of a row or slice

// Squared distances by number of steps, float32 of the exact double.
struct Tables {
  double step_sq[3];       // z, y, x
  const float *z, *y;      // at the centre: entry d is for d steps either way
  const float *up, *down;  // entry d of `up` is for d steps, of `down` for x - d
  double diagonal_sq;      // of the item
  double before_sq;        // SciPy's step to before the first axis, where that one has size 1
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
  bool root;
  int32_t signs[2];  // sign bit or 0, of background and of foreground
};

struct Job {
  Grid grid;
  bool two_sided;
  Outcome outcome;  // of the last pass
  float threshold;  // of values that are no masks: foreground is what lies above
  const Tables* tables;
  bool item_tables;  // a table for each item, or one for all
  const Tables& of(int64_t item) const { return tables[item_tables ? item : 0]; }
};

// Memory of one thread.
struct Workspace {
  float* column;     // a tile of columns
  float* result[2];  // a block of columns each: max(y, z) rows of kMaxBlock
  int32_t* nearest;  // argmins of the coarse rows
  uint8_t* rows;     // states of the rows of a slice
  uint64_t* words;   // labels of a row as bits, with a word before and after
};

struct Weighing {
  const void* values[2];     // input and target
  bool byte_target;          // what is not 0 is 1; else both are the input's type
  void* gradient;            // of the input's type; where that is float it may be the first field
  bool sigmoid;              // of the input, whose gradient goes through it
  float* fields[2];          // signed, after the passes in the slices
  const uint8_t* states[2];  // of the slices
  const float* given[2];     // or null: squared distances that the caller knows, inf where there are none
  const uint8_t* ignore;     // or null: voxels of weight 0
  double alpha;
  int32_t empty;
  bool before_z, before_x;  // whether the first axis, before which SciPy's missing voxel lies, is z or x here
};

// Where the indices go: a plane of one item for each axis, null for axes of size 1.
struct Indices {
  int32_t *z, *y, *x;
};

// How labels are stored.
enum Layout { kByteMask, kFloatMask, kFloatValues, kDoubleValues, kLayouts };

inline int64_t bytes_a_voxel(Layout layout) { return layout == kByteMask ? 1 : layout == kDoubleValues ? 8 : 4; }

struct Kernels {
  // Passes along x and y: slices [first, last) of all items' slices, to a signed field and a state for each.
  // Foreground is what is not 0 in masks, and what lies above the threshold in values.
  void (*slices[kLayouts])(const Job&, const Workspace&, const void*, float*, uint8_t*, int64_t, int64_t);
  // Pass along z over columns [first, last) of one item's plane, in place, to the job's outcome.
  void (*columns)(const Job&, const Workspace&, int64_t, float*, const uint8_t*, int64_t, int64_t);
  // The same for two fields, to the gradient and the sum of the weighted squared error.
  double (*float_weigh)(const Job&, const Workspace&, int64_t, const Weighing&, int64_t, int64_t);
  double (*double_weigh)(const Job&, const Workspace&, int64_t, const Weighing&, int64_t, int64_t);
  // Nearest zero voxel: along x and y in slice z of an item, then along z in columns [first, last).
  void (*nearest_slice)(const Job&, const Workspace&, int64_t, int64_t, const uint8_t*, const Indices&,
                        uint8_t*);
  void (*nearest_columns)(const Job&, const Workspace&, int64_t, const Indices&, const uint8_t*, int64_t,
                          int64_t);
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
