// The Hausdorff error and its gradient from the squared distances of both masks, summed in a fixed order.
#include "common.cuh"

constexpr int kThreads = 256;

// The sum over a block, returned in thread 0. The order does not depend on the device.
__device__ double block_sum(double value) {
  double* sums = reinterpret_cast<double*>(shared);
  for (int offset = kWarp / 2; offset > 0; offset /= 2) value += __shfl_down_sync(kAllLanes, value, offset);
  if (threadIdx.x % kWarp == 0) sums[threadIdx.x / kWarp] = value;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < kThreads / kWarp; ++warp) value += sums[warp];
  }
  return value;
}

__device__ inline float sigmoid_of(float x) { return 1 / (1 + expf(-x)); }
__device__ inline double sigmoid_of(double x) { return 1 / (1 + exp(-x)); }

enum Empty { kZero, kDiagonal, kScipy };

// The squared distance in an item with a single label. Sizes and steps are (z, y, x), padded in front for
// fewer axes.
struct Filler {
  int empty;                   // of enum Empty
  int sizes[3];                // voxels
  double steps[3];             // mm
  const double* item_spacing;  // (items, dims), mm; or null
  int dims;                    // spatial axes

  __device__ float squared(Offset item, Offset voxel) const {
    if (empty == kZero) return 0;
    const Offset row = voxel / sizes[2];
    const Offset position[3] = {row / sizes[1], row % sizes[1], voxel % sizes[2]};
    double sum = 0;
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      if (axis < 3 - dims) continue;
      const double weight = squared_step(steps[axis], item_spacing, item, dims, axis - (3 - dims));
      // As SciPy: the distance to a voxel before the first one.
      const Offset from = empty == kDiagonal ? sizes[axis] : position[axis] + (axis == 3 - dims);
      sum += static_cast<double>(from) * static_cast<double>(from) * weight;
    }
    return static_cast<float>(sum);
  }
};

template <typename Real>
struct Hausdorff {
  const Real* input;   // (items, z, y, x)
  const void* target;  // (items, z, y, x), bytes or Real
  bool byte_target;
  const float *input_squared, *target_squared;  // (items, z, y, x), mm^2; inf if there is none
  const unsigned char* ignore;                  // (items, z, y, x); or null
  bool sigmoid;                                 // whether the input is logits
  float alpha;                                  // exponent of the distances
  float max_squared;                            // mm^2: cap of the squared distance
  Filler filler;
  Offset voxels;    // per item
  int blocks;       // per item
  Real* gradient;   // (items, z, y, x); may be input_squared's memory: a voxel is read before it is written
  double* partial;  // (items, blocks): sums of the weighted errors
  double* plain;    // (items, blocks): sums with weight 1, or 0 where ignored; or null

  __device__ float weight_of(float squared, Offset item, Offset voxel) const {
    if (squared == infinity<float>()) squared = filler.squared(item, voxel);
    squared = fminf(squared, max_squared);
    if (alpha == 2) return squared;
    return alpha == 1 ? sqrtf(squared) : powf(squared, alpha / 2);
  }

  __device__ void solve() const {
    const Offset item = blockIdx.x / blocks;
    double sum = 0, plain_sum = 0;
    for (Offset voxel = blockIdx.x % blocks * kThreads + threadIdx.x; voxel < voxels;
         voxel += static_cast<Offset>(blocks) * kThreads) {
      const Offset at = item * voxels + voxel;
      float weight = weight_of(input_squared[at], item, voxel) + weight_of(target_squared[at], item, voxel);
      if (ignore && ignore[at]) weight = 0;
      const Real prediction = sigmoid ? sigmoid_of(input[at]) : input[at];
      const Real wanted = byte_target ? static_cast<Real>(static_cast<const unsigned char*>(target)[at] != 0)
                                      : static_cast<const Real*>(target)[at];
      const Real difference = prediction - wanted;
      Real slope =
          difference * static_cast<Real>(weight) * static_cast<Real>(2.0 / static_cast<double>(voxels));
      if (sigmoid) slope *= prediction * (1 - prediction);
      gradient[at] = slope;
      sum += difference * difference * static_cast<Real>(weight);
      if (plain && !(ignore && ignore[at])) plain_sum += difference * difference;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
    if (plain) {
      __syncthreads();  // until thread 0 has read the memory of the first sum
      plain_sum = block_sum(plain_sum);
      if (threadIdx.x == 0) plain[blockIdx.x] = plain_sum;
    }
  }
};

#define SURFLOSS_HAUSDORFF(name, Real)                                                                     \
  extern "C" __global__ void __launch_bounds__(kThreads)                                                   \
      name(const Real* input, const void* target, int byte_target, const float* input_squared,             \
           const float* target_squared, const unsigned char* ignore, int sigmoid, float alpha,             \
           float max_squared, int empty, int nz, int ny, int nx, double step_z, double step_y,             \
           double step_x, const double* item_spacing, int dims, Offset voxels, int blocks, Real* gradient, \
           double* partial, double* plain) {                                                               \
    const Hausdorff<Real> error{input,                                                                     \
                                target,                                                                    \
                                byte_target != 0,                                                          \
                                input_squared,                                                             \
                                target_squared,                                                            \
                                ignore,                                                                    \
                                sigmoid != 0,                                                              \
                                alpha,                                                                     \
                                max_squared,                                                               \
                                {empty, {nz, ny, nx}, {step_z, step_y, step_x}, item_spacing, dims},       \
                                voxels,                                                                    \
                                blocks,                                                                    \
                                gradient,                                                                  \
                                partial,                                                                   \
                                plain};                                                                    \
    error.solve();                                                                                         \
  }

SURFLOSS_HAUSDORFF(hausdorff_float, float)
SURFLOSS_HAUSDORFF(hausdorff_double, double)

// One block per item: the mean (items) from the partial sums (items, blocks).
template <typename Real>
__device__ void mean(const double* partial, int blocks, Offset voxels, Real* error) {
  double sum = 0;
  for (int i = threadIdx.x; i < blocks; i += kThreads) {
    sum += partial[static_cast<Offset>(blockIdx.x) * blocks + i];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) error[blockIdx.x] = static_cast<Real>(sum / static_cast<double>(voxels));
}

extern "C" __global__ void __launch_bounds__(kThreads)
    mean_float(const double* partial, int blocks, Offset voxels, float* error) {
  mean(partial, blocks, voxels, error);
}
extern "C" __global__ void __launch_bounds__(kThreads)
    mean_double(const double* partial, int blocks, Offset voxels, double* error) {
  mean(partial, blocks, voxels, error);
}
