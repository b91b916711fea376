// Loads and stores, with all their checks.
//
// An invalid load returns a bit pattern and an invalid store is skipped, so that the emulating process
// survives.
#include <algorithm>
#include <cstring>

#include "machine.h"

namespace ptx {
namespace {

static_assert(sizeof(History) == 48, "as HISTORY_BYTES of library.py");

constexpr std::uint64_t kPoison = 0xbaadf00ddeadbeef;

// The host address of an access, and the state of its bytes.
struct Place {
  std::uint8_t* bytes = nullptr;  // null if the access is invalid
  std::uint8_t* initialised = nullptr;
  History* history = nullptr;
  bool read_only = false;
};

Place find_global(Block& block, std::uint64_t address, std::uint64_t size) {
  const Launch& launch = block.launch;
  for (std::int64_t i = 0; i < launch.region_count; ++i) {
    // Start with the region of the last access, which is most likely.
    const std::size_t which = (block.last_region + i) % launch.region_count;
    const Region& region = launch.regions[which];
    if (address < region.begin || address > region.end || size > region.end - address) continue;
    block.last_region = which;
    const std::uint64_t at = address - region.begin;
    return {reinterpret_cast<std::uint8_t*>(address), region.initialised ? region.initialised + at : nullptr,
            region.history ? region.history + at : nullptr, region.read_only != 0};
  }
  return {};
}

template <Space space>
Place find(Warp& warp, int lane, std::uint64_t address, std::uint64_t size) {
  Block& block = warp.block;
  if constexpr (space == kGlobal) return find_global(block, address, size);
  if constexpr (space == kShared) {
    if (address > block.shared.size() || size > block.shared.size() - address) return {};
    return {&block.shared[address], &block.shared_initialised[address],
            block.shared_history.empty() ? nullptr : &block.shared_history[address]};
  }
  const std::size_t bytes = block.program.local_bytes;
  if (address > bytes || size > bytes - address) return {};
  return {&warp.local[bytes * lane + address]};
}

// Whether nothing orders an earlier access before one of this thread now.
bool unordered(const Access& before, const Warp& warp, int lane) {
  if (before.block == Access::kNever) return false;
  if (before.block != warp.block.number + 1) return true;
  if (before.phase != warp.block.phase || before.thread == warp.thread(lane)) return false;
  return before.warp != warp.number || before.step == warp.step;
}

Access now(const Warp& warp, int lane) {
  return {warp.block.number + 1, warp.thread(lane), warp.number, warp.block.phase, warp.step};
}

// Adds a read to the earlier ones: all reads of the same step may race with a later write.
void add_read(Access& read, const Warp& warp, int lane) {
  Access added = now(warp, lane);
  if (read.block != Access::kNever && read.block != added.block) {
    added.block = Access::kSeveral;
  } else if (read.block == added.block && read.phase == added.phase) {
    if (read.warp != added.warp) {
      added.warp = added.thread = Access::kSeveral;
    } else if (read.step == added.step && read.thread != added.thread) {
      added.thread = Access::kSeveral;
    }
  }
  read = added;
}

void race(Warp& warp, int lane, Space space, std::uint64_t address, std::int64_t size, const Access& other) {
  warp.block.report(kRace, warp, lane, space, address, size, other.thread);
}

// Checks and records a read. Returns false if it is invalid.
bool check_read(Warp& warp, int lane, Space space, const Place& place, std::uint64_t address,
                std::int64_t size) {
  Block& block = warp.block;
  if (!place.bytes) {
    block.report(kOutOfBounds, warp, lane, space, address, size);
    return false;
  }
  if (place.initialised && std::memchr(place.initialised, 0, size))
    block.report(kUninitialised, warp, lane, space, address, size);
  if (!place.history) return true;
  for (std::int64_t i = 0; i < size; ++i) {
    if (unordered(place.history[i].write, warp, lane))
      race(warp, lane, space, address + i, size, place.history[i].write);
    add_read(place.history[i].read, warp, lane);
  }
  return true;
}

// Checks, records and executes a write. A write that changes nothing does not race, since compilers let
// several lanes store the same value.
void write(Warp& warp, int lane, Space space, const Place& place, std::uint64_t address,
           const std::uint8_t* bytes, std::int64_t size) {
  Block& block = warp.block;
  if (!place.bytes) return block.report(kOutOfBounds, warp, lane, space, address, size);
  if (place.read_only) return block.report(kReadOnly, warp, lane, space, address, size);
  for (std::int64_t i = 0; place.history && i < size; ++i) {
    if (place.bytes[i] == bytes[i] && (!place.initialised || place.initialised[i])) continue;
    History& history = place.history[i];
    for (const Access& other : {history.write, history.read})
      if (unordered(other, warp, lane)) race(warp, lane, space, address + i, size, other);
    history.write = now(warp, lane);
  }
  if (place.initialised) std::memset(place.initialised, 1, size);
  std::memcpy(place.bytes, bytes, size);
}

std::uint64_t address_of(Warp& warp, const Instruction& instruction, int lane) {
  const int place = instruction.operands[0];
  if (place < 0) return instruction.offset;
  return (instruction.wide_address ? warp.long_words(place)[lane] : warp.words(place)[lane]) +
         instruction.offset;
}

// Sets an element of a vector, extended to the width of its register.
void set_value(Warp& warp, const Instruction& instruction, int element, int lane, std::uint64_t value) {
  const int place = instruction.operands[1 + element];
  if (place < 0) return;
  if (instruction.sign_extended) {
    const int unused = 64 - 8 * instruction.bytes;
    value = static_cast<std::uint64_t>(static_cast<std::int64_t>(value << unused) >> unused);
  }
  if (instruction.wide_value)
    warp.long_words(place)[lane] = value;
  else
    warp.words(place)[lane] = static_cast<std::uint32_t>(value);
}

std::uint64_t value_of(Warp& warp, const Instruction& instruction, int element, int lane) {
  const int place = instruction.operands[1 + element];
  return instruction.wide_value ? warp.long_words(place)[lane] : warp.words(place)[lane];
}

// Counts the sectors of 32 bytes that a warp's request touches.
void add_traffic(Warp& warp, const Instruction& instruction, Mask active, std::uint64_t* traffic) {
  std::uint64_t sectors[kLanes * 2];
  const int size = instruction.count * instruction.bytes;
  int found = 0, lanes = 0;
  for (Mask left = active; left; left &= left - 1) {
    const std::uint64_t address = address_of(warp, instruction, __builtin_ctz(left));
    for (const std::uint64_t end : {address, address + size - 1})
      if (std::find(sectors, sectors + found, end / 32) == sectors + found) sectors[found++] = end / 32;
    ++lanes;
  }
  traffic[0] += found;
  traffic[1] += std::uint64_t(lanes) * size;
  traffic[2] += 1;
}

template <Space space>
void load(Warp& warp, const Instruction& instruction, Mask active) {
  const int bytes = instruction.bytes, size = instruction.count * bytes;
  if (space == kGlobal && warp.block.launch.track_traffic)
    add_traffic(warp, instruction, active, warp.block.launch.traffic);
  for (Mask left = active; left; left &= left - 1) {
    const int lane = __builtin_ctz(left);
    const std::uint64_t address = address_of(warp, instruction, lane);
    if (address % size) warp.block.report(kMisaligned, warp, lane, space, address, size);
    const Place place = find<space>(warp, lane, address, size);
    const bool readable = check_read(warp, lane, space, place, address, size);
    for (int element = 0; element < instruction.count; ++element) {
      std::uint64_t value = readable ? 0 : kPoison;
      if (readable) std::memcpy(&value, place.bytes + element * bytes, bytes);
      set_value(warp, instruction, element, lane, value);
    }
  }
}

template <Space space>
void store(Warp& warp, const Instruction& instruction, Mask active) {
  const int bytes = instruction.bytes, size = instruction.count * bytes;
  if (space == kGlobal && warp.block.launch.track_traffic)
    add_traffic(warp, instruction, active, warp.block.launch.traffic + 3);
  for (Mask left = active; left; left &= left - 1) {
    const int lane = __builtin_ctz(left);
    const std::uint64_t address = address_of(warp, instruction, lane);
    if (address % size) warp.block.report(kMisaligned, warp, lane, space, address, size);
    std::uint8_t values[64];
    for (int element = 0; element < instruction.count; ++element) {
      const std::uint64_t value = value_of(warp, instruction, element, lane);
      std::memcpy(values + element * bytes, &value, bytes);
    }
    write(warp, lane, space, find<space>(warp, lane, address, size), address, values, size);
  }
}

void load_parameter(Warp& warp, const Instruction& instruction, Mask active) {
  for (Mask left = active; left; left &= left - 1) {
    for (int element = 0; element < instruction.count; ++element) {
      std::uint64_t value = 0;
      const std::uint8_t* from = warp.block.launch.parameters + instruction.offset;
      std::memcpy(&value, from + element * instruction.bytes, instruction.bytes);
      set_value(warp, instruction, element, __builtin_ctz(left), value);
    }
  }
}

// 8x8 matrices of 16-bit values. Lane 8 q + r gives the address of row r of matrix q. Every lane holds two
// values of each matrix: neighbors in a row, or if transposed in a column.
template <bool stores, bool transposed>
void exchange_matrices(Warp& warp, const Instruction& instruction, Mask active) {
  Block& block = warp.block;
  if (active != ~Mask{0}) block.report(kMissingLanes, warp, 0, kShared, 0, 0, active);
  for (int matrix = 0; matrix < instruction.count; ++matrix) {
    std::uint32_t* words = warp.words(instruction.operands[1 + matrix]);
    for (int part = 0; part < 2 * kLanes; ++part) {
      const int lane = part / 2, half = part % 2;
      const int row = transposed ? 2 * (lane % 4) + half : lane / 4;
      const int column = transposed ? lane / 4 : 2 * (lane % 4) + half;
      const int owner = 8 * matrix + row;
      const std::uint64_t begin = address_of(warp, instruction, owner), address = begin + 2 * column;
      if (begin % 16) block.report(kMisaligned, warp, owner, kShared, begin, 16);
      const Place place = find<kShared>(warp, owner, address, 2);
      std::uint16_t value = static_cast<std::uint16_t>(words[lane] >> 16 * half);
      if (stores) {
        write(warp, owner, kShared, place, address, reinterpret_cast<std::uint8_t*>(&value), 2);
        continue;
      }
      value = static_cast<std::uint16_t>(kPoison);
      if (check_read(warp, owner, kShared, place, address, 2)) std::memcpy(&value, place.bytes, 2);
      words[lane] = (words[lane] & ~(0xffffu << 16 * half)) | std::uint32_t{value} << 16 * half;
    }
  }
}

}  // namespace

// The assembler handles their operands, so they have no signature.
void add_memory() {
  add_known("ld.global", {load<kGlobal>, ""});
  add_known("ld.shared", {load<kShared>, ""});
  add_known("ld.local", {load<kLocal>, ""});
  add_known("ld.param", {load_parameter, ""});
  add_known("st.global", {store<kGlobal>, ""});
  add_known("st.shared", {store<kShared>, ""});
  add_known("st.local", {store<kLocal>, ""});
  add_known("ldmatrix", {exchange_matrices<false, false>, ""});
  add_known("ldmatrix.trans", {exchange_matrices<false, true>, ""});
  add_known("stmatrix", {exchange_matrices<true, false>, ""});
  add_known("stmatrix.trans", {exchange_matrices<true, true>, ""});
}

}  // namespace ptx
