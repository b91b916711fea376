#include "plan.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

namespace surfloss {
namespace {

constexpr int64_t kVoxelsAThread = 1 << 17;  // fewer do not pay for starting a thread
constexpr int64_t kVoxelsATask = 1 << 15;
constexpr int64_t kVoxelsARound = 1 << 20;  // Hausdorff error: a field of one round is in scratch

int64_t values_a_table(const Grid& grid) { return 2 * (grid.z + grid.y + grid.x) + 4 * kMaxBlock; }
int64_t shorts_a_table(const Grid& grid) { return 2 * (grid.z + grid.y + 1); }

}  // namespace

Axes bring_to_three(int dims, const int64_t* shape) {
  int kept[3], count = 0;
  for (int axis = 0; axis < dims; ++axis) {
    if (shape[axis] != 1) kept[count++] = axis;
  }
  Axes axes = {{1, 1, 1}, {-1, -1, -1}};
  if (count == 3) {
    axes = {{shape[kept[0]], shape[kept[1]], shape[kept[2]]}, {kept[0], kept[1], kept[2]}};
  } else if (count == 2) {
    axes = {{shape[kept[0]], 1, shape[kept[1]]}, {kept[0], -1, kept[1]}};
  } else if (count == 1) {
    axes = {{1, 1, shape[kept[0]]}, {-1, -1, kept[0]}};
  }
  return axes;
}

int64_t count_voxels(int dims, const int64_t* shape) {
  int64_t voxels = 1;
  if (std::any_of(shape, shape + dims, [](int64_t size) { return size == 0; })) return 0;
  for (int axis = 0; axis < dims; ++axis) {
    if (shape[axis] < 0 || shape[axis] > INT32_MAX) return -1;
    voxels *= shape[axis];
    if (voxels > INT32_MAX) return -1;
  }
  return voxels;
}

Plan::Plan(int function, int64_t batch, int dims, const int64_t* shape, bool item_spacing, int wanted,
           Arena& arena)
    : axes(bring_to_three(dims, shape)), batch(batch) {
  const Grid& grid = axes.grid;
  const int64_t voxels = grid.voxels();
  threads = (int)std::clamp<int64_t>(batch * voxels / kVoxelsAThread, 1, std::clamp(wanted, 1, kMaxThreads));
  const bool weighing = function == SURFLOSS_HAUSDORFF, indices = function == SURFLOSS_NEAREST;
  const bool alone = function == SURFLOSS_DISTANCE, doubles = indices || alone;
  round = weighing ? std::clamp<int64_t>(kVoxelsARound / voxels, 1, batch) : batch;
  slices_a_task = std::max<int64_t>(1, kVoxelsATask / 2 / grid.slice());
  const int64_t tile = tile_columns(grid.z);
  columns_a_task = std::max<int64_t>(1, kVoxelsATask / grid.z / tile) * tile;
  tasks_an_item = ceil_div(grid.slice(), columns_a_task);

  const int64_t sets = item_spacing ? batch : 1;
  tables = arena.take<Tables>(sets);
  double_values = doubles ? arena.take<double>(sets * (2 * (grid.z + grid.y) + 2)) : nullptr;
  table_values = arena.take<float>(sets * values_a_table(grid));
  table_shorts = arena.take<int32_t>(sets * shorts_a_table(grid));
  for (auto& part : states) part = arena.take<uint8_t>(round * grid.z);
  const int64_t rows = std::max(grid.z, grid.y);
  const int64_t tiles = std::max(grid.z * tile, grid.y * tile_columns(grid.y));
  for (int thread = 0; thread < threads; ++thread) {
    Workspace& workspace = workspaces[thread];
    workspace.column = arena.take<float>(doubles ? 2 * tiles : tiles);
    for (auto& result : workspace.result) result = arena.take<float>((doubles ? 2 : 1) * rows * kMaxBlock);
    for (auto& index : workspace.index) index = indices ? arena.take<int32_t>(tiles) : nullptr;
    workspace.nearest = arena.take<int32_t>((rows / kMinGroup + 2) * kMaxBlock);
    workspace.patience = arena.take<Patience>(1);
    if (workspace.patience) *workspace.patience = {};
    workspace.shorts = arena.take<uint16_t>((rows + 2 * kNearSteps) * 2 * kMaxBlock);
    workspace.slice = alone ? arena.take<float>(grid.slice()) : nullptr;
    workspace.rows = arena.take<uint8_t>(grid.y);
    workspace.words = arena.take<uint64_t>(grid.x / 64 + 3);
  }
  target_field = weighing ? arena.take<float>(round * voxels) : nullptr;
  sums = weighing ? arena.take<Sums>(round * tasks_an_item) : nullptr;
}

namespace {

// Chooses the unit of the item: the smallest step, if it divides the others and the squared diagonal is exact
// in float32. Otherwise tries the same for the plane.
void choose_unit(Tables& tables, const Grid& grid) {
  const int64_t size[3] = {grid.z, grid.y, grid.x};
  const auto whole = [&](int first) {
    tables.unit = INFINITY;
    for (int axis = first; axis < 3; ++axis) {
      if (size[axis] > 1) tables.unit = std::min(tables.unit, tables.step[axis]);
    }
    if (tables.unit == INFINITY) tables.unit = 1;  // a single voxel
    double diagonal_sq = 0;
    for (int axis = first; axis < 3; ++axis) {
      if (size[axis] == 1) continue;
      const double multiple = std::round(tables.step[axis] / tables.unit);
      if (multiple * tables.unit != tables.step[axis]) return false;
      diagonal_sq += multiple * multiple * (double)(size[axis] - 1) * (double)(size[axis] - 1);
    }
    return diagonal_sq <= 1 << 24;
  };
  tables.whole = whole(0);
  tables.whole_plane = tables.whole || whole(1);
}

}  // namespace

bool fill_tables(Plan& plan, int function, int dims, const int64_t* shape, const double* spacing,
                 bool item_spacing, int32_t most) {
  const Grid& grid = plan.axes.grid;
  const bool doubles = function == SURFLOSS_NEAREST || function == SURFLOSS_DISTANCE;
  double* double_values = plan.double_values;
  const int64_t size[3] = {grid.z, grid.y, grid.x};
  float* values = plan.table_values;
  int32_t* shorts = plan.table_shorts;
  for (int64_t set = 0; set < (item_spacing ? plan.batch : 1); ++set, spacing += dims) {
    Tables& tables = plan.tables[set];
    tables.diagonal_sq = 0;
    for (int axis = 0; axis < dims; ++axis) {
      const double along = shape[axis] * spacing[axis];
      tables.diagonal_sq += along * along;
      if (shape[axis] > 1 && !(spacing[axis] * spacing[axis] >= (double)FLT_MIN)) return false;
    }
    if (!(tables.diagonal_sq <= (double)FLT_MAX)) return false;
    tables.before_sq = shape[0] == 1 ? spacing[0] * spacing[0] : 0;
    tables.thin_sq = INFINITY;
    for (int axis = 0; axis < dims; ++axis) {
      if (shape[axis] == 1) tables.thin_sq = std::min(tables.thin_sq, (float)(spacing[axis] * spacing[axis]));
    }

    for (int axis = 0; axis < 3; ++axis) {
      const int from = plan.axes.from[axis];
      tables.step[axis] = from < 0 ? 1 : spacing[from];
      tables.step_sq[axis] = tables.step[axis] * tables.step[axis];
    }
    const auto squared = [](double step, int64_t steps) {
      return (double)steps * (double)steps * (step * step);
    };
    choose_unit(tables, grid);
    const bool whole[3] = {tables.whole, tables.whole_plane, tables.whole_plane};
    double table_step[3];
    for (int axis = 0; axis < 3; ++axis) {
      const double step = tables.step[axis];
      table_step[axis] = whole[axis] || doubles ? std::round(step / tables.unit) : step;
    }
    const float unit_sq = tables.whole_plane ? (float)(tables.unit * tables.unit) : 1.0f;
    tables.before_z = tables.whole ? 1.0f : unit_sq;
    tables.after_z = tables.whole ? unit_sq : 1.0f;
    if (doubles) {
      tables.multiple_y = (float)table_step[1];
      tables.multiple_x = (float)table_step[2];
      const double** centred[2] = {&tables.z_sq, &tables.y_sq};
      for (int axis = 0; axis < 2; ++axis) {
        double* centre = double_values + size[axis];
        for (int64_t d = 0; d <= size[axis]; ++d) {
          const double along = (double)d * tables.step[axis];
          centre[d] = centre[-d] = along * along;
        }
        *centred[axis] = centre;
        double_values += 2 * size[axis] + 1;
      }
    }
    const float** centred[2] = {&tables.z, &tables.y};
    for (int axis = 0; axis < 2; ++axis) {
      float* centre = values + size[axis];
      for (int64_t d = 0; d <= size[axis]; ++d) centre[d] = centre[-d] = (float)squared(table_step[axis], d);
      *centred[axis] = centre;
      values += 2 * size[axis] + 1;
    }
    const int32_t** short_centred[2] = {&tables.short_z, &tables.short_y};
    for (int axis = 0; axis < 2; ++axis) {
      int32_t* centre = shorts + size[axis];
      for (int64_t d = 0; d <= size[axis]; ++d) {
        const uint32_t entry = (uint32_t)std::min<double>(most, squared(table_step[axis], d));
        centre[d] = centre[-d] = (int32_t)(entry << 16 | entry);
      }
      // Row numbers must fit in shorts as well.
      *short_centred[axis] = whole[axis] && size[axis] <= INT16_MAX ? centre : nullptr;
      shorts += 2 * size[axis] + 1;
    }
    // The tables are longer than a row, since a vector may extend beyond the end of a run.
    const auto along_x = [&](int64_t steps) {
      return doubles ? (float)steps : (float)squared(table_step[2], steps);
    };
    float* up = values;
    for (int64_t d = 0; d < grid.x + kMaxBlock; ++d) up[d] = along_x(d);
    float* down = up + grid.x + kMaxBlock;
    for (int64_t d = 0; d < grid.x + kMaxBlock; ++d) down[d] = along_x(grid.x - d);
    tables.up = up;
    tables.down = down;
    values = down + grid.x + kMaxBlock;
    values += (64 - (values - plan.table_values) % 64) % 16;
  }
  return true;
}

}  // namespace surfloss
