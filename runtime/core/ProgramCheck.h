//===- ProgramCheck.h - meaning of a program --------------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/ProgramFile.h"

#include <array>
#include <cstdint>
#include <limits>

namespace seqpar::rt {

/// Checks what the FlatBuffers verifier cannot know: that every index, offset and size which the
/// executor uses is valid, that loops are not nested, and that every exchange is waited for. Throws
/// Error.
void checkProgram(const program::Program &program);

/// The part of checkProgram on CUDA code: launches and images.
void checkCuda(const program::Program &program);

inline constexpr size_t kInputKinds = static_cast<size_t>(program::InputKind::MAX) + 1;

/// Smallest table that an input's numbers index in any gather or scatter, in rows.
struct IndexLimits {
  std::array<int64_t, kInputKinds> rows;
  int64_t of(program::InputKind kind) const { return rows[static_cast<size_t>(kind)]; }
};
IndexLimits indexLimits(const program::Program &program);

} // namespace seqpar::rt
