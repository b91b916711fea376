// The C interface: guards against invalid arguments, then divides the passes among threads.

#include <cfloat>
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

// Shared start of every call: checks, plan and tables. `run(plan, job, kernels)` then completes the job and
// does the work.
template <class Run>
int32_t with_plan(int function, int64_t batch, int32_t dims, const int64_t* shape, const double* spacing,
                  bool item_spacing, int32_t threads, int32_t isa, void* scratch, const Run& run) {
  return guarded([&]() -> int32_t {
    const Kernels* kernels = find_kernels(isa);
    if (!kernels || dims < 1 || dims > 3 || batch < 0) return SURFLOSS_UNSUPPORTED;
    const int64_t voxels = count_voxels(dims, shape);
    if (voxels < 0) return SURFLOSS_TOO_LARGE;
    if (voxels == 0 || batch == 0) return SURFLOSS_OK;
    Arena arena(scratch);
    Plan plan(function, batch, dims, shape, item_spacing, threads, arena);
    if (!fill_tables(plan, function, dims, shape, spacing, item_spacing, kernels->most_short))
      return SURFLOSS_SPACING;
    run(plan, Job{plan.axes.grid, true, {}, 0.5f, plan.tables, item_spacing}, *kernels);
    return SURFLOSS_OK;
  });
}

// The columns of one task of the second phase, all of one item.
struct Part {
  int64_t item, first, last;
  Part(const Plan& plan, int64_t task) : item(task / plan.tasks_an_item) {
    first = task % plan.tasks_an_item * plan.columns_a_task;
    const int64_t end = first + plan.columns_a_task, plane = plan.axes.grid.slice();
    last = end < plane ? end : plane;
  }
};

// Distances along x are counted in float32, which is exact up to this number of steps.
constexpr int64_t kMaxSteps = 1 << 24;

// The slices of several items, divided into tasks.
struct Slices {
  int64_t total, a_task;
  int64_t tasks() const { return ceil_div(total, a_task); }
  int64_t first(int64_t task) const { return task * a_task; }
  int64_t last(int64_t task) const { return (task + 1) * a_task < total ? (task + 1) * a_task : total; }
};

// The two phases of a transform: scan(workspace, first, last) over slices of all items, then
// search(workspace, part) over columns.
template <class Scan, class Search>
void transform(const Plan& plan, const Scan& scan, const Search& search) {
  const Slices slices = {plan.batch * plan.axes.grid.z, plan.slices_a_task};
  const auto tasks = [&](int64_t phase) { return phase ? plan.batch * plan.tasks_an_item : slices.tasks(); };
  run_phases(plan.threads, 2, tasks, [&](int64_t phase, int64_t task, int thread) {
    const Workspace& workspace = plan.workspaces[thread];
    if (phase == 0) {
      scan(workspace, slices.first(task), slices.last(task));
    } else {
      search(workspace, Part(plan, task));
    }
  });
}

// Hausdorff error of `items` items, from the first one in `weighing` and `job`. Sums are kept per task and
// added in order, so the result does not depend on the number of threads.
Sums weigh_items(const Plan& plan, const Job& job, int64_t items, const Weighing& weighing, double* weighted,
                 double* plain, const Layout layouts[2], const Kernels& kernels) {
  const Slices parts = {items * job.grid.z, plan.slices_a_task};
  const auto weigh_columns = kernels.weigh_columns[layouts[0] == kDoubleValues];
  // The threshold of logits applies to the input only.
  Job target_job = job;
  target_job.threshold = 0.5f;
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
      kernels.slices[layouts[which]](which ? target_job : job, workspace, weighing.values[which],
                                     weighing.fields[which], plan.states[which], parts.first(part),
                                     parts.last(part));
    } else {
      const Part part(plan, task);
      plan.sums[task] = weigh_columns(job, workspace, part.item, weighing, part.first, part.last);
    }
  });
  Sums all = {};
  for (int64_t item = 0; item < items; ++item) {
    Sums sums = {};
    for (int64_t i = 0; i < plan.tasks_an_item; ++i) sums.add(plan.sums[item * plan.tasks_an_item + i]);
    weighted[item] = sums.weighted;
    if (plain) plain[item] = sums.plain;
    all.add(sums);
  }
  return all;
}

// All items, one round at a time.
Sums weigh_batch(const Plan& plan, Job job, Weighing weighing, double* weighted, double* plain,
                 bool is_double, const Kernels& kernels) {
  const Layout values = is_double ? kDoubleValues : kFloatValues;
  const Layout layouts[2] = {values, weighing.byte_target ? kByteMask : values};
  Sums all = {};
  for (int64_t first = 0; first < plan.batch; first += plan.round) {
    const int64_t items = first + plan.round < plan.batch ? plan.round : plan.batch - first;
    all.add(weigh_items(plan, job, items, weighing, weighted + first, plain ? plain + first : nullptr,
                        layouts, kernels));
    const int64_t voxels = items * job.grid.voxels();
    if (job.item_tables) job.tables += items;
    weighing.fields[0] += voxels;
    weighing.gradient = (char*)weighing.gradient + voxels * bytes_a_voxel(values);
    if (weighing.ignore) weighing.ignore += voxels;
    for (int which = 0; which < 2; ++which) {
      weighing.values[which] = (const char*)weighing.values[which] + voxels * bytes_a_voxel(layouts[which]);
      if (weighing.given[which]) weighing.given[which] += voxels;
    }
  }
  return all;
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

int32_t surfloss_edt(const void* mask, int32_t is_float, float* distance, int64_t batch, int32_t dims,
                     const int64_t* shape, const double* spacing, int32_t item_spacing, int32_t form,
                     int32_t squared, int32_t threads, int32_t isa, void* scratch) {
  const auto run = [&](const Plan& plan, Job job, const Kernels& kernels) {
    job.two_sided = form != SURFLOSS_ONE_SIDED;
    job.outcome = {!squared, {0, form == SURFLOSS_SIGNED ? INT32_MIN : 0}, 1};
    prefer_huge_pages(distance, batch * job.grid.voxels() * sizeof(float));
    const auto scan = kernels.slices[is_float ? kFloatMask : kByteMask];
    transform(
        plan,
        [&](const Workspace& workspace, int64_t first, int64_t last) {
          scan(job, workspace, mask, distance, plan.states[0], first, last);
        },
        [&](const Workspace& workspace, const Part& part) {
          kernels.columns(job, workspace, part.item, distance, plan.states[0], part.first, part.last);
        });
  };
  return with_plan(SURFLOSS_EDT, batch, dims, shape, spacing, item_spacing, threads, isa, scratch, run);
}

int32_t surfloss_label_edt(const void* labels, int32_t bytes, float* distance, int64_t batch, int32_t dims,
                           const int64_t* shape, const double* spacing, int32_t item_spacing, int32_t form,
                           int32_t squared, int32_t closed, int32_t threads, int32_t isa, void* scratch) {
  int size = 0;
  while (size < kLabelSizes && 1 << size != bytes) ++size;
  if (size == kLabelSizes) return SURFLOSS_UNSUPPORTED;
  const Labelling labelling = {labels, form == SURFLOSS_ONE_SIDED, form == SURFLOSS_SIGNED, closed != 0};
  // With a closed border, squared steps along axes of size 1 count, which `fill_tables` does not check.
  bool in_range = true;
  const auto run = [&](const Plan& plan, Job job, const Kernels& kernels) {
    for (int64_t item = 0; closed && item < (item_spacing ? batch : 1); ++item) {
      in_range &= plan.tables[item].thin_sq >= FLT_MIN;
    }
    if (!in_range) return;
    job.outcome = {!squared, {0, 0}, 1};
    prefer_huge_pages(distance, batch * job.grid.voxels() * sizeof(float));
    transform(
        plan,
        [&](const Workspace& workspace, int64_t first, int64_t last) {
          kernels.label_slices[size](job, workspace, labelling, distance, plan.states[0], first, last);
        },
        [&](const Workspace& workspace, const Part& part) {
          kernels.label_columns[size](job, workspace, labelling, part.item, distance, plan.states[0],
                                      part.first, part.last);
        });
  };
  const int32_t status =
      with_plan(SURFLOSS_EDT, batch, dims, shape, spacing, item_spacing, threads, isa, scratch, run);
  return in_range ? status : SURFLOSS_SPACING;
}

int32_t surfloss_background_distance(const uint8_t* mask, double* distance, int64_t batch, int32_t dims,
                                     const int64_t* shape, const double* spacing, int32_t item_spacing,
                                     int32_t threads, int32_t isa, void* scratch) {
  for (int axis = 0; axis < dims; ++axis) {
    if (shape[axis] > kMaxSteps) return SURFLOSS_TOO_LARGE;
  }
  const auto run = [&](const Plan& plan, Job job, const Kernels& kernels) {
    job.two_sided = false;
    prefer_huge_pages(distance, batch * job.grid.voxels() * sizeof(double));
    transform(
        plan,
        [&](const Workspace& workspace, int64_t first, int64_t last) {
          kernels.distance_slices(job, workspace, mask, distance, plan.states[0], first, last);
        },
        [&](const Workspace& workspace, const Part& part) {
          kernels.distance_columns(job, workspace, part.item, distance, plan.states[0], part.first,
                                   part.last);
        });
  };
  return with_plan(SURFLOSS_DISTANCE, batch, dims, shape, spacing, item_spacing, threads, isa, scratch, run);
}

int32_t surfloss_nearest_background(const uint8_t* mask, int32_t* nearest, double* distance, int64_t batch,
                                    int32_t dims, const int64_t* shape, const double* spacing,
                                    int32_t item_spacing, int32_t threads, int32_t isa, void* scratch) {
  for (int axis = 0; axis < dims; ++axis) {
    // Positions in a workspace have 32 bits.
    if (shape[axis] > INT32_MAX / kMaxBlock && dims > 1) return SURFLOSS_TOO_LARGE;
  }
  const auto run = [&](const Plan& plan, Job job, const Kernels& kernels) {
    job.two_sided = false;
    const int64_t voxels = job.grid.voxels(), depth = job.grid.z;
    prefer_huge_pages(nearest, batch * dims * voxels * sizeof(int32_t));
    if (distance) prefer_huge_pages(distance, batch * voxels * sizeof(double));
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
      kernels.nearest_columns(job, workspace, part.item, to, distance, plan.states[0], part.first, part.last);
      // Along an axis of size 1 the index is 0, or -1 if there is no background.
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
  return with_plan(SURFLOSS_NEAREST, batch, dims, shape, spacing, item_spacing, threads, isa, scratch, run);
}

int32_t surfloss_hausdorff(const void* input, const void* target, int32_t is_double, int32_t byte_target,
                           const float* input_squared, const float* target_squared, const uint8_t* ignore,
                           float* field, void* gradient, double* weighted, double* plain, uint8_t* wrong,
                           int64_t batch, int32_t dims, const int64_t* shape, const double* spacing,
                           int32_t item_spacing, int32_t sigmoid, double alpha, double max_distance,
                           double lowest, double highest, int32_t empty, int32_t threads, int32_t isa,
                           void* scratch) {
  const auto run = [&](const Plan& plan, Job job, const Kernels& kernels) {
    job.threshold = sigmoid ? 0.0f : 0.5f;
    const int64_t voxels = job.grid.voxels();
    prefer_huge_pages(field, batch * voxels * sizeof(float));
    prefer_huge_pages(plan.target_field, plan.round * voxels * sizeof(float));
    const Weighing weighing = {
        {input, target},
        byte_target != 0,
        gradient,
        sigmoid != 0,
        {field, plan.target_field},
        {plan.states[0], plan.states[1]},
        {input_squared, target_squared},
        ignore,
        alpha,
        (float)(max_distance * max_distance),
        plain != nullptr,
        empty,
        plan.axes.from[0] == 0,
        plan.axes.from[2] == 0,
        lowest,
        highest,
    };
    const Sums all = weigh_batch(plan, job, weighing, weighted, plain, is_double, kernels);
    if (all.wrong_input) wrong[0] = 1;
    if (all.wrong_target) wrong[1] = 1;
  };
  return with_plan(SURFLOSS_HAUSDORFF, batch, dims, shape, spacing, item_spacing, threads, isa, scratch, run);
}

}  // extern "C"
