// The C interface: checks what could crash, then shares the passes out among threads.

#include <new>

#include "isa.h"
#include "memory.h"
#include "plan.h"

namespace surfloss {
namespace {

template <class Work>
int32_t guarded(const Work& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return SURFLOSS_NO_MEMORY;
  } catch (...) {
    return SURFLOSS_UNSUPPORTED;
  }
}

// What all three functions do first. `run(plan, job, kernels)` then does the work.
template <class Run>
int32_t with_plan(int function, int64_t batch, int32_t dims, const int64_t* shape, const double* spacing,
                  bool item_spacing, bool two_sided, int32_t threads, int32_t isa, void* scratch,
                  const Run& run) {
  return guarded([&]() -> int32_t {
    const Kernels* kernels = find_kernels(isa);
    if (!kernels || dims < 1 || dims > 3 || batch < 0) return SURFLOSS_UNSUPPORTED;
    const int64_t voxels = count_voxels(dims, shape);
    if (voxels < 0) return SURFLOSS_TOO_LARGE;
    if (voxels == 0 || batch == 0) return SURFLOSS_OK;
    Arena arena(scratch);
    Plan plan(function, batch, dims, shape, item_spacing, threads, arena);
    if (!fill_tables(plan, dims, shape, spacing, item_spacing)) return SURFLOSS_SPACING;
    run(plan, Job{plan.axes.grid, two_sided, plan.tables, item_spacing}, *kernels);
    return SURFLOSS_OK;
  });
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The columns of one task of the second phase, and their item.
struct Part {
  int64_t item, first, last;
  Part(const Plan& plan, int64_t task) : item(task / plan.tasks_an_item) {
    first = task % plan.tasks_an_item * plan.columns_a_task;
    const int64_t end = first + plan.columns_a_task, plane = plan.axes.grid.slice();
    last = end < plane ? end : plane;
  }
};

// Runs work(kernel arguments) over the slices of `items` items, in tasks.
struct Slices {
  int64_t total, a_task;
  int64_t tasks() const { return ceil_div(total, a_task); }
  int64_t first(int64_t task) const { return task * a_task; }
  int64_t last(int64_t task) const { return (task + 1) * a_task < total ? (task + 1) * a_task : total; }
};

template <class Value>
using SlicesKernel = void (*)(const Job&, const Workspace&, const Value*, float*, uint8_t*, int64_t, int64_t);
using WeighKernel = double (*)(const Job&, const Workspace&, int64_t, const Weighing&, int64_t, int64_t);

// Items [first, first + items): `weighing` and `job` begin at the first of them. Sums are kept by task and
// added in order, so that the number of threads changes nothing.
template <class Value>
void weigh_round(const Plan& plan, const Job& job, int64_t items, const Weighing& weighing, double* error,
                 SlicesKernel<Value> slices, WeighKernel weigh) {
  const Slices parts = {items * job.grid.z, plan.slices_a_task};
  int scanned[2], fields = 0;  // the masks that need a transform
  for (int which = 0; which < 2; ++which) {
    if (!weighing.given[which]) scanned[fields++] = which;
  }
  const auto tasks = [&](int64_t phase) {
    return phase ? items * plan.tasks_an_item : fields * parts.tasks();
  };
  run_phases(plan.threads, 2, tasks, [&](int64_t phase, int64_t task, int thread) {
    const Workspace& workspace = plan.workspaces[thread];
    if (phase == 0) {
      const int which = scanned[task / parts.tasks()];
      const int64_t part = task % parts.tasks();
      slices(job, workspace, (const Value*)weighing.values[which], weighing.fields[which], plan.states[which],
             parts.first(part), parts.last(part));
    } else {
      const Part part(plan, task);
      plan.sums[task] = weigh(job, workspace, part.item, weighing, part.first, part.last);
    }
  });
  for (int64_t item = 0; item < items; ++item) {
    error[item] = 0;
    for (int64_t i = 0; i < plan.tasks_an_item; ++i) error[item] += plan.sums[item * plan.tasks_an_item + i];
  }
}

template <class Value>
void weigh_rounds(const Plan& plan, Job job, Weighing weighing, double* error, SlicesKernel<Value> slices,
                  WeighKernel weigh) {
  for (int64_t first = 0; first < plan.batch; first += plan.round) {
    const int64_t items = first + plan.round < plan.batch ? plan.round : plan.batch - first;
    weigh_round(plan, job, items, weighing, error + first, slices, weigh);
    const int64_t voxels = items * job.grid.voxels();
    if (job.item_tables) job.tables += items;
    weighing.fields[0] += voxels;
    if (weighing.ignore) weighing.ignore += voxels;
    for (int which = 0; which < 2; ++which) {
      weighing.values[which] = (const Value*)weighing.values[which] + voxels;
      if (weighing.given[which]) weighing.given[which] += voxels;
    }
  }
}

}  // namespace
}  // namespace surfloss

using namespace surfloss;

extern "C" {

int32_t surfloss_abi(void) { return SURFLOSS_ABI; }

int32_t surfloss_best_isa(void) { return best_isa(); }

int64_t surfloss_scratch_bytes(int32_t function, int64_t batch, int32_t dims, const int64_t* shape,
                               int32_t item_spacing, int32_t threads) {
  if (dims < 1 || dims > 3) return -1;
  const int64_t voxels = count_voxels(dims, shape);
  if (voxels <= 0 || batch <= 0) return voxels < 0 ? -1 : 0;
  Arena arena(nullptr);
  Plan plan(function, batch, dims, shape, item_spacing, threads, arena);
  return arena.used();
}

int32_t surfloss_squared_edt(const uint8_t* mask, float* squared, int64_t batch, int32_t dims,
                             const int64_t* shape, const double* spacing, int32_t item_spacing,
                             int32_t two_sided, int32_t threads, int32_t isa, void* scratch) {
  const auto run = [&](const Plan& plan, const Job& job, const Kernels& kernels) {
    prefer_huge_pages(squared, batch * job.grid.voxels() * sizeof(float));
    const Slices slices = {batch * job.grid.z, plan.slices_a_task};
    const auto tasks = [&](int64_t phase) { return phase ? batch * plan.tasks_an_item : slices.tasks(); };
    run_phases(plan.threads, 2, tasks, [&](int64_t phase, int64_t task, int thread) {
      const Workspace& workspace = plan.workspaces[thread];
      if (phase == 0) {
        kernels.mask_slices(job, workspace, mask, squared, plan.states[0], slices.first(task),
                            slices.last(task));
      } else {
        const Part part(plan, task);
        kernels.columns(job, workspace, part.item, squared, plan.states[0], part.first, part.last);
      }
    });
  };
  return with_plan(SURFLOSS_SQUARED_EDT, batch, dims, shape, spacing, item_spacing, two_sided, threads, isa,
                   scratch, run);
}

int32_t surfloss_nearest_background(const uint8_t* mask, int32_t* nearest, int64_t batch, int32_t dims,
                                    const int64_t* shape, const double* spacing, int32_t item_spacing,
                                    int32_t threads, int32_t isa, void* scratch) {
  const auto run = [&](const Plan& plan, const Job& job, const Kernels& kernels) {
    const int64_t voxels = job.grid.voxels(), depth = job.grid.z;
    prefer_huge_pages(nearest, batch * dims * voxels * sizeof(int32_t));
    const auto channel = [&](int64_t item, int axis) { return nearest + (item * dims + axis) * voxels; };
    const auto indices = [&](int64_t item) {
      const auto plane = [&](int from) { return from < 0 ? nullptr : channel(item, from); };
      Indices to = {plane(plan.axes.from[0]), plane(plan.axes.from[1]), plane(plan.axes.from[2])};
      if (!to.x) to.x = channel(item, dims - 1);  // a single voxel
      return to;
    };
    const auto tasks = [&](int64_t phase) { return batch * (phase ? plan.tasks_an_item : depth); };
    run_phases(plan.threads, 2, tasks, [&](int64_t phase, int64_t task, int thread) {
      const Workspace& workspace = plan.workspaces[thread];
      if (phase == 0) {
        const int64_t item = task / depth;
        kernels.nearest_slice(job, workspace, item, task % depth, mask, indices(item), plan.states[0]);
        return;
      }
      const Part part(plan, task);
      const Indices to = indices(part.item);
      kernels.nearest_columns(job, workspace, part.item, to, plan.states[0], part.first, part.last);
      // Along an axis of size 1 the nearest is at 0, or nowhere.
      for (int axis = 0; axis < dims; ++axis) {
        int32_t* plane = channel(part.item, axis);
        if (shape[axis] != 1 || plane == to.x) continue;
        for (int64_t z = 0; z < depth; ++z) {
          const int64_t start = z * job.grid.slice();
          for (int64_t i = start + part.first; i < start + part.last; ++i) plane[i] = to.x[i] < 0 ? -1 : 0;
        }
      }
    });
  };
  return with_plan(SURFLOSS_NEAREST, batch, dims, shape, spacing, item_spacing, false, threads, isa, scratch,
                   run);
}

int32_t surfloss_hausdorff(const void* input, const void* target, int32_t is_double,
                           const float* input_squared, const float* target_squared, const uint8_t* ignore,
                           float* weight, double* error, int64_t batch, int32_t dims, const int64_t* shape,
                           const double* spacing, int32_t item_spacing, double alpha, int32_t empty,
                           int32_t threads, int32_t isa, void* scratch) {
  const auto run = [&](const Plan& plan, const Job& job, const Kernels& kernels) {
    const int64_t voxels = job.grid.voxels();
    prefer_huge_pages(weight, batch * voxels * sizeof(float));
    prefer_huge_pages(plan.target_field, plan.round * voxels * sizeof(float));
    const Weighing weighing = {
        {input, target},
        {weight, plan.target_field},
        {plan.states[0], plan.states[1]},
        {input_squared, target_squared},
        ignore,
        alpha,
        empty,
        plan.axes.from[0] == 0,
        plan.axes.from[2] == 0,
    };
    if (is_double) {
      weigh_rounds(plan, job, weighing, error, kernels.double_slices, kernels.double_weigh);
    } else {
      weigh_rounds(plan, job, weighing, error, kernels.float_slices, kernels.float_weigh);
    }
  };
  return with_plan(SURFLOSS_HAUSDORFF, batch, dims, shape, spacing, item_spacing, true, threads, isa, scratch,
                   run);
}

}  // extern "C"
