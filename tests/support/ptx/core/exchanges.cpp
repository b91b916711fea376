// Exchanges between the lanes of a warp: shuffles, votes, reductions, and the barrier of a warp.
#include "machine.h"

namespace ptx {
namespace {

void set(Warp& warp, int place, Mask active, std::uint32_t value) {
  for (int lane = 0; lane < kLanes; ++lane)
    if (active >> lane & 1) warp.words(place)[lane] = value;
}

void set_predicate(Warp& warp, int place, Mask active, Mask value) {
  if (place < 0) return;
  Mask& answer = warp.predicates[place];
  answer = (answer & ~active) | (value & active);
}

enum Way { kUp, kDown, kButterfly, kIndex };

// Operands: result, whether it comes from a valid lane, source value, lane, clamp and segments, members.
template <Way way>
void shuffle(Warp& warp, const Instruction& instruction, Mask active) {
  const std::int32_t* operands = instruction.operands;
  std::uint32_t results[kLanes];
  Mask inside = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    if (!(active >> lane & 1)) continue;
    const int by = warp.words(operands[3])[lane] & 31;
    const int clamp = warp.words(operands[4])[lane] & 31, segment = warp.words(operands[4])[lane] >> 8 & 31;
    const int first = lane & segment, last = first | (clamp & ~segment);
    int from = way == kUp          ? lane - by
               : way == kDown      ? lane + by
               : way == kButterfly ? lane ^ by
                                   : first | (by & ~segment);
    const bool is_inside = way == kUp ? from >= last : from <= last;
    if (!is_inside) from = lane;
    if (!(active >> from & 1)) warp.block.report(kInactiveLane, warp, lane, kGlobal, 0, 0, from);
    results[lane] = warp.words(operands[2])[from];
    inside |= Mask{is_inside} << lane;
  }
  for (int lane = 0; lane < kLanes; ++lane)
    if (active >> lane & 1) warp.words(operands[0])[lane] = results[lane];
  set_predicate(warp, operands[1], active, inside);
}

void ballot(Warp& warp, const Instruction& instruction, Mask active) {
  set(warp, instruction.operands[0], active, warp.predicates[instruction.operands[1]] & active);
}

void any(Warp& warp, const Instruction& instruction, Mask active) {
  const bool found = warp.predicates[instruction.operands[1]] & active;
  set_predicate(warp, instruction.operands[0], active, found ? ~Mask{0} : 0);
}

void all(Warp& warp, const Instruction& instruction, Mask active) {
  const bool every = (warp.predicates[instruction.operands[1]] & active) == active;
  set_predicate(warp, instruction.operands[0], active, every ? ~Mask{0} : 0);
}

// The reduction of two values.
template <char operation, class T>
T combined(T a, T b) {
  if (operation == '+') return a + b;
  if (operation == '<') return a < b ? a : b;
  if (operation == '>') return a > b ? a : b;
  if constexpr (sizeof(T(0) + T(0)) == 4 && static_cast<T>(0.5) == T(0)) {
    if (operation == '&') return a & b;
    if (operation == '|') return a | b;
    if (operation == '^') return a ^ b;
  }
  return a;
}

template <char operation, class T>
void reduce(Warp& warp, const Instruction& instruction, Mask active) {
  const T* values = reinterpret_cast<const T*>(warp.words(instruction.operands[1]));
  bool begun = false;
  T result{};
  for (int lane = 0; lane < kLanes; ++lane) {
    const T value = values[lane];
    if (!(active >> lane & 1) || value != value) continue;  // NaN loses to any number
    result = begun ? combined<operation>(result, value) : value;
    begun = true;
  }
  if (!begun) result = values[__builtin_ctz(active)];
  std::uint32_t word;
  __builtin_memcpy(&word, &result, sizeof word);
  set(warp, instruction.operands[0], active, word);
}

template <class T>
void add_reductions(const std::string& type) {
  add_known("redux.sync.add" + type + "/3", {reduce<'+', T>, "444", Kind::kTogether, 2});
  add_known("redux.sync.min" + type + "/3", {reduce<'<', T>, "444", Kind::kTogether, 2});
  add_known("redux.sync.max" + type + "/3", {reduce<'>', T>, "444", Kind::kTogether, 2});
}

void add_shuffle(const std::string& way, Handler handler) {
  add_known("shfl.sync." + way + ".b32/6", {handler, "4p4444", Kind::kTogether, 5});
}

}  // namespace

void add_exchanges() {
  add_shuffle("up", shuffle<kUp>);
  add_shuffle("down", shuffle<kDown>);
  add_shuffle("bfly", shuffle<kButterfly>);
  add_shuffle("idx", shuffle<kIndex>);
  add_known("vote.sync.ballot.b32/3", {ballot, "4p4", Kind::kTogether, 2});
  add_known("vote.sync.any.pred/3", {any, "pp4", Kind::kTogether, 2});
  add_known("vote.sync.all.pred/3", {all, "pp4", Kind::kTogether, 2});
  add_reductions<std::int32_t>(".s32");
  add_reductions<std::uint32_t>(".u32");
  add_known("redux.sync.min.f32/3", {reduce<'<', float>, "444", Kind::kTogether, 2});
  add_known("redux.sync.max.f32/3", {reduce<'>', float>, "444", Kind::kTogether, 2});
  add_known("redux.sync.and.b32/3", {reduce<'&', std::uint32_t>, "444", Kind::kTogether, 2});
  add_known("redux.sync.or.b32/3", {reduce<'|', std::uint32_t>, "444", Kind::kTogether, 2});
  add_known("redux.sync.xor.b32/3", {reduce<'^', std::uint32_t>, "444", Kind::kTogether, 2});
  const Handler sync = [](Warp& warp, const Instruction&, Mask) { ++warp.step; };
  add_known("bar.warp.sync/1", {sync, "4", Kind::kTogether, 0});
  const Handler active = [](Warp& warp, const Instruction& i, Mask mask) {
    set(warp, i.operands[0], mask, mask);
  };
  add_known("activemask.b32/1", {active, "4"});
}

}  // namespace ptx
