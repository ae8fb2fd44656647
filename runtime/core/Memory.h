//===- Memory.h - the memory a run needs ------------------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/ProgramFile.h"

#include <cstdint>
#include <string>

namespace seqpar::rt {

/// Bytes this process may still use: what the machine has available, less what a control group
/// forbids. The largest number there is when unknown.
uint64_t availableMemory();

/// Throws Error when the segments of ranks [first, first + count) do not fit `available` bytes.
void checkMemory(const ProgramFile &file, int first, int count, uint64_t available);

/// Writes the report: {"ranks": [{...}, ...]} with bytes by kind.
void writeMemoryReport(const std::string &path, const ProgramFile &file);

} // namespace seqpar::rt
