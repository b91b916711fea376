// Threads of one call.
//
// Every call starts and joins its own threads, which costs about 20 microseconds per thread. In return there
// is no thread pool: none that a fork would break, none that competes with PyTorch's for the cores, and none
// to shut down. Small calls run on the caller's thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>

namespace surfloss {

constexpr int kMaxThreads = 64;

class Barrier {
 public:
  explicit Barrier(int count) : count_(count) {}

  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    const int64_t round = round_;
    if (++waiting_ == count_) {
      waiting_ = 0;
      ++round_;
      all_here_.notify_all();
    } else {
      all_here_.wait(lock, [&] { return round_ != round; });
    }
  }

  // Removes a thread that could not be started.
  void leave() {
    std::lock_guard<std::mutex> lock(mutex_);
    --count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_here_;
  int count_, waiting_ = 0;
  int64_t round_ = 0;
};

// Calls work(phase, task, thread) for every task of every phase. A phase begins after the one before has
// ended. `tasks(phase)` is the number of its tasks.
template <class Tasks, class Work>
void run_phases(int threads, int64_t phases, const Tasks& tasks, const Work& work) {
  std::atomic<int64_t> next[2] = {{0}, {0}};
  Barrier barrier(threads);
  const auto loop = [&](int thread) {
    for (int64_t phase = 0; phase < phases; ++phase) {
      const int64_t count = tasks(phase);
      for (int64_t task; (task = next[phase % 2].fetch_add(1, std::memory_order_relaxed)) < count;) {
        work(phase, task, thread);
      }
      barrier.wait();
      // All threads have finished with this counter, and its next use is after the next barrier.
      if (thread == 0) next[phase % 2].store(0, std::memory_order_relaxed);
    }
  };
  std::thread others[kMaxThreads];
  for (int thread = 1; thread < threads; ++thread) {
    try {
      others[thread] = std::thread(loop, thread);
    } catch (const std::exception&) {  // no thread available, or no memory for it
      barrier.leave();                 // the other threads take its share
    }
  }
  loop(0);
  for (int thread = 1; thread < threads; ++thread) {
    if (others[thread].joinable()) others[thread].join();
  }
}

}  // namespace surfloss
