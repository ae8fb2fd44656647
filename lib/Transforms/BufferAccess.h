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

/// The tag of an op that begins an exchange: a ring shift, send, receive, or a reduction that is
/// waited for later.
std::optional<int64_t> getStartedTag(mlir::Operation *op);

/// The start of the exchange that a wait completes: the last one before it in its block with the
/// same tag, or null.
mlir::Operation *findStartOf(sp::WaitOp wait);

/// The wait behind a start in its block that completes the exchange, or null.
sp::WaitOp findWaitOf(mlir::Operation *start);

/// Where the backward part of a micro-batch begins, or null when all is forward.
plan::BackwardOp findBackward(mlir::Block &microBatch);

} // namespace seqpar
