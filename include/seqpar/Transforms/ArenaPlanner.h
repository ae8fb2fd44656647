//===- ArenaPlanner.h - offsets for values that share memory ----*- C++ -*-===//
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>

namespace seqpar {

/// A value of `bytes` bytes, a multiple of kBufferAlignment, that lives from time `start` to time
/// `end`, both included.
struct ArenaItem {
  int64_t bytes;
  int64_t start, end;
};

struct ArenaPlan {
  llvm::SmallVector<int64_t> offsets; ///< of each item, in bytes
  int64_t bytes = 0;                  ///< of the whole arena
};

/// The largest sum of bytes that live at one time: no arena is smaller.
int64_t computeArenaLowerBound(llvm::ArrayRef<ArenaItem> items);

/// Places items greedily, each in the smallest hole that fits between those already placed which
/// live at a common time (Pisarchyk and Lee 2020, greedy by size, with best fit), in several
/// orders; then repeats with the items that stick out moved to the front. Keeps the smallest arena.
/// Deterministic.
ArenaPlan planArena(llvm::ArrayRef<ArenaItem> items);

} // namespace seqpar
