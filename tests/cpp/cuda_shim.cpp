// The kernels of csrc/cuda as a library for the CPU. tests/support/cuda_shim.py builds and calls it.
#include "cuda_shim.h"

#include "edt.cu"
#include "hausdorff.cu"

Place threadIdx, blockIdx, blockDim;
alignas(16) int shared[256 * 1024 / sizeof(int)];

namespace shim {

Machine machine;

static void resume(int fiber) {
  machine.current = fiber;
  threadIdx = machine.fibers[fiber].place;
  _longjmp(machine.fibers[fiber].context, 1);
}

// The next thread that has not finished, or -1.
static int next_running() {
  int next = machine.current;
  for (int tried = 0; tried < machine.threads; ++tried) {
    next = (next + (machine.backwards ? machine.threads - 1 : 1)) % machine.threads;
    if (!machine.fibers[next].finished) return next;
  }
  return -1;
}

void yield() {
  if (_setjmp(machine.fibers[machine.current].context) == 0) resume(next_running());
}

// The main loop of a fiber, which is reused from block to block and from launch to launch.
static void live() {
  if (_setjmp(machine.fibers[machine.current].context) == 0) _longjmp(machine.outside, 1);
  for (;;) {
    machine.call(machine.arguments);
    machine.fibers[machine.current].finished = true;
    const int next = next_running();
    if (_setjmp(machine.fibers[machine.current].context) == 0) {
      if (next < 0) _longjmp(machine.outside, 1);
      resume(next);
    }
  }
}

static void make_fibers(int threads) {
  if (machine.fibers.empty()) machine.fibers.reserve(kMostThreads);
  while (static_cast<int>(machine.fibers.size()) < threads) {
    machine.fibers.emplace_back();
    machine.current = static_cast<int>(machine.fibers.size()) - 1;
    static ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = machine.fibers.back().stack.get();
    context.uc_stack.ss_size = kStack;
    makecontext(&context, live, 0);
    if (_setjmp(machine.outside) == 0) setcontext(&context);
  }
}

static void run_block() {
  machine.block.size = machine.threads;
  machine.block.arrived = 0;
  for (int i = 0; i < machine.threads; ++i) {
    machine.fibers[i].place = {i % blockDim.x, i / blockDim.x};
    machine.fibers[i].finished = false;
    machine.fibers[i].counted = 0;
    machine.warps[i / kLanes].size = kLanes;
    machine.warps[i / kLanes].arrived = 0;
    machine.slots[i / kLanes].clear();
  }
  if (_setjmp(machine.outside) == 0) resume(machine.backwards ? machine.threads - 1 : 0);
  for (int warp = 0; warp < machine.threads / kLanes; ++warp) {
    for (long slots : machine.slots[warp]) machine.warp_slots += static_cast<double>(slots) * kLanes;
  }
}

}  // namespace shim

#define KERNEL(name)                                                                   \
  if (std::strcmp(kernel, #name) == 0) {                                               \
    shim::machine.call = [](void** arguments) { shim::call_kernel(name, arguments); }; \
  }

namespace shim {
template <typename... Arguments>
void call_kernel(void (*kernel)(Arguments...), void** arguments) {
  call(kernel, arguments, std::index_sequence_for<Arguments...>{});
}
}  // namespace shim

extern "C" int shim_launch(const char* kernel, long blocks, int width, int height, int shared_bytes,
                           void** arguments) {
  using shim::machine;
  machine.call = nullptr;
  KERNEL(rows_int)
  KERNEL(rows_float)
  KERNEL(columns_int)
  KERNEL(columns_float)
  KERNEL(nearest_float)
  KERNEL(long_columns_float)
  KERNEL(long_nearest_float)
  KERNEL(follow)
  KERNEL(hausdorff_float)
  KERNEL(hausdorff_double)
  KERNEL(mean_float)
  KERNEL(mean_double)
  const int threads = width * height;
  if (!machine.call || threads > shim::kMostThreads || threads % shim::kLanes ||
      shared_bytes > int(sizeof shared)) {
    return 1;
  }
  shim::make_fibers(threads);
  machine.threads = threads;
  machine.backwards = !machine.backwards;
  machine.arguments = arguments;
  blockDim = {static_cast<unsigned>(width), static_cast<unsigned>(height)};
  for (long block = 0; block < blocks; ++block) {
    blockIdx = {static_cast<unsigned>(block), 0};
    // Poison shared memory, so that a kernel fails if it reads what it did not write.
    std::memset(shared, 0xff, static_cast<size_t>(shared_bytes));
    shim::run_block();
  }
  return 0;
}

// The number of candidates read since the last call, and that number if every lane read as many as the
// busiest lane of its warp.
extern "C" void shim_candidates(double* counts) {
  counts[0] = shim::machine.candidates;
  counts[1] = shim::machine.warp_slots;
  shim::machine.candidates = shim::machine.warp_slots = 0;
}
