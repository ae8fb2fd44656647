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
  llvm::SmallVector<ArenaItem> items;        ///< of each buffer
  llvm::SmallVector<Lifetime> kinds;         ///< of each buffer
  llvm::SmallVector<mlir::Operation *> opAt; ///< the op at each time

  /// The largest sum of bytes that live at one time; see computeSlotLowerBound.
  int64_t getLowerBound(int64_t slots) const;
};

BufferLifetimes computeBufferLifetimes(plan::StageOp stage);

/// A value that lives when most memory is in use.
struct PeakValue {
  std::string name; ///< what it holds and the model op it belongs to
  int64_t bytes;
};

/// Memory of one rank of a stage, in bytes, after assign-segments and assign-arena.
struct MemoryReport {
  int64_t arena, arenaLowerBound;
  int64_t parameters, gradients, optimizerState, inputs;
  int64_t communication;             ///< largest sum of live buffers in transit
  int64_t activations;               ///< the rest of the arena
  std::string peakLocation;          ///< model op at which most memory is in use
  std::vector<PeakValue> peakValues; ///< descending by size
};

MemoryReport computeMemoryReport(plan::StageOp stage);

} // namespace seqpar
