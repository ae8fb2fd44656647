//===- Memory.h - the memory a run needs ------------------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/ProgramFile.h"

#include <cstdint>
#include <span>
#include <string>

namespace seqpar::rt {

/// Bytes this process may still use: what the machine has available, less what a control group
/// forbids. The largest number there is when unknown.
uint64_t availableMemory();

/// Ranks [first, first + count), those of one process.
struct RankRange {
  int first, count;
};
/// Throws Error when the segments of all these processes' ranks together do not fit `available`
/// bytes.
void checkMemory(const ProgramFile &file, std::span<const RankRange> processes, uint64_t available);

/// The same for ranks that share one GPU, whose name is in the message, as is what would fit; each
/// needs `overhead` bytes besides its segments.
void checkDeviceMemory(const ProgramFile &file, std::span<const int> ranks, uint64_t available,
                       uint64_t overhead, const std::string &device);

/// Writes the report: {"ranks": [{...}, ...]} with bytes by kind.
void writeMemoryReport(const std::string &path, const ProgramFile &file);

} // namespace seqpar::rt
