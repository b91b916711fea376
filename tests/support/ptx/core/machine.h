// The machine that executes PTX: warps of 32 lanes, their registers, the memory of a launch, and its faults.
//
// A register has one value per lane. The register file consists of places of 32 words of 32 bits. Types of up
// to 32 bits take one place, 64-bit types two. Predicates are masks, one bit per lane. Constants and special
// registers are ordinary registers, filled before a block starts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ptx {

constexpr int kLanes = 32;
constexpr int kOperands = 10;
using Mask = std::uint32_t;  // one bit per lane

struct Warp;
struct Instruction;
using Handler = void (*)(Warp&, const Instruction&, Mask active);

enum class Kind {
  kPlain,     // the handler runs for the active lanes
  kTogether,  // as kPlain, once all lanes in the mask `members` have arrived
  kBranch,
  kExit,
  kBarrier,  // of the block
};

// One instruction as the assembler writes it; `Row` in library.py has the same fields.
struct Row {
  std::int32_t name;   // index in the program's list of names
  std::int32_t guard;  // a predicate, or -1
  std::int32_t guard_negated;
  std::int32_t target;         // branch: index of an instruction
  std::int32_t count;          // access: elements per lane
  std::int32_t bytes;          // access: bytes per element
  std::int32_t sign_extended;  // load
  std::int32_t wide_value;     // whether the registers of the loaded or stored values have 64 bits
  std::int32_t wide_address;
  std::int32_t operands[kOperands];  // places, destinations first; -1 for none
  std::int64_t offset;               // access: added to the address; parameter: the address
};

struct Instruction : Row {
  Handler run = nullptr;
  Kind kind = Kind::kPlain;
  int members = -1;  // index of the operand with the mask of lanes
};

// The definition of an instruction.
struct Known {
  Handler run = nullptr;
  std::string signature;  // per operand: 4 or 8 (bytes), or p for a predicate
  Kind kind = Kind::kPlain;
  int members = -1;
};

// The table of all instructions, by full name and number of operands ("add.s32/3"). Names must be unique.
const Known* find_known(const std::string& name);
void add_known(const std::string& name, Known known);
void add_integers();
void add_floats();
void add_memory();
void add_exchanges();

// `FAULTS` in library.py has the names, in this order.
enum Fault {
  kOutOfBounds,
  kMisaligned,
  kUninitialised,
  kReadOnly,
  kRace,
  kMissingLanes,  // the lanes that execute an instruction differ from those in its mask
  kInactiveLane,  // a shuffle reads from a lane that does not take part
  kDivergentBarrier,
  kRunaway,
  kTrap,
};

enum Space : std::int32_t { kGlobal, kShared, kLocal };

struct Report {
  std::int32_t fault, instruction, space, thread;
  std::int64_t block, address, size, count;
  std::int64_t other;  // the thread of the other access of a race, or a mask of lanes; or -1
};

// When an access happened. Only a barrier of the block orders accesses of two warps, only a barrier of the
// warp orders accesses of its lanes, and nothing orders accesses of two blocks.
struct Access {
  static constexpr std::int64_t kNever = 0, kSeveral = -1;
  std::int64_t block = kNever;  // its number from 1 on, or kSeveral
  std::int32_t thread = 0;      // or kSeveral
  std::int32_t warp = 0;        // or kSeveral
  std::uint32_t phase = 0;      // number of barriers of the block before it
  std::uint32_t step = 0;       // number of barriers of the warp before it
};

// The last write and the last reads of a byte; all zeros if there are none.
struct History {
  Access write, read;
};

// A range of valid addresses; `Region` in library.py.
struct Region {
  std::uint64_t begin, end;
  std::uint8_t* initialised;  // flag per byte, or null if all bytes are
  History* history;           // per byte, or null if races are not tracked
  std::int32_t read_only;
};

// The arguments and the results of a launch; `Launch` in library.py.
struct Launch {
  std::uint32_t grid[3], threads[3];
  std::uint32_t shared_bytes;
  std::uint32_t warps_backwards, track_races, track_traffic;
  std::int64_t budget;  // branches, after which the launch is a runaway
  const std::uint8_t* parameters;
  const std::int64_t* blocks;  // numbers of the blocks to run, in this order
  std::int64_t block_count;
  Region* regions;
  std::int64_t region_count;
  std::uint64_t *executed, *active_lanes;  // per instruction: warps, and lanes of these
  std::uint64_t* traffic;  // of global memory: sectors, bytes and requests of loads, then of stores
  Report* reports;
  std::int64_t report_limit, report_count;
};

struct Program {
  std::vector<Instruction> code;
  std::vector<std::uint32_t> registers;  // initial values, 32 words per place
  std::vector<Mask> predicates{};
  std::vector<std::pair<int, int>> specials;  // number of a special register, and its place
  std::size_t local_bytes = 0;                // per thread
};

struct Block {
  Launch& launch;
  const Program& program;
  std::int64_t number = 0;
  std::uint32_t phase = 0;
  std::vector<std::uint8_t> shared, shared_initialised;
  std::vector<History> shared_history;
  std::size_t last_region = 0;

  void report(Fault fault, const Warp& warp, int lane, Space space = kGlobal, std::uint64_t address = 0,
              std::int64_t size = 0, std::int64_t other = -1);
};

// Lanes at the same instruction.
struct Group {
  enum State { kRuns, kWaitsForLanes, kAtBarrier };
  std::uint32_t pc;
  Mask lanes;
  State state = kRuns;
};

struct Warp {
  Block& block;
  int number = 0;
  std::vector<std::uint32_t> registers{};
  std::vector<Mask> predicates{};
  std::vector<std::uint8_t> local{};
  std::vector<Group> groups{};
  Mask exited = 0;
  std::uint32_t pc = 0;    // current instruction, for reports
  std::uint32_t step = 0;  // barriers of the warp so far
  bool released = false;   // whether groups continue without the lanes that they waited for

  std::uint32_t* words(int place) { return registers.data() + std::size_t{kLanes} * place; }
  std::uint64_t* long_words(int place) { return reinterpret_cast<std::uint64_t*>(words(place)); }

  void start(Mask lanes);
  // Runs until all lanes have exited or wait at a barrier of the block.
  void run();
  bool ended() const { return groups.empty(); }
  int thread(int lane) const { return number * kLanes + lane; }

 private:
  bool next(Group& group);
  void advance(Group group);
  bool others_run() const;
};

}  // namespace ptx
