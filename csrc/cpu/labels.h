// Distance to the nearest voxel of another label, for any number of labels at once.
//
// A segment is a run of equal labels along an axis. The voxel just beyond an end of a segment has another
// label, so nothing further beyond that end can be nearer. Segments of a line therefore get alternating
// signs, and the search for two labels finds the right minimum: a segment of the same sign that it mistakes
// for the voxel's own lies beyond an end. The alternation ("turns") differs between axes. Each pass therefore
// writes magnitudes, with the sign marking whether the label changes here along the next axis. The next pass
// converts these marks to alternating signs as it loads its columns. Only the first pass reads labels for its
// search.
#pragma once

#include <type_traits>

#include "columns.h"
#include "job.h"
#include "rows.h"
#include "simd.h"

namespace surfloss {
namespace SURFLOSS_ISA {
namespace {

// -1 in the lanes whose labels differ. Only bits matter, so one type serves all labels of a size.
template <class Label>
inline Ints differ(const Label* a, const Label* b) {
  typedef Label Vector __attribute__((vector_size(sizeof(Label) * kLanes)));
  typedef std::make_signed_t<Label> Signed __attribute__((vector_size(sizeof(Label) * kLanes)));
  Vector x, y;
  memcpy(&x, a, sizeof x);
  memcpy(&y, b, sizeof y);
  // Clang compares bytes to `char`, which is unsigned on some platforms.
  return __builtin_convertvector((Signed)(x != y), Ints);
}

// Calls work(i, labels, others) for every vector of `size` voxels. A partial last vector is passed as copies
// that are equal beyond the end.
template <class Label, class Work>
inline void each_vector(const Label* labels, const Label* others, int64_t size, const Work& work) {
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) work(i, labels + i, others + i);
  if (i < size) {
    Label own[kLanes] = {}, other[kLanes] = {};
    memcpy(own, labels + i, (size - i) * sizeof(Label));
    memcpy(other, others + i, (size - i) * sizeof(Label));
    work(i, own, other);
  }
}

// Load and store of the vector at `i` of a row, which may extend beyond the end.
inline Floats load_part(const float* row, int64_t i, int64_t size) {
  if (i + kLanes <= size) return load(row + i);
  Floats v = {};
  memcpy(&v, row + i, (size - i) * sizeof(float));
  return v;
}
inline void store_part(float* row, int64_t i, int64_t size, Floats v) {
  if (i + kLanes <= size) {
    store(row + i, v);
  } else {
    memcpy(row + i, &v, (size - i) * sizeof(float));
  }
}

// The turns of a row as bits: 1 in every second segment. `words` has room for one word on either side.
template <class Label>
void find_turns(const Label* labels, int64_t size, uint64_t* words) {
  const int64_t count = (size + 63) / 64;
  memset(words - 1, 0, (count + 2) * sizeof(uint64_t));
  each_vector(labels, labels + 1, size - 1, [&](int64_t i, const Label* own, const Label* next) {
    words[i / 64] |= lanes((Floats)differ(own, next), NotZero{}) << i % 64;
  });
  uint64_t turn = 0;  // turn of the word's first voxel, in all bits
  for (int64_t i = 0; i < count; ++i) {
    uint64_t after = words[i];  // parity of the changes before and directly after each voxel
    for (int shift = 1; shift < 64; shift *= 2) after ^= after << shift;
    words[i] = after << 1 ^ turn;
    turn ^= (uint64_t)0 - (after >> 63);
  }
  words[count] = turn;
}

// Ends the pass along x for one row: distances, with the sign marking changes of label from the row `before`.
template <class Label>
void finish_row(const Labelling& labelling, const Tables& tables, const Label* labels, const Label* before,
                float* row, int64_t size, bool several) {
  const Label zeros[kLanes] = {};
  each_vector(labels, before, size, [&](int64_t i, const Label* own, const Label* other) {
    Floats v = several ? magnitude(load_part(row, i, size)) : all(INFINITY);
    if (labelling.closed && size > 1) v = min(v, min(load(tables.up + i + 1), load(tables.down + i)));
    if (labelling.zero_background) v = (Floats)((Ints)v & differ(own, zeros));
    store_part(row, i, size, flip(v, differ(own, other) & kSign));
  });
}

// Ends the pass along y for one row, with changes of label from the same row of the slice before. `cap` is
// the squared distance to a closed border along y, or inf.
template <class Label>
void finish_slice_row(const Label* labels, const Label* before, float* row, int64_t size, float cap) {
  each_vector(labels, before, size, [&](int64_t i, const Label* own, const Label* other) {
    const Floats v = min(magnitude(load_part(row, i, size)), all(cap));
    store_part(row, i, size, flip(v, differ(own, other) & kSign));
  });
}

// Squared distance from row `y` of `size` to the first row outside, on the nearer side.
inline float to_border(const float* table, int64_t y, int64_t size) { return table[lesser(y + 1, size - y)]; }

// The labels of a row or slice: several, or one that equals or differs from the first label of the one
// before.
enum Content : uint8_t { kSame, kOther, kSeveral };

// The rows that may be nearest to another row. If several rows at an end have the same single label, only the
// innermost of them can be nearest.
inline Range candidates(const uint8_t* contents, int64_t size) {
  Range range = {0, size - 1};
  if (contents[0] != kSeveral) {
    while (range.low < size - 1 && contents[range.low + 1] == kSame) ++range.low;
  }
  while (range.high > range.low && contents[range.high] == kSame && contents[range.high - 1] != kSeveral) {
    --range.high;
  }
  return range;
}

// Loads a tile, and converts marks of label changes to alternating signs.
inline void gather_turns(const Workspace& workspace, const float* field, int64_t size, int64_t stride,
                         int64_t width, float scale) {
  for (int64_t k = 0; k < size; ++k) {
    const float* row = field + k * stride;
    for (int64_t i = 0; i < width; i += kBlock) {
      float* block = workspace.column + i * size + k * kBlock;
      copy(block, row + i, lesser(kBlock, width - i));
      for (int64_t j = width - i; j < kBlock; ++j) block[j] = block[width - i - 1];
      for (int u = 0; u < kBlock; u += kLanes) {
        const Ints turn = k == 0 ? all(0) : (Ints)load(block - kBlock + u) & kSign;
        store(block + u, flip(load(block + u) * all(scale), turn));
      }
    }
  }
}

// Solves columns [first, last) of one slab of rows, `stride` apart, in place. Calls finish(tile, width) after
// each tile.
template <class Finish>
void solve_turns(const Workspace& workspace, float* field, int64_t size, int64_t stride, const Range& range,
                 const float* table, const int32_t* shorts, float scale, const Outcome& outcome,
                 int64_t first, int64_t last, const Finish& finish) {
  const int64_t tile = tile_columns(size);
  const Candidates candidates(range);
  for (int64_t at = first; at < last; at += tile) {
    const int64_t width = lesser(tile, last - at);
    gather_turns(workspace, field + at, size, stride, width, scale);
    for (int64_t i = 0; i < width; i += kBlock) {
      float *to = field + at + i, *spare = workspace.result[0];
      const bool whole = width - i >= kBlock;
      solve_block(workspace, workspace.column + i * size, size, candidates, table, shorts, outcome,
                  whole ? to : spare, whole ? stride : kBlock);
      if (whole) continue;
      for (int64_t k = 0; k < size; ++k)
        memcpy(to + k * stride, spare + k * kBlock, (width - i) * sizeof(float));
    }
    finish(at, width);
  }
}

// Passes along x and y over slices [first, last) of all items' slices. Writes the content of each slice.
template <class Label>
void label_slices(const Job& job, const Workspace& workspace, const Labelling& labelling, float* field,
                  uint8_t* contents, int64_t first, int64_t last) {
  const auto [depth, rows, size] = job.grid;
  const int64_t plane = job.grid.slice();
  for (int64_t slice = first; slice < last; ++slice) {
    const Tables& tables = job.of(slice / depth);
    const Label* labels = (const Label*)labelling.labels + slice * plane;
    float* to = field + slice * plane;
    for (int64_t y = 0; y < rows; ++y) {
      const Label *own = labels + y * size, *before = y == 0 ? own : own - size;
      find_turns(own, size, workspace.words + 1);
      const bool several = fill_row(workspace.words + 1, to + y * size, size, true, tables) == kMixed;
      workspace.rows[y] = several ? kSeveral : *own == *before ? kSame : kOther;
      finish_row(labelling, tables, own, before, to + y * size, size, several);
    }
    // Offset of the slice before, 0 if there is none.
    const int64_t before = slice % depth == 0 ? 0 : plane;
    const Range range = candidates(workspace.rows, rows);
    const bool several = workspace.rows[0] == kSeveral || range.low < rows - 1;
    contents[slice] = several ? kSeveral : labels[0] == *(labels - before) ? kSame : kOther;
    if (several && rows > 1) {
      solve_turns(workspace, to, rows, size, range, tables.y, tables.short_y, 1, {false, {0, 0}, 1}, 0, size,
                  [](int64_t, int64_t) {});
    }
    if (before == 0 && !labelling.closed) continue;
    for (int64_t y = 0; y < rows; ++y) {
      const float cap = labelling.closed && rows > 1 ? to_border(tables.y, y, rows) : INFINITY;
      finish_slice_row(labels + y * size, labels + y * size - before, to + y * size, size, cap);
    }
  }
}

// Pass along z over columns [first, last) of one item's plane, in place; ends with the job's outcome.
template <class Label>
void label_columns(const Job& job, const Workspace& workspace, const Labelling& labelling, int64_t item,
                   float* field, const uint8_t* contents, int64_t first, int64_t last) {
  const int64_t depth = job.grid.z, plane = job.grid.slice(), start = item * job.grid.voxels();
  const Tables& tables = job.of(item);
  const Label zeros[kLanes] = {};
  field += start;
  const auto finish_rows = [&](int64_t at, int64_t width, bool root_now) {
    for (int64_t k = 0; k < depth; ++k) {
      float cap = labelling.closed ? tables.thin_sq : INFINITY;
      if (labelling.closed && depth > 1) {
        const float border = to_border(tables.z, k, depth) * tables.after_z;
        if (border < cap) cap = border;
      }
      if (job.outcome.root && !root_now) cap = __builtin_sqrtf(cap);
      const Label* labels = (const Label*)labelling.labels + start + k * plane + at;
      float* row = field + k * plane + at;
      each_vector(labels, labels, width, [&](int64_t i, const Label* own, const Label*) {
        Floats v = magnitude(load_part(row, i, width));
        if (root_now) v *= all(tables.before_z * tables.after_z);
        v = min(v, all(cap));
        if (root_now && job.outcome.root) v = root(v);
        if (labelling.is_signed) v = flip(v, differ(own, zeros) & kSign);
        store_part(row, i, width, v);
      });
    }
  };
  const Range range = candidates(contents + item * depth, depth);
  if (range.low == depth - 1) {  // one slice, or one label: z adds nothing
    finish_rows(first, last - first, true);
    return;
  }
  solve_turns(workspace, field, depth, plane, range, tables.z, tables.short_z, tables.before_z,
              job.outcome_of(item), first, last, [&](int64_t at, int64_t width) {
                if (labelling.closed || labelling.is_signed) finish_rows(at, width, false);
              });
}

}  // namespace
}  // namespace SURFLOSS_ISA
}  // namespace surfloss
