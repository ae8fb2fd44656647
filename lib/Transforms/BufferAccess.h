//===- BufferAccess.h - what an op does to buffers --------------*- C++ -*-===//
#pragma once

#include "seqpar/Dialect/Plan/Plan.h"

namespace seqpar {

struct BufferAccess {
  mlir::Value buffer;
  bool reads;
  bool writes;
};

/// Accesses of an op in buffer form, reads before writes; of none for loops, declarations and
/// waits. `firstIteration`: of the ring loop around the op.
llvm::SmallVector<BufferAccess> getBufferAccesses(mlir::Operation *op, bool firstIteration = true);

/// The start of the exchange that a wait completes: the last one before it in its block with the
/// same tag.
sp::RingShiftStartOp findStartOf(sp::WaitOp wait);

/// The wait that completes an exchange, or null.
sp::WaitOp findWaitOf(sp::RingShiftStartOp start);

} // namespace seqpar
