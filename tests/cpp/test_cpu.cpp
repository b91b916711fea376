// The C interface against brute force, over instruction sets of this machine, thread counts, shapes and
// spacings. Arrays have exactly the size that the interface asks for, so that sanitizers detect every access
// beyond them.
//
//   test_cpu [cases] [seed]

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "surfloss_cpu.h"

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
int failures = 0;

#define CHECK(condition, ...)                                     \
  do {                                                            \
    if (!(condition) && ++failures <= 20) {                       \
      std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      std::printf(__VA_ARGS__);                                   \
      std::printf("\n");                                          \
    }                                                             \
  } while (0)

struct Case {
  int64_t batch;
  int dims;
  std::vector<int64_t> shape;
  std::vector<double> spacing;  // shared, or per item
  bool item_spacing;
  std::vector<uint8_t> mask;
  int threads, isa;

  int64_t voxels() const {
    int64_t count = 1;
    for (int64_t size : shape) count *= size;
    return count;
  }
  double squared(int64_t item, int64_t a, int64_t b) const {
    double sum = 0;
    for (int axis = dims - 1; axis >= 0; --axis) {
      const double steps = (double)(a % shape[axis] - b % shape[axis]);
      const double along = steps * spacing[(item_spacing ? item * dims : 0) + axis];
      sum += along * along;
      a /= shape[axis];
      b /= shape[axis];
    }
    return sum;
  }
  // Squared distance of a voxel to the nearest one of the given label.
  double nearest(int64_t item, int64_t voxel, bool label) const {
    double best = kInf;
    const uint8_t* labels = mask.data() + item * voxels();
    for (int64_t other = 0; other < voxels(); ++other) {
      if ((labels[other] != 0) == label) best = std::fmin(best, squared(item, voxel, other));
    }
    return best;
  }
};

// Memory of at least `bytes` with the alignment of the interface, filled with invalid values.
struct Memory {
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(void* memory) const { ::operator delete(memory, kAlignment); }
  };
  explicit Memory(int64_t bytes) : data(::operator new((size_t)bytes + 1, kAlignment)) {
    std::memset(data.get(), 0xFF, (size_t)bytes);
  }
  std::unique_ptr<void, Free> data;
};

Memory scratch_for(const Case& c, int function) {
  return Memory(surfloss_scratch_bytes(function, c.batch, c.dims, c.shape.data(), c.item_spacing, c.threads));
}

bool near(double got, double wanted) {
  return got == wanted || std::fabs(got - wanted) <= 4e-7 * std::fabs(wanted);
}

std::vector<float> run_edt(const Case& c, surfloss_form form, bool squared = true, bool as_float = false) {
  std::vector<float> distance(c.batch * c.voxels(), NAN), floats;
  for (const uint8_t label : c.mask) floats.push_back(label ? (label % 2 ? 1e-30f : -2.0f) : 0.0f);
  const Memory scratch = scratch_for(c, SURFLOSS_EDT);
  const void* mask = as_float ? (const void*)floats.data() : c.mask.data();
  const int status =
      surfloss_edt(mask, as_float, distance.data(), c.batch, c.dims, c.shape.data(), c.spacing.data(),
                   c.item_spacing, form, squared, c.threads, c.isa, scratch.data.get());
  CHECK(status == SURFLOSS_OK, "status %d", status);
  return distance;
}

void check_edt(const Case& c) {
  const auto two_sided = run_edt(c, SURFLOSS_TWO_SIDED), one_sided = run_edt(c, SURFLOSS_ONE_SIDED);
  const auto signs = run_edt(c, SURFLOSS_SIGNED), rooted = run_edt(c, SURFLOSS_SIGNED, false);
  CHECK(run_edt(c, SURFLOSS_TWO_SIDED, true, true) == two_sided,
        "a mask of floats differs from one of bytes");
  for (int64_t i = 0; i < c.batch * c.voxels(); ++i) {
    const int64_t item = i / c.voxels(), voxel = i % c.voxels();
    const double right = c.nearest(item, voxel, !c.mask[i]), sign = c.mask[i] ? -1 : 1;
    const auto check = [&](const char* form, double got, double wanted) {
      CHECK(near(got, wanted), "%s, voxel %lld: got %.9g, wanted %.9g", form, (long long)i, got, wanted);
    };
    check("two-sided", two_sided[i], right);
    check("one-sided", one_sided[i], c.mask[i] ? right : 0);
    check("signed", signs[i], sign * right);
    check("root", rooted[i], sign * std::sqrt(right));
  }
}

// Labels in runs of random lengths, against brute force. The labels differ in random bits.
template <class Label>
void check_labels(const Case& c, std::mt19937_64& random) {
  const int64_t count = c.batch * c.voxels(), longest = 1 + (int64_t)(random() % 9);
  std::vector<Label> values = {0}, labels(count);
  for (uint64_t i = 0, number = random() % 6; i <= number; ++i) {
    values.push_back((Label)((Label)1 << random() % (8 * sizeof(Label))));
  }
  for (int64_t i = 0; i < count;) {
    const Label label = values[random() % values.size()];
    for (int64_t end = i + 1 + (int64_t)(random() % longest); i < count && i < end; ++i) labels[i] = label;
  }
  const bool closed = random() % 2, squared = random() % 2;
  const int form = (int)(random() % 3);
  std::vector<float> distance(count, NAN);
  const Memory scratch = scratch_for(c, SURFLOSS_EDT);
  const int status = surfloss_label_edt(labels.data(), sizeof(Label), distance.data(), c.batch, c.dims,
                                        c.shape.data(), c.spacing.data(), c.item_spacing, form, squared,
                                        closed, c.threads, c.isa, scratch.data.get());
  CHECK(status == SURFLOSS_OK, "status %d", status);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t item = i / c.voxels(), voxel = i % c.voxels();
    double right = kInf;
    for (int64_t other = 0; other < c.voxels(); ++other) {
      if (labels[item * c.voxels() + other] != labels[i])
        right = std::fmin(right, c.squared(item, voxel, other));
    }
    for (int64_t axis = c.dims - 1, rest = voxel; closed && axis >= 0; rest /= c.shape[axis--]) {
      const int64_t place = rest % c.shape[axis], steps = std::min(place + 1, c.shape[axis] - place);
      const double along = (double)steps * c.spacing[(c.item_spacing ? item * c.dims : 0) + axis];
      right = std::fmin(right, along * along);
    }
    if (form == SURFLOSS_ONE_SIDED && labels[i] == 0) right = 0;
    if (!squared) right = std::sqrt(right);
    if (form == SURFLOSS_SIGNED && labels[i] != 0) right = -right;
    CHECK(near(distance[i], right),
          "labels of %d bytes, form %d, closed %d, voxel %lld: got %.9g, wanted %.9g", (int)sizeof(Label),
          form, closed, (long long)i, distance[i], right);
  }
}

void check_nearest(const Case& c) {
  std::vector<int32_t> nearest(c.batch * c.dims * c.voxels(), 77777);
  const Memory scratch = scratch_for(c, SURFLOSS_NEAREST);
  std::vector<double> distance(c.batch * c.voxels(), 77777), alone = distance;
  int status = surfloss_nearest_background(c.mask.data(), nearest.data(), distance.data(), c.batch, c.dims,
                                           c.shape.data(), c.spacing.data(), c.item_spacing, c.threads, c.isa,
                                           scratch.data.get());
  CHECK(status == SURFLOSS_OK, "status %d", status);
  const Memory other = scratch_for(c, SURFLOSS_DISTANCE);
  status = surfloss_background_distance(c.mask.data(), alone.data(), c.batch, c.dims, c.shape.data(),
                                        c.spacing.data(), c.item_spacing, c.threads, c.isa, other.data.get());
  CHECK(status == SURFLOSS_OK, "status %d", status);
  for (int64_t i = 0; i < c.batch * c.voxels(); ++i) {
    const int64_t item = i / c.voxels(), voxel = i % c.voxels();
    const double right = c.nearest(item, voxel, false);
    for (const double got : {distance[i], alone[i]}) {
      const bool close = right == kInf ? got == kInf : std::fabs(got - std::sqrt(right)) <= 1e-15 * got;
      CHECK(close, "voxel %lld: distance %.17g, wanted %.17g", (long long)i, got, std::sqrt(right));
    }
    int64_t goal = 0;
    bool inside = true;
    for (int axis = 0; axis < c.dims; ++axis) {
      const int64_t index = nearest[(item * c.dims + axis) * c.voxels() + voxel];
      if (right == kInf) CHECK(index == -1, "voxel %lld: got %lld", (long long)i, (long long)index);
      inside &= index >= 0 && index < c.shape[axis];
      goal = goal * c.shape[axis] + index;
    }
    if (right == kInf) continue;
    CHECK(inside, "voxel %lld leads outside", (long long)i);
    if (!inside) continue;
    CHECK(!c.mask[item * c.voxels() + goal], "voxel %lld leads to foreground", (long long)i);
    const double got = c.squared(item, voxel, goal);
    CHECK(std::fabs(got - right) <= 1e-13 * right, "voxel %lld: %.17g, nearest %.17g", (long long)i, got,
          right);
  }
}

template <class Value, class Target>
void check_hausdorff(const Case& c, double alpha, bool sigmoid, double max_distance,
                     std::mt19937_64& random) {
  const int64_t count = c.batch * c.voxels();
  std::vector<Value> input(count);
  std::vector<Target> target(count);
  Case targets = c;
  std::uniform_real_distribution<double> unit(0, 1);
  for (int64_t i = 0; i < count; ++i) {
    input[i] = (Value)(sigmoid ? (c.mask[i] ? 5 : -5) * unit(random) : c.mask[i] ? 0.6 : 0.4);
    targets.mask[i] = unit(random) < 0.3;
    target[i] = (Target)targets.mask[i];
  }
  const auto p = run_edt(c, SURFLOSS_TWO_SIDED), g = run_edt(targets, SURFLOSS_TWO_SIDED);
  std::vector<Value> gradient(count, NAN);
  std::vector<float> field(sizeof(Value) == 8 ? count : 0);
  std::vector<double> weighted(c.batch, NAN), plain(c.batch, NAN);
  const Memory scratch = scratch_for(c, SURFLOSS_HAUSDORFF);
  uint8_t wrong[2] = {};
  const auto run = [&] {
    return surfloss_hausdorff(input.data(), target.data(), sizeof(Value) == 8, sizeof(Target) == 1, nullptr,
                              nullptr, nullptr, field.empty() ? (float*)gradient.data() : field.data(),
                              gradient.data(), weighted.data(), plain.data(), wrong, c.batch, c.dims,
                              c.shape.data(), c.spacing.data(), c.item_spacing, sigmoid, alpha, max_distance,
                              sigmoid ? -6 : 0, sigmoid ? 6 : 1, SURFLOSS_EMPTY_ZERO, c.threads, c.isa,
                              scratch.data.get());
  };
  const int status = run();
  const auto weight_of = [&](float squared) {
    const double distance = std::isinf(squared) ? 0.0 : std::sqrt((double)squared);
    return std::pow(std::min(distance, max_distance), alpha);
  };
  CHECK(status == SURFLOSS_OK, "status %d", status);
  for (int64_t item = 0; item < c.batch; ++item) {
    double sum = 0, few_digits = 0, squares = 0;
    for (int64_t i = item * c.voxels(); i < (item + 1) * c.voxels(); ++i) {
      const double weight = weight_of(p[i]) + weight_of(g[i]);
      const double value = sigmoid ? 1 / (1 + std::exp(-(double)input[i])) : (double)input[i];
      const double difference = value - (double)target[i], slope = sigmoid ? value * (1 - value) : 1;
      const double steep = 2 * weight * slope / (double)c.voxels(), right = steep * difference;
      // The difference between a float close to 1 and a target of 1 has few digits.
      const double close = 2e-6 * std::fabs(right) + 1.2e-7 * steep;
      CHECK(std::fabs(gradient[i] - right) <= close, "voxel %lld: got %.9g, wanted %.9g", (long long)i,
            (double)gradient[i], right);
      sum += weight * difference * difference;
      few_digits += 2.4e-7 * weight * std::fabs(difference);
      squares += difference * difference;
    }
    CHECK(std::fabs(weighted[item] - sum) <= 2e-6 * sum + few_digits, "item %lld: got %.9g, wanted %.9g",
          (long long)item, weighted[item], sum);
    const double close = 2e-6 * squares + 2.4e-7 * std::sqrt(squares * (double)c.voxels());
    CHECK(std::fabs(plain[item] - squares) <= close, "item %lld: got %.9g, wanted %.9g", (long long)item,
          plain[item], squares);
  }
  CHECK(!wrong[0] && !wrong[1], "right values are called wrong: %d %d", wrong[0], wrong[1]);
  const double bad[] = {NAN, INFINITY, -INFINITY, sigmoid ? 6.1 : 1.1, sigmoid ? -6.1 : -0.1};
  const int64_t at = (int64_t)(random() % count);
  const Value right = input[at];
  input[at] = (Value)bad[random() % 5];
  run();
  CHECK(wrong[0] && !wrong[1], "voxel %lld, %g: %d %d", (long long)at, (double)input[at], wrong[0], wrong[1]);
  if (sizeof(Target) == 1) return;
  input[at] = right;
  target[at] = (Target)(random() % 2 ? bad[random() % 3] : 0.5);
  wrong[0] = 0;
  run();
  CHECK(!wrong[0] && wrong[1], "voxel %lld: %d %d", (long long)at, wrong[0], wrong[1]);
}

// The contour and the soft surface against their definitions. Each value is a difference of two voxels, so
// the sum of the gradient must be 0.
template <class Value>
void check_pooling(const Case& c, std::mt19937_64& random) {
  const int64_t count = c.batch * c.voxels();
  int64_t shape[3] = {1, 1, 1};
  for (int axis = 0; axis < c.dims; ++axis) shape[3 - c.dims + axis] = c.shape[axis];
  std::vector<Value> x(count), contour(count, NAN), surface(count, NAN), gradient(count, NAN), grad(count);
  std::vector<uint8_t> ignore(count);
  std::vector<int8_t> highest(count, 99), lowest(count, 99);
  const bool some_ignored = random() % 2, volume = random() % 2;
  for (int64_t i = 0; i < count; ++i) {
    x[i] = (Value)(random() % 8) / 8;
    grad[i] = (Value)(random() % 16);
    ignore[i] = some_ignored && random() % 4 == 0;
  }
  const uint8_t* skipped = some_ignored ? ignore.data() : nullptr;
  const bool is_double = sizeof(Value) == 8;
  const Memory scratch(surfloss_contour_scratch_bytes(is_double, shape[2], c.threads));
  const auto place = [&](int64_t item, int64_t z, int64_t y, int64_t i) {
    return ((item * shape[0] + z) * shape[1] + y) * shape[2] + i;
  };
  // Calls visit(place) for the voxels of a window that lie in the volume and are not ignored.
  const auto window = [&](int64_t item, int64_t z, int64_t y, int64_t i, int reach_z, bool cross,
                          const auto& visit) {
    for (int64_t dz = -reach_z; dz <= reach_z; ++dz) {
      for (int64_t dy = -1; dy <= 1; ++dy) {
        for (int64_t dx = -1; dx <= 1; ++dx) {
          if (cross && std::abs(dz) + std::abs(dy) + std::abs(dx) > 1) continue;
          const int64_t a = z + dz, b = y + dy, d = i + dx;
          if (a < 0 || a >= shape[0] || b < 0 || b >= shape[1] || d < 0 || d >= shape[2]) continue;
          if (!ignore[place(item, a, b, d)]) visit(place(item, a, b, d));
        }
      }
    }
  };
  const auto each = [&](const auto& visit) {
    for (int64_t item = 0; item < c.batch; ++item)
      for (int64_t z = 0; z < shape[0]; ++z)
        for (int64_t y = 0; y < shape[1]; ++y)
          for (int64_t i = 0; i < shape[2]; ++i) visit(item, z, y, i);
  };
  std::vector<Value> eroded(count, INFINITY), faces(count, INFINITY);
  each([&](int64_t item, int64_t z, int64_t y, int64_t i) {
    const int64_t own = place(item, z, y, i);
    window(item, z, y, i, volume, false, [&](int64_t at) { eroded[own] = std::min(eroded[own], x[at]); });
    window(item, z, y, i, 1, true, [&](int64_t at) { faces[own] = std::min(faces[own], x[at]); });
  });
  const auto sums = [&](const std::vector<Value>& made) {
    double total = 0;
    for (const Value value : made) total += (double)value;
    return total;
  };
  CHECK(surfloss_contour(x.data(), skipped, contour.data(), highest.data(), lowest.data(), is_double, volume,
                         c.batch, shape, c.threads, c.isa, scratch.data.get()) == SURFLOSS_OK,
        "contour");
  each([&](int64_t item, int64_t z, int64_t y, int64_t i) {
    const int64_t own = place(item, z, y, i);
    Value most = -INFINITY;
    window(item, z, y, i, volume, false, [&](int64_t at) { most = std::max(most, eroded[at]); });
    const Value wanted = ignore[own] ? 0 : most - eroded[own];
    CHECK(contour[own] == wanted, "contour at %lld: got %g, wanted %g", (long long)own, (double)contour[own],
          (double)wanted);
  });
  CHECK(
      surfloss_contour_gradient(grad.data(), highest.data(), lowest.data(), gradient.data(), is_double,
                                volume, c.batch, shape, c.threads, c.isa, scratch.data.get()) == SURFLOSS_OK,
      "gradient");
  CHECK(sums(gradient) == 0, "the contour's gradient sums up to %g", sums(gradient));
  CHECK(surfloss_surface(x.data(), skipped, surface.data(), lowest.data(), is_double, c.batch, shape,
                         c.threads, c.isa, scratch.data.get()) == SURFLOSS_OK,
        "surface");
  for (int64_t i = 0; i < count; ++i) {
    const Value wanted = ignore[i] ? 0 : x[i] - faces[i];
    CHECK(surface[i] == wanted, "surface at %lld: got %g, wanted %g", (long long)i, (double)surface[i],
          (double)wanted);
  }
  CHECK(surfloss_surface_gradient(grad.data(), lowest.data(), gradient.data(), is_double, c.batch, shape,
                                  c.threads, c.isa, scratch.data.get()) == SURFLOSS_OK,
        "gradient");
  CHECK(sums(gradient) == 0, "the surface's gradient sums up to %g", sums(gradient));
}

Case random_case(std::mt19937_64& random) {
  const auto below = [&](int64_t limit) { return (int64_t)(random() % limit); };
  Case c;
  c.dims = 1 + (int)below(3);
  c.batch = 1 + below(3);
  int64_t left = 700;  // voxels: brute force is quadratic
  for (int axis = 0; axis < c.dims; ++axis) {
    const int64_t size = 1 + below(below(4) ? std::min<int64_t>(left, 12) : left);
    c.shape.push_back(size);
    left = std::max<int64_t>(1, left / size);
  }
  c.item_spacing = below(2);
  const bool whole = below(2), extreme = below(3) == 0;
  const double unit = below(2) ? 1.0 : 0.42, multiples[] = {1, 2, 20, 60};
  const int64_t kinds = below(2) ? 1 : 4;  // with the larger multiples, distances exceed 16 bits
  for (int64_t i = 0; i < c.dims * (c.item_spacing ? c.batch : 1); ++i) {
    // If steps differ by a factor of 10^7 or more, sums lose the smallest ones.
    const double magnitude = (double)below(600) / 100 - 3;
    c.spacing.push_back(whole ? unit * multiples[below(kinds)]
                              : std::pow(10.0, extreme ? 2 * magnitude : magnitude));
  }
  const double shares[] = {0, 0.02, 0.2, 0.5, 0.9, 0.99, 1};
  for (int64_t item = 0; item < c.batch; ++item) {
    const double share = shares[below(7)];
    for (int64_t i = 0; i < c.voxels(); ++i) c.mask.push_back((double)below(1000) < share * 1000);
  }
  c.threads = 1 + (int)below(4);
  c.isa = 1 + (int)below(surfloss_best_isa());
  return c;
}

void describe(const Case& c, long number) {
  std::printf("case %ld: isa %d, threads %d, batch %lld, shape", number, c.isa, c.threads,
              (long long)c.batch);
  for (int64_t size : c.shape) std::printf(" %lld", (long long)size);
  std::printf(", spacing");
  for (double step : c.spacing) std::printf(" %.17g", step);
  std::printf("\n");
}

// A case large enough to start threads: the result must not depend on their number.
void check_threads(std::mt19937_64& random) {
  Case c = {2, 3, {24, 131, 97}, {5.0, 0.4, 0.4}, false, {}, 1, SURFLOSS_BEST};
  for (int64_t i = 0; i < c.batch * c.voxels(); ++i) c.mask.push_back(random() % 100 == 0);
  const auto alone = run_edt(c, SURFLOSS_TWO_SIDED);
  c.threads = 4;
  CHECK(run_edt(c, SURFLOSS_TWO_SIDED) == alone, "four threads differ from one");
  // Slices with a single label, some the same as the slice before.
  std::vector<uint16_t> labels(c.mask.size());
  for (size_t i = 0; i < labels.size(); ++i)
    labels[i] = (uint16_t)(i / (131 * 97 * 3) % 5 ? i / (131 * 97 * 2) : i);
  std::vector<float> distances[2] = {std::vector<float>(labels.size()), std::vector<float>(labels.size())};
  for (int i = 0; i < 2; ++i) {
    c.threads = i ? 4 : 1;
    const Memory scratch = scratch_for(c, SURFLOSS_EDT);
    surfloss_label_edt(labels.data(), 2, distances[i].data(), c.batch, c.dims, c.shape.data(),
                       c.spacing.data(), false, SURFLOSS_SIGNED, 0, 1, c.threads, c.isa, scratch.data.get());
  }
  CHECK(distances[0] == distances[1], "labels: four threads differ from one");
  check_hausdorff<float, uint8_t>(c, 2, true, kInf, random);
}

void check_refusals() {
  const int64_t large[] = {1 << 11, 1 << 11, 1 << 9}, odd[] = {2, 2, 2};
  const double one[] = {1, 1, 1}, tiny[] = {1, 1e-30, 1}, huge[] = {1, 1e30, 1};
  CHECK(surfloss_scratch_bytes(SURFLOSS_EDT, 1, 3, large, 0, 1) == -1, "2^31 voxels are too many");
  const auto edt = [&](const int64_t* shape, const double* spacing, int isa) {
    alignas(64) static char scratch[1 << 16];
    uint8_t mask[8] = {1};
    float squared[8];
    return surfloss_edt(mask, 0, squared, 1, 3, shape, spacing, 0, SURFLOSS_TWO_SIDED, 1, 1, isa, scratch);
  };
  CHECK(edt(large, one, SURFLOSS_BEST) == SURFLOSS_TOO_LARGE, "2^31 voxels");
  CHECK(edt(odd, tiny, SURFLOSS_BEST) == SURFLOSS_SPACING, "tiny spacing");
  CHECK(edt(odd, huge, SURFLOSS_BEST) == SURFLOSS_SPACING, "huge spacing");
  CHECK(edt(odd, one, 99) == SURFLOSS_UNSUPPORTED, "unknown instruction set");
  CHECK(edt(odd, one, SURFLOSS_BEST) == SURFLOSS_OK, "nothing wrong");
  const auto label_edt = [&](const int64_t* shape, const double* spacing, int bytes, int closed) {
    alignas(64) static char scratch[1 << 16];
    uint64_t labels[8] = {1};
    float squared[8];
    return surfloss_label_edt(labels, bytes, squared, 1, 3, shape, spacing, 0, SURFLOSS_TWO_SIDED, 1, closed,
                              1, SURFLOSS_BEST, scratch);
  };
  const int64_t thin[] = {2, 1, 2};
  for (const int bytes : {0, 3, 16}) {
    CHECK(label_edt(odd, one, bytes, 0) == SURFLOSS_UNSUPPORTED, "labels of %d bytes", bytes);
  }
  CHECK(label_edt(large, one, 4, 0) == SURFLOSS_TOO_LARGE, "2^31 voxels");
  CHECK(label_edt(thin, tiny, 8, 0) == SURFLOSS_OK, "nothing is measured along an axis of size 1");
  CHECK(label_edt(thin, tiny, 8, 1) == SURFLOSS_SPACING, "but the border");
  CHECK(label_edt(odd, one, 8, 1) == SURFLOSS_OK, "nothing wrong");
}

}  // namespace

int main(int argc, char** argv) {
  const long cases = argc > 1 ? std::atol(argv[1]) : 300;
  const unsigned long long seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  std::printf("%ld cases, seed %llu, best instruction set %d\n", cases, seed, surfloss_best_isa());
  std::mt19937_64 random(seed);
  for (long i = 0; i < cases && !failures; ++i) {
    const Case c = random_case(random);
    check_edt(c);
    check_labels<uint8_t>(c, random);
    check_labels<uint16_t>(c, random);
    check_labels<uint32_t>(c, random);
    check_labels<uint64_t>(c, random);
    check_nearest(c);
    check_pooling<float>(c, random);
    check_pooling<double>(c, random);
    const double some = 2.5 * c.spacing[0];
    check_hausdorff<float, float>(c, i % 2 ? 2 : 1, i % 3, i % 5 ? kInf : some, random);
    check_hausdorff<float, uint8_t>(c, i % 3 ? 2 : 3, i % 2, i % 4 ? some : kInf, random);
    check_hausdorff<double, double>(c, i % 2 ? 2 : 3, i % 3, i % 5 ? some : kInf, random);
    if (failures) describe(c, i);
  }
  check_threads(random);
  check_refusals();
  std::printf("%d failures\n", failures);
  return failures != 0;
}
