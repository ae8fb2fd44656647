//===- Reduce.h - sums over members that share memory -----------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Communicator.h"

#include <cstddef>
#include <span>

namespace seqpar::rt {

/// For elements [begin, end): adds the members' buffers in order and writes the sum to each of
/// `to`. A buffer may be in both lists.
void sumInOrder(std::span<const void *const> from, std::span<void *const> to, size_t begin,
                size_t end, ElementType type);

} // namespace seqpar::rt
