// Converts the arguments of a call to a job: three axes, tables, division of scratch memory and of work.
#pragma once

#include <stdint.h>

#include "job.h"
#include "parallel.h"
#include "surfloss_cpu.h"

namespace surfloss {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The axes of an item as the passes see them, and the caller's axis for each (-1 for none).
struct Axes {
  Grid grid;
  int from[3];
};
Axes bring_to_three(int dims, const int64_t* shape);

// Number of voxels of an item, or -1 if above 2^31 - 1.
int64_t count_voxels(int dims, const int64_t* shape);

// Hands out aligned pieces of a block of memory. With a null block it only measures.
class Arena {
 public:
  explicit Arena(void* base) : base_((char*)base) {}
  template <class T>
  T* take(int64_t count) {
    T* piece = base_ ? (T*)(base_ + used_) : nullptr;
    used_ += (count * (int64_t)sizeof(T) + 63) / 64 * 64;
    return piece;
  }
  int64_t used() const { return used_; }

 private:
  char* base_;
  int64_t used_ = 0;
};

struct Plan {
  Axes axes;
  int64_t batch;
  int threads;
  int64_t round;           // items per round
  int64_t slices_a_task;   // first phase
  int64_t columns_a_task;  // second phase
  int64_t tasks_an_item;   // second phase

  // In scratch memory:
  Tables* tables;
  double* double_values;
  float* table_values;
  int32_t* table_shorts;
  uint8_t* states[2];
  Workspace workspaces[kMaxThreads];
  float* target_field;
  Sums* sums;

  Plan(int function, int64_t batch, int dims, const int64_t* shape, bool item_spacing, int threads,
       Arena& arena);
};

// Fills the tables; entries of shorts are capped at `most`. Returns false if a squared distance leaves the
// range of float32.
bool fill_tables(Plan& plan, int function, int dims, const int64_t* shape, const double* spacing,
                 bool item_spacing, int32_t most);

}  // namespace surfloss
