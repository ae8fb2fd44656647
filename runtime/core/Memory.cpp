#include "Memory.h"

#include "seqpar/rt/AtomicFile.h"
#include "seqpar/rt/Error.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <limits>
#include <utility>
#include <vector>

namespace seqpar::rt {

using namespace program;

namespace {

constexpr uint64_t kUnknown = std::numeric_limits<uint64_t>::max();

uint64_t numberIn(const std::string &path) {
  std::ifstream file(path);
  uint64_t value;
  return file >> value ? value : kUnknown;
}

uint64_t machineMemory() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  uint64_t kibibytes;
  while (file >> key >> kibibytes && std::getline(file, unit))
    if (key == "MemAvailable:")
      return kibibytes * 1024;
  return kUnknown;
}

// Bytes of arena buffers that hold data in transit, in all slots; overlapping ones count once.
uint64_t communicationBytes(const Stage &stage) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const Buffer *buffer : *stage.buffers())
    for (int slot = 0; slot < (buffer->slot_bytes() ? stage.slots() : 1); ++slot)
      if (buffer->communication() && buffer->segment() == Segment::Arena) {
        uint64_t begin = buffer->offset() + static_cast<uint64_t>(slot) * buffer->slot_bytes();
        ranges.emplace_back(begin, begin + buffer->bytes());
      }
  std::sort(ranges.begin(), ranges.end());
  uint64_t total = 0, end = 0;
  for (auto [begin, next] : ranges) {
    total += next > std::max(begin, end) ? next - std::max(begin, end) : 0;
    end = std::max(end, next);
  }
  return total;
}

} // namespace

uint64_t availableMemory() {
  uint64_t available = machineMemory();
  uint64_t limit = numberIn("/sys/fs/cgroup/memory.max");
  uint64_t used = numberIn("/sys/fs/cgroup/memory.current");
  if (limit != kUnknown && used != kUnknown)
    available = std::min(available, limit - std::min(limit, used));
  return available;
}

void checkMemory(const ProgramFile &file, std::span<const RankRange> processes,
                 uint64_t available) {
  const Grid grid = file.grid();
  uint64_t needed = 0;
  int ranks = 0;
  for (auto [first, count] : processes) {
    ranks += count;
    for (int rank = first; rank < first + count; ++rank) {
      const Stage &stage = file.stage(grid.of(rank).pp);
      const int axes = stage.shard_axes(), members = grid.groupSize(axes);
      uint64_t bytes = ProgramFile::memoryBytes(stage);
      // Parameters are shared by a group whose ranks are all of the process; its first rank has
      // them.
      int head = grid.groupMember(rank, axes, 0), last = grid.groupMember(rank, axes, members - 1);
      if (rank != head && head >= first && last < first + count)
        bytes -= ProgramFile::sharedBytes(stage);
      if (__builtin_add_overflow(needed, bytes, &needed))
        needed = kUnknown;
    }
  }
  constexpr double kMiB = 1 << 20;
  if (needed > available)
    fail("not enough memory: the {} ranks on this machine need {:.1f} MiB, {:.1f} MiB are "
         "available; use fewer samples a micro-batch (--micro-batch) or fewer ranks",
         ranks, static_cast<double>(needed) / kMiB, static_cast<double>(available) / kMiB);
}

void checkDeviceMemory(const ProgramFile &file, std::span<const int> ranks, uint64_t available,
                       uint64_t overhead, const std::string &device) {
  // What grows with the samples of a micro-batch, and what does not.
  double growing = 0, fixed = 0;
  for (int rank : ranks) {
    const Stage &stage = file.stage(file.grid().of(rank).pp);
    double perBatch =
        static_cast<double>(stage.arena_bytes()) + static_cast<double>(stage.input_bytes());
    growing += perBatch;
    fixed += static_cast<double>(ProgramFile::memoryBytes(stage)) - perBatch +
             static_cast<double>(overhead);
  }
  double needed = growing + fixed, free = static_cast<double>(available);
  if (needed <= free)
    return;
  constexpr double kMiB = 1 << 20;
  auto samples = file.program().micro_batch();
  double most = growing > 0 ? (free - fixed) / growing * static_cast<double>(samples) : 0;
  std::string advice =
      most >= 1 ? fmt::format("about {} of the {} samples of a micro-batch would fit: compile with "
                              "a smaller --micro-batch",
                              static_cast<int64_t>(most), samples)
                : "not even one sample a micro-batch would fit: use more GPUs, or fewer ranks on "
                  "this one";
  fail("not enough memory on {}: by the plan the {} rank{} on it need {:.1f} MiB, {:.1f} MiB are "
       "free; {}",
       device, ranks.size(), ranks.size() == 1 ? "" : "s", needed / kMiB, free / kMiB, advice);
}

void writeMemoryReport(const std::string &path, const ProgramFile &file) {
  nlohmann::ordered_json report;
  report["ranks"] = nlohmann::ordered_json::array();
  for (int rank = 0; rank < file.grid().size(); ++rank) {
    int pp = file.grid().of(rank).pp;
    const Stage &stage = file.stage(pp);
    uint64_t communication = communicationBytes(stage);
    bool shared = ProgramFile::sharedBytes(stage) && file.grid().groupSize(stage.shard_axes()) > 1;
    report["ranks"].push_back({{"rank", rank},
                               {"stage", pp},
                               {"arena_bytes", stage.arena_bytes()},
                               {"arena_lower_bound_bytes", stage.arena_lower_bound()},
                               {"parameter_bytes", stage.parameter_bytes()},
                               {"parameters_shared", shared},
                               {"gradient_bytes", stage.gradient_bytes()},
                               {"optimizer_state_bytes", stage.optimizer_state_bytes()},
                               {"input_bytes", stage.input_bytes()},
                               {"activation_bytes", stage.arena_bytes() - communication},
                               {"communication_bytes", communication},
                               {"total_bytes", ProgramFile::memoryBytes(stage)}});
  }
  AtomicFile output(path);
  output.write(report.dump(1) + "\n");
  output.commit();
}

} // namespace seqpar::rt
