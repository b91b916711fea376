// Warps with divergent lanes, blocks with barriers, and the interface to Python.
//
// When the lanes of a warp diverge they form groups. The group at the lowest instruction runs first, until it
// reaches the instruction of another group; then the two merge. Compilers order code such that groups
// reconverge there.
#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>

#include "machine.h"

namespace ptx {

namespace {

std::map<std::string, Known>& table() {
  static std::map<std::string, Known> known;
  return known;
}

// In the order of `SPECIALS` in assembler.py.
std::uint32_t special(int which, const Launch& launch, std::int64_t block, std::uint32_t thread) {
  const auto& [x, y, z] = launch.threads;
  const std::int64_t across = launch.grid[0], down = launch.grid[1];
  switch (which) {
    case 0:
      return thread % x;
    case 1:
      return thread / x % y;
    case 2:
      return thread / x / y;
    case 3:
    case 4:
    case 5:
      return launch.threads[which - 3];
    case 6:
      return static_cast<std::uint32_t>(block % across);
    case 7:
      return static_cast<std::uint32_t>(block / across % down);
    case 8:
      return static_cast<std::uint32_t>(block / across / down);
    case 9:
    case 10:
    case 11:
      return launch.grid[which - 9];
    case 12:
      return thread % kLanes;
    default:
      return thread / kLanes;
  }
}

// Releases a barrier at which all unfinished warps wait, and completes its reduction.
void release(std::vector<std::unique_ptr<Warp>>& warps, const Program& program) {
  std::vector<Warp*> waiting;
  for (auto& warp : warps)
    if (!warp->ended()) waiting.push_back(warp.get());
  const std::uint32_t pc = waiting[0]->groups[0].pc;
  for (Warp* warp : waiting) {
    warp->pc = warp->groups[0].pc;
    if (warp->pc != pc) warp->block.report(kDivergentBarrier, *warp, 0);
  }
  const Instruction& barrier = program.code[pc];
  if (barrier.count) {  // a reduction: 1 for "or", 2 for "and"
    bool any = false, all = true;
    for (Warp* warp : waiting) {
      const Mask lanes = warp->groups[0].lanes, set = warp->predicates[barrier.operands[1]] & lanes;
      any = any || set;
      all = all && set == lanes;
    }
    for (Warp* warp : waiting) {
      const Mask lanes = warp->groups[0].lanes;
      Mask& answer = warp->predicates[barrier.operands[0]];
      answer = (answer & ~lanes) | ((barrier.count == 1 ? any : all) ? lanes : 0);
    }
  }
  for (Warp* warp : waiting) {
    warp->groups[0].state = Group::kRuns;
    ++warp->groups[0].pc;
  }
  ++waiting[0]->block.phase;
}

void run_launch(const Program& program, Launch& launch) {
  const std::uint32_t threads = launch.threads[0] * launch.threads[1] * launch.threads[2];
  Block block{launch, program, 0, 0, {}, {}, {}};
  std::vector<std::unique_ptr<Warp>> warps;
  for (std::uint32_t first = 0; first < threads; first += kLanes) {
    warps.push_back(std::unique_ptr<Warp>(new Warp{block}));
    warps.back()->number = static_cast<int>(first / kLanes);
  }
  if (launch.warps_backwards) std::reverse(warps.begin(), warps.end());
  for (std::int64_t n = 0; n < launch.block_count && launch.budget > 0; ++n) {
    block.number = launch.blocks[n];
    block.phase = 0;
    block.shared.assign(launch.shared_bytes, 0xcd);
    block.shared_initialised.assign(launch.shared_bytes, 0);
    if (launch.track_races) block.shared_history.assign(launch.shared_bytes, History());
    for (auto& warp : warps) {
      const std::uint32_t left = threads - warp->number * kLanes;
      warp->start(left < kLanes ? (Mask{1} << left) - 1 : ~Mask{0});
    }
    for (;;) {
      bool waits = false;
      for (auto& warp : warps) {
        if (!warp->ended()) warp->run();
        waits = waits || !warp->ended();
      }
      if (!waits) break;
      release(warps, program);
    }
  }
}

}  // namespace

const Known* find_known(const std::string& name) {
  static const bool filled = [] {
    add_integers();
    add_floats();
    add_memory();
    add_exchanges();
    const Handler nothing = [](Warp&, const Instruction&, Mask) {};
    add_known("bra/0", {nothing, "", Kind::kBranch});
    add_known("exit/0", {nothing, "", Kind::kExit});
    const auto trap = [](Warp& w, const Instruction&, Mask) { w.block.report(kTrap, w, 0); };
    add_known("trap/0", {trap, "", Kind::kExit});
    add_known("bar.sync/0", {nothing, "", Kind::kBarrier});
    add_known("bar.red/2", {nothing, "pp", Kind::kBarrier});
    return true;
  }();
  static_cast<void>(filled);
  const auto found = table().find(name);
  return found == table().end() ? nullptr : &found->second;
}

void add_known(const std::string& name, Known known) {
  if (!table().emplace(name, std::move(known)).second) throw std::logic_error(name + " twice");
}

// Stores the first fault of each kind per instruction, and counts the others.
void Block::report(Fault fault, const Warp& warp, int lane, Space space, std::uint64_t address,
                   std::int64_t size, std::int64_t other) {
  const auto end = launch.reports + launch.report_count;
  const auto same = std::find_if(launch.reports, end, [&](const Report& report) {
    return report.fault == fault && report.instruction == static_cast<std::int32_t>(warp.pc);
  });
  if (same != end) {
    ++same->count;
  } else if (launch.report_count < launch.report_limit) {
    launch.reports[launch.report_count++] = {
        fault,  static_cast<std::int32_t>(warp.pc), space, warp.thread(lane),
        number, static_cast<std::int64_t>(address), size,  1,
        other};
  }
}

void Warp::start(Mask lanes) {
  const Program& program = block.program;
  registers = program.registers;
  predicates = program.predicates;
  local.assign(program.local_bytes * kLanes, 0xcd);
  for (const auto& [which, place] : program.specials)
    for (int lane = 0; lane < kLanes; ++lane)
      words(place)[lane] = special(which, block.launch, block.number, thread(lane));
  groups.assign(1, Group{0, lanes});
  exited = ~lanes;
  step = 0;
  released = false;
}

void Warp::run() {
  Group group;
  while (next(group)) advance(group);
}

// Removes from the list the next group to run, merged with all groups at the same instruction.
bool Warp::next(Group& group) {
  if (groups.empty()) return false;
  if (!others_run()) {
    const bool wait = std::any_of(groups.begin(), groups.end(),
                                  [](const Group& g) { return g.state == Group::kWaitsForLanes; });
    if (!wait) {
      for (const Group& other : groups) {
        if (other.pc == groups[0].pc) continue;
        pc = other.pc;
        block.report(kDivergentBarrier, *this, 0);
        groups.clear();
        return false;
      }
      for (const Group& other : groups) groups[0].lanes |= other.lanes;
      groups.resize(1);
      return false;
    }
    released = true;
    for (Group& other : groups)
      if (other.state == Group::kWaitsForLanes) other.state = Group::kRuns;
  }
  group = {~std::uint32_t{0}, 0};
  for (const Group& other : groups)
    if (other.state == Group::kRuns) group.pc = std::min(group.pc, other.pc);
  const auto here = [&](const Group& other) { return other.pc == group.pc; };
  for (const Group& other : groups)
    if (here(other)) group.lanes |= other.lanes;
  groups.erase(std::remove_if(groups.begin(), groups.end(), here), groups.end());
  return true;
}

// Runs the group until it reaches another group, has to wait, or ends.
void Warp::advance(Group group) {
  Launch& launch = block.launch;
  const Instruction* code = block.program.code.data();
  const auto next_other = [&] {
    std::uint32_t found = ~std::uint32_t{0};
    for (const Group& other : groups)
      if (other.pc >= group.pc) found = std::min(found, other.pc);
    return found;
  };
  std::uint32_t limit = next_other();
  while (group.pc < limit) {
    const Instruction& instruction = code[group.pc];
    pc = group.pc;
    Mask active = group.lanes;
    if (instruction.guard >= 0)
      active &= predicates[instruction.guard] ^ (instruction.guard_negated ? ~Mask{0} : 0);
    ++launch.executed[pc];
    launch.active_lanes[pc] += __builtin_popcount(active);
    switch (instruction.kind) {
      case Kind::kPlain:
        if (active) instruction.run(*this, instruction, active);
        break;
      case Kind::kTogether:
        if (active) {
          const Mask members = words(instruction.operands[instruction.members])[__builtin_ctz(active)];
          if ((members & ~active & ~exited) && !released && others_run()) {
            group.state = Group::kWaitsForLanes;
            groups.push_back(group);
            return;
          }
          released = false;
          if (members != active)
            block.report(kMissingLanes, *this, __builtin_ctz(active), kGlobal, 0, 0, members);
          instruction.run(*this, instruction, active);
        }
        break;
      case Kind::kBranch: {
        const auto target = static_cast<std::uint32_t>(instruction.target);
        if (--launch.budget <= 0) {
          block.report(kRunaway, *this, 0);
          groups.clear();
          return;
        }
        if (active == group.lanes) {
          group.pc = target;
          limit = next_other();
          continue;
        }
        if (active) {
          groups.push_back({target, active});
          group.lanes &= ~active;
          limit = std::min(limit, target);
        }
        break;
      }
      case Kind::kExit:
        instruction.run(*this, instruction, active);
        exited |= active;
        group.lanes &= ~active;
        if (!group.lanes) return;
        break;
      case Kind::kBarrier:
        if (active != group.lanes) block.report(kDivergentBarrier, *this, 0);
        group.state = Group::kAtBarrier;
        groups.push_back(group);
        return;
    }
    ++group.pc;
  }
  groups.push_back(group);
}

bool Warp::others_run() const {
  return std::any_of(groups.begin(), groups.end(), [](const Group& g) { return g.state == Group::kRuns; });
}

}  // namespace ptx

extern "C" {

// The signature of an instruction, or null if it is unknown.
const char* ptx_signature(const char* name) {
  const ptx::Known* known = ptx::find_known(name);
  return known ? known->signature.c_str() : nullptr;
}

// `names` must have passed `ptx_signature`. Each one ends with a line feed.
void* ptx_program(const char* names, const ptx::Row* rows, std::int64_t row_count,
                  const std::uint32_t* registers, std::int64_t place_count, const ptx::Mask* predicates,
                  std::int64_t predicate_count, const std::int32_t* specials, std::int64_t special_count,
                  std::int64_t local_bytes) {
  std::vector<const ptx::Known*> known;
  for (const char* end; (end = std::strchr(names, '\n')); names = end + 1)
    known.push_back(ptx::find_known(std::string(names, end)));
  auto program = std::make_unique<ptx::Program>();
  for (std::int64_t i = 0; i < row_count; ++i) {
    ptx::Instruction instruction;
    static_cast<ptx::Row&>(instruction) = rows[i];
    const ptx::Known& meaning = *known[rows[i].name];
    instruction.run = meaning.run;
    instruction.kind = meaning.kind;
    instruction.members = meaning.members;
    program->code.push_back(instruction);
  }
  program->registers.assign(registers, registers + place_count * ptx::kLanes);
  program->predicates.assign(predicates, predicates + predicate_count);
  for (std::int64_t i = 0; i < special_count; ++i)
    program->specials.emplace_back(specials[2 * i], specials[2 * i + 1]);
  program->local_bytes = static_cast<std::size_t>(local_bytes);
  return program.release();
}

void ptx_free(void* program) { delete static_cast<ptx::Program*>(program); }

void ptx_run(const void* program, ptx::Launch* launch) {
  ptx::run_launch(*static_cast<const ptx::Program*>(program), *launch);
}
}
