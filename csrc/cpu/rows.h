// Pass along x: the signed squared distance, within its row, of every voxel to the other label.
#pragma once

#include <math.h>

#include "job.h"
#include "simd.h"

namespace surfloss {
namespace SURFLOSS_ISA {

// Rows with less than one boundary in this many voxels are written run by run.
constexpr int64_t kSparse = 12;

// Fills voxels [first, last) of the run [from, to) of equal labels, which ends at boundaries or at the border
// of the row. May write up to one vector beyond `last`.
inline void fill_run(float* row, int64_t first, int64_t last, int64_t from, int64_t to, int64_t size,
                     Ints keep, Ints sign, const Tables& tables) {
  const float* up = tables.up + 1 - from;
  const float* down = tables.down + size - to;
  for (int64_t i = first; i < last; i += kLanes) {
    Floats v = to == size ? load(up + i) : load(down + i);
    if (from > 0) v = min(v, load(up + i));
    v = flip((Floats)((Ints)v & keep), sign);
    if (i + kLanes <= size) {
      store(row + i, v);
    } else {
      memcpy(row + i, &v, (size - i) * sizeof(float));
    }
  }
}

// Per label, the masks that keep or zero its distances and set their sign.
struct Labels {
  Ints keep[2], sign[2];
  explicit Labels(bool two_sided)
      : keep{two_sided ? all(-1) : all(0), all(-1)}, sign{two_sided ? all(kSign) : all(0), all(0)} {}
};

// Fills a row with few boundaries run by run. A run may write beyond its end; the next run overwrites that.
inline void fill_sparse(const uint64_t* words, float* row, int64_t size, const Labels& labels,
                        const Tables& tables) {
  bool label = words[0] & 1;
  int64_t from = 0;
  for (int64_t at = 0; at < size; at += 64) {
    const uint64_t word = words[at / 64];
    for (uint64_t changes = word ^ (word << 1 | (uint64_t)label); changes; changes &= changes - 1) {
      const int64_t to = at + __builtin_ctzll(changes);
      fill_run(row, from, to, from, to, size, labels.keep[label], labels.sign[label], tables);
      from = to;
      label = !label;
    }
  }
  fill_run(row, from, size, from, size, size, labels.keep[label], labels.sign[label], tables);
}

// Fills a row with many boundaries 64 voxels at a time. A word marks the voxels within d steps of a boundary;
// two shifts give the word for d + 1. Voxels further than kNear steps are filled as the inside of a run.
inline void fill_dense(const uint64_t* words, float* row, int64_t size, bool two_sided, const Labels& labels,
                       const Tables& tables) {
  typedef unsigned __int128 Window;  // the word, with 32 more voxels on either side
  constexpr int kNear = 8;
  int64_t from = -1;  // first far voxel of the current run, or -1
  const auto finish = [&](int64_t last) {
    const int64_t start = from == 0 ? 0 : from - kNear, end = last == size ? size : last + kNear;
    const bool label = words[from / 64] >> (from % 64) & 1;
    fill_run(row, from, last, start, end, size, labels.keep[label], labels.sign[label], tables);
    from = -1;
  };
  for (int64_t at = 0; at < size; at += 64) {
    const uint64_t* word = words + at / 64;
    const Window window = (Window)word[1] << 96 | (Window)word[0] << 32 | word[-1] >> 32;
    const Window edges = window ^ window >> 1;
    Window near = edges | edges << 1;
    uint64_t within[kNear];
    for (int d = 0; d < kNear; ++d) {
      within[d] = (uint64_t)(near >> 32);
      near |= near << 1 | near >> 1;
    }

    const int64_t count = size - at < 64 ? size - at : 64;
    const uint64_t valid = ~(uint64_t)0 >> (64 - count), far = ~within[kNear - 1] & valid;
    uint64_t ends = far ^ (far << 1 | (uint64_t)(from >= 0));
    for (; ends; ends &= ends - 1) {
      const int64_t place = at + __builtin_ctzll(ends);
      if (place >= size) break;
      if (from < 0) {
        from = place;
      } else {
        finish(place);
      }
    }

    for (int64_t i = 0; i < count; i += kLanes) {
      Floats v = all(tables.up[kNear]);
      for (int d = kNear - 1; d > 0; --d) v = select((uint32_t)(within[d - 1] >> i), all(tables.up[d]), v);
      v = select((uint32_t)(*word >> i), v, two_sided ? -v : all(0.0f));
      float* to = row + at + i;
      if (at + i + kLanes <= size) {
        store(to, select((uint32_t)(within[kNear - 1] >> i), v, load(to)));
      } else {
        for (int64_t j = 0; at + i + j < size; ++j) {
          if (within[kNear - 1] >> (i + j) & 1) to[j] = v[j];
        }
      }
    }
  }
  if (from >= 0) finish(size);
}

// Writes the distances of a row from its labels as bits, padded on either side by a word that repeats the
// label next to it. A row with a single label is not written.
inline State fill_row(const uint64_t* words, float* row, int64_t size, bool two_sided, const Tables& tables) {
  int64_t boundaries = 0;
  for (int64_t i = 0; i < (size + 63) / 64; ++i) {
    boundaries += __builtin_popcountll(words[i] ^ (words[i] << 1 | words[i - 1] >> 63));
  }
  if (boundaries == 0) return words[0] & 1 ? kForeground : kBackground;
  const Labels labels(two_sided);
  if (boundaries * kSparse < size) {
    fill_sparse(words, row, size, labels, tables);
  } else {
    fill_dense(words, row, size, two_sided, labels, tables);
  }
  return kMixed;
}

// Writes the labels of a row of values as bits. `words` has room for one more word on either side.
template <class Value, class Foreground>
inline void row_bits(const Value* values, Foreground foreground, int64_t size, uint64_t* words) {
  const int64_t count = (size + 63) / 64;
  for (int64_t i = 0; i < size / 64; ++i) words[i] = bits(values + 64 * i, foreground);
  if (size % 64) {
    Value tail[64] = {};
    memcpy(tail, values + size / 64 * 64, size % 64 * sizeof(Value));
    // The border of the row is not a boundary, so repeat the last label beyond it.
    const uint64_t word = bits(tail, foreground), beyond = ~(uint64_t)0 << size % 64;
    words[count - 1] = word >> (size % 64 - 1) & 1 ? word | beyond : word & ~beyond;
  }
  words[-1] = words[0] & 1 ? ~(uint64_t)0 : 0;
  words[count] = words[count - 1] >> 63 ? ~(uint64_t)0 : 0;
}

// Writes the distances of a row of values.
template <class Value, class Foreground>
State scan_row(const Value* values, Foreground foreground, float* row, int64_t size, bool two_sided,
               const Tables& tables, uint64_t* words) {
  row_bits(values, foreground, size, words);
  return fill_row(words, row, size, two_sided, tables);
}

// The state of several rows or slices together.
inline State common_state(const uint8_t* states, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    if (states[i] == kMixed || states[i] != states[0]) return kMixed;
  }
  return (State)states[0];
}

// The field value of voxels in a row or slice with a single label.
inline float uniform_value(State state, bool two_sided) {
  if (state == kForeground) return INFINITY;
  return two_sided ? -INFINITY : 0.0f;
}

}  // namespace SURFLOSS_ISA
}  // namespace surfloss
