// The C interface of contours and soft surfaces: divides strips among threads.

#include "isa.h"
#include "memory.h"
#include "parallel.h"
#include "plan.h"

namespace surfloss {
namespace {

constexpr int64_t kMemory = 1 << 19;  // bytes per strip, so that it stays in the L2 cache
constexpr int64_t kLeastRows = 4, kMostRows = 32;
constexpr int64_t kPlanes = 64;             // per strip, so that a long item has several strips
constexpr int64_t kWorthAThread = 1 << 14;  // voxels per thread, at least

int64_t stride_of(int64_t size) { return ceil_div(size + 2, 16) * 16; }

// Rows of memory for a strip of `rows`, enough for the contour and for its gradient.
int64_t memory_rows(int64_t rows) { return 18 * rows + 41; }

int64_t rows_of_strip(int64_t bytes_a_row) {
  const int64_t rows = (kMemory / bytes_a_row - 41) / 18;
  return rows < kLeastRows ? kLeastRows : rows > kMostRows ? kMostRows : rows;
}

int32_t in_strips(ContourJob job, ContourPass (Kernels::*passes)[2], bool is_double, int64_t batch,
                  int32_t threads, int32_t isa, void* scratch) {
  const Kernels* kernels = find_kernels(isa);
  if (!kernels || batch < 0) return SURFLOSS_UNSUPPORTED;
  const ContourPass pass = (kernels->*passes)[is_double];
  const int64_t depth = job.grid.z, height = job.grid.y, voxels = batch * job.grid.voxels();
  if (voxels == 0) return SURFLOSS_OK;
  job.stride = stride_of(job.grid.x);
  const int64_t size = is_double ? 8 : 4, bytes_a_row = job.stride * size;
  const int64_t rows = rows_of_strip(bytes_a_row), bytes = memory_rows(rows) * bytes_a_row;
  const int64_t down = ceil_div(height, rows), along = ceil_div(depth, kPlanes);
  const int64_t worth = ceil_div(voxels, kWorthAThread);
  int64_t count = threads < kMaxThreads ? threads : kMaxThreads;
  if (count > worth) count = worth;
  prefer_huge_pages(job.result, voxels * size);
  const auto tasks = [&](int64_t) { return batch * along * down; };
  run_phases((int)count, 1, tasks, [&](int64_t, int64_t task, int thread) {
    const int64_t y = task % down * rows, z = task / down % along * kPlanes;
    const int64_t last_z = z + kPlanes < depth ? z + kPlanes : depth;
    const Strip strip = {task / down / along, z, last_z, y, y + rows < height ? y + rows : height};
    pass(job, strip, (char*)scratch + thread * bytes);
  });
  return SURFLOSS_OK;
}

Grid grid_of(const int64_t* shape) { return {shape[0], shape[1], shape[2]}; }

}  // namespace
}  // namespace surfloss

using namespace surfloss;

extern "C" {

int64_t surfloss_contour_scratch_bytes(int32_t is_double, int64_t size, int32_t threads) {
  const int64_t bytes_a_row = stride_of(size) * (is_double ? 8 : 4);
  const int64_t count = threads < kMaxThreads ? threads : kMaxThreads;
  return memory_rows(rows_of_strip(bytes_a_row)) * bytes_a_row * count;
}

int32_t surfloss_contour(const void* x, const uint8_t* ignore, void* contour, int8_t* highest, int8_t* lowest,
                         int32_t is_double, int32_t volume, int64_t batch, const int64_t* shape,
                         int32_t threads, int32_t isa, void* scratch) {
  const ContourJob job = {grid_of(shape), volume != 0, 0, x, ignore, contour, highest, lowest};
  return in_strips(job, &Kernels::contour, is_double, batch, threads, isa, scratch);
}

int32_t surfloss_contour_gradient(const void* gradient, const int8_t* highest, const int8_t* lowest,
                                  void* input_gradient, int32_t is_double, int32_t volume, int64_t batch,
                                  const int64_t* shape, int32_t threads, int32_t isa, void* scratch) {
  const ContourJob job = {grid_of(shape),   volume != 0,    0, gradient, nullptr, input_gradient,
                          (int8_t*)highest, (int8_t*)lowest};
  return in_strips(job, &Kernels::contour_gradient, is_double, batch, threads, isa, scratch);
}

int32_t surfloss_surface(const void* x, const uint8_t* ignore, void* surface, int8_t* lowest,
                         int32_t is_double, int64_t batch, const int64_t* shape, int32_t threads, int32_t isa,
                         void* scratch) {
  const ContourJob job = {grid_of(shape), true, 0, x, ignore, surface, nullptr, lowest};
  return in_strips(job, &Kernels::surface, is_double, batch, threads, isa, scratch);
}

int32_t surfloss_surface_gradient(const void* gradient, const int8_t* lowest, void* input_gradient,
                                  int32_t is_double, int64_t batch, const int64_t* shape, int32_t threads,
                                  int32_t isa, void* scratch) {
  const ContourJob job = {grid_of(shape), true,           0,       gradient,
                          nullptr,        input_gradient, nullptr, (int8_t*)lowest};
  return in_strips(job, &Kernels::surface_gradient, is_double, batch, threads, isa, scratch);
}

}  // extern "C"
