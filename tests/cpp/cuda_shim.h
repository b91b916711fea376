// Enough of CUDA C++ to run the kernels of csrc/cuda on a CPU, one block at a time, for tests.
//
// Every thread of a block is a fiber with its own stack. It runs until it must wait: at a barrier of the
// block, or in an exchange within its warp, which all 32 lanes must reach. Then the next thread runs.
// Launches alternate between two orders of the threads. A missing barrier therefore shows as a wrong result,
// and a barrier that not all threads reach shows as a hang.
#pragma once

#include <ucontext.h>

#include <cmath>
#include <csetjmp>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define SURFLOSS_CANDIDATES(count) shim::count_candidates(count)

struct Place {
  unsigned x, y;
};
extern Place threadIdx, blockIdx, blockDim;

namespace shim {

constexpr int kLanes = 32, kMostThreads = 1024;
constexpr size_t kStack = 128 * 1024;

// Threads that wait for each other: a block or a warp.
struct Group {
  int size = 0, arrived = 0;
  long phase = 0;
  // Values of this exchange and of the one before, which slower threads may still read.
  unsigned long long values[2][kMostThreads];
};

struct Fiber {
  jmp_buf context;
  std::unique_ptr<char[]> stack{new char[kStack]};
  Place place{};
  bool finished = false;
  size_t counted = 0;  // number of calls of count_candidates
};

struct Machine {
  std::vector<Fiber> fibers;
  Group block, warps[kMostThreads / kLanes];
  std::vector<long> slots[kMostThreads / kLanes];  // per call: largest count of a warp's lanes
  int threads = 0, current = -1;
  bool backwards = false;  // order of the threads; changes with every launch
  jmp_buf outside;
  void (*call)(void**) = nullptr;
  void** arguments = nullptr;
  double candidates = 0, warp_slots = 0;
};
extern Machine machine;

void yield();

inline Group& own_warp() { return machine.warps[machine.current / kLanes]; }

// Waits for the group, then returns the values of all its threads.
inline const unsigned long long* exchange(Group& group, int rank, unsigned long long value) {
  const long phase = group.phase;
  group.values[phase & 1][rank] = value;
  if (++group.arrived == group.size) {
    group.arrived = 0;
    ++group.phase;
  } else {
    while (group.phase == phase) yield();
  }
  return group.values[phase & 1];
}

template <typename T>
T shuffled(T value, int from_lane) {
  unsigned long long bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  const unsigned long long* all = exchange(own_warp(), machine.current % kLanes, bits);
  std::memcpy(&value, &all[from_lane], sizeof value);
  return value;
}

inline void count_candidates(long count) {
  Fiber& fiber = machine.fibers[machine.current];
  std::vector<long>& slots = machine.slots[machine.current / kLanes];
  if (slots.size() <= fiber.counted) slots.push_back(0);
  if (count > slots[fiber.counted]) slots[fiber.counted] = count;
  ++fiber.counted;
  machine.candidates += count;
}

template <typename... Arguments, size_t... place>
void call(void (*kernel)(Arguments...), void** arguments, std::index_sequence<place...>) {
  kernel(*static_cast<Arguments*>(arguments[place])...);
}

}  // namespace shim

inline void __syncthreads() { shim::exchange(shim::machine.block, shim::machine.current, 0); }

inline int __syncthreads_or(int value) {
  const unsigned long long* all = shim::exchange(shim::machine.block, shim::machine.current, value != 0);
  int any = 0;
  for (int i = 0; i < shim::machine.threads; ++i) any |= all[i] != 0;
  return any;
}

inline void __syncwarp() { shim::exchange(shim::own_warp(), shim::machine.current % shim::kLanes, 0); }

inline unsigned __ballot_sync(unsigned, int value) {
  const unsigned long long* all =
      shim::exchange(shim::own_warp(), shim::machine.current % shim::kLanes, value != 0);
  unsigned bits = 0;
  for (int lane = 0; lane < shim::kLanes; ++lane) bits |= static_cast<unsigned>(all[lane]) << lane;
  return bits;
}

template <typename T>
T __shfl_sync(unsigned, T value, int lane) {
  return shim::shuffled(value, lane);
}
template <typename T>
T __shfl_up_sync(unsigned, T value, int by) {
  const int lane = shim::machine.current % shim::kLanes;
  return shim::shuffled(value, lane < by ? lane : lane - by);
}
template <typename T>
T __shfl_down_sync(unsigned, T value, int by) {
  const int lane = shim::machine.current % shim::kLanes;
  return shim::shuffled(value, lane + by < shim::kLanes ? lane + by : lane);
}

inline int __clz(unsigned bits) { return bits ? __builtin_clz(bits) : 32; }
inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const unsigned long long bytes = static_cast<unsigned long long>(high) << 32 | low;
  unsigned found = 0;
  for (int i = 0; i < 4; ++i) {
    found |= static_cast<unsigned>(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  }
  return found;
}
inline unsigned __viaddmin_u16x2(unsigned a, unsigned b, unsigned least) {
  unsigned found = 0;
  for (int half = 0; half < 32; half += 16) {
    const unsigned sum = ((a >> half) + (b >> half)) & 0xffff, other = least >> half & 0xffff;
    found |= (sum < other ? sum : other) << half;
  }
  return found;
}
inline float __int_as_float(int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
