//===- BufferLifetimes.h - when the buffers of a stage live -----*- C++ -*-===//
#pragma once

#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Transforms/SlotPlanner.h"

namespace seqpar {

/// The buffers of a stage in buffer form and when each lives. Times number the ops of the stage in
/// the order of the text. A buffer made outside a loop and used inside lives to the loop's end;
/// what is sent or received lives to the wait; what is sent beyond its micro-batch, always.
struct BufferLifetimes {
  llvm::SmallVector<plan::BufferOp> buffers;
  llvm::SmallVector<ArenaItem> items; ///< of each buffer
  llvm::SmallVector<Lifetime> kinds;  ///< of each buffer

  /// The largest sum of bytes that live at one time; see computeSlotLowerBound.
  int64_t getLowerBound(int64_t slots) const;
};

BufferLifetimes computeBufferLifetimes(plan::StageOp stage);

} // namespace seqpar
