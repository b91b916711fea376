// Threads of one call.
//
// They are started and joined by the call itself. That costs some 20 microseconds a thread and leaves nothing
// behind: no pool that a fork would copy without its threads, none that fights with PyTorch's for the cores,
// and nothing to shut down. Calls too small to be worth it run on the caller's thread.
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

  // For a thread that could not be started.
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

// Calls work(phase, task, thread) for every task of every phase; a phase begins when the one before has
// ended. `tasks(phase)` is how many a phase has.
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
      // Everyone is past the counter of this phase, and none can reach its next use before the next barrier.
      if (thread == 0) next[phase % 2].store(0, std::memory_order_relaxed);
    }
  };
  std::thread others[kMaxThreads];
  for (int thread = 1; thread < threads; ++thread) {
    try {
      others[thread] = std::thread(loop, thread);
    } catch (const std::exception&) {  // no thread, or no memory for one
      barrier.leave();                 // the others do its share
    }
  }
  loop(0);
  for (int thread = 1; thread < threads; ++thread) {
    if (others[thread].joinable()) others[thread].join();
  }
}

}  // namespace surfloss
