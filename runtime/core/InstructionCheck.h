//===- InstructionCheck.h - the instruction lists of a program --*- C++ -*-===//
#pragma once

#include "ProgramCheck.h"

#include <initializer_list>

namespace seqpar::rt {

/// Nothing in a program is larger: 16 TiB.
inline constexpr uint64_t kLargestBytes = uint64_t(1) << 44;

/// The product; throws Error when a factor is negative or the product above kLargestBytes.
uint64_t product(std::initializer_list<int64_t> factors);

/// Checks both lists of a stage, whose buffers and inputs are valid. Throws Error with the
/// instruction's location.
void checkInstructions(const program::Program &program, const program::Stage &stage);

} // namespace seqpar::rt
