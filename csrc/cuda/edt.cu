// The distance transform and its index form: a pass along x (rows.cuh), then along y and z (columns.cuh).
#include "columns.cuh"
#include "rows.cuh"

#define SURFLOSS_ROWS(name, T)                                                                               \
  extern "C" __global__ void __launch_bounds__(kWarp* kRowWarps, 4)                                          \
      name(const void* first, int first_kind, const void* second, int second_kind, void* first_field,        \
           void* second_field, Offset split, int* where, Offset items, Offset rows_per_item, int size,       \
           double step, const double* item_spacing, int dims, int last, int form, int squared, float unit) { \
    const Rows rows{first,        first_kind, second,    second_kind,   first_field,  second_field,          \
                    split,        where,      items,     rows_per_item, size,         step,                  \
                    item_spacing, dims,       last != 0, form,          squared != 0, unit};                 \
    rows.solve<T>();                                                                                         \
  }

#define SURFLOSS_COLUMNS(name, T, tiled, indexed)                                                            \
  extern "C" __global__ void __launch_bounds__(kWarp* kColumnWarps, 3)                                       \
      name(void* first_field, void* second_field, Offset split, const void* source, int* coarse, int* where, \
           Offset voxels, Offset inner, int size, Offset tiles, int top, double step,                        \
           const double* item_spacing, int dims, int axis, int last, int form, int squared, float unit) {    \
    const Columns<T, tiled, indexed> columns{                                                                \
        first_field,  second_field, split,  static_cast<const T*>(source),                                   \
        coarse,       where,        voxels, inner,                                                           \
        size,         tiles,        top,    step,                                                            \
        item_spacing, dims,         axis,   last != 0,                                                       \
        form,         squared != 0, unit};                                                                   \
    columns.solve();                                                                                         \
  }

SURFLOSS_ROWS(rows_int, int)
SURFLOSS_ROWS(rows_float, float)
SURFLOSS_COLUMNS(columns_int, int, true, false)
SURFLOSS_COLUMNS(columns_float, float, true, false)
SURFLOSS_COLUMNS(nearest_float, float, true, true)
// For axes too long for shared memory.
SURFLOSS_COLUMNS(long_columns_float, float, false, false)
SURFLOSS_COLUMNS(long_nearest_float, float, false, true)

// Combines the nearest positions per pass, each (items, z, y, x) or null if the axis has no pass, into the
// indices of the nearest background, (items, dims, z, y, x).
extern "C" __global__ void __launch_bounds__(256)
    follow(const int* z_of, const int* y_of, const int* x_of, int* nearest, Offset items, int dims, int nz,
           int ny, int nx) {
  const Offset slice = static_cast<Offset>(ny) * nx, voxels = nz * slice;
  const Offset at = static_cast<Offset>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= items * voxels) return;
  const Offset item = at / voxels, voxel = at % voxels, start = item * voxels;
  int z = static_cast<int>(voxel / slice), y = static_cast<int>(voxel % slice / nx),
      x = static_cast<int>(voxel % nx);
  if (z_of) z = z_of[at];
  if (z >= 0 && y_of) y = y_of[start + z * slice + voxel % slice];
  if (z >= 0 && y >= 0) x = x_of[start + z * slice + static_cast<Offset>(y) * nx + x];
  const bool found = z >= 0 && y >= 0 && x >= 0;
  int* out = nearest + item * dims * voxels + voxel;
  if (dims == 3) *out = found ? z : -1, out += voxels;
  if (dims >= 2) *out = found ? y : -1, out += voxels;
  *out = found ? x : -1;
}
