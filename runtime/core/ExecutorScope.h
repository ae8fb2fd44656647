//===- ExecutorScope.h - the loops around an instruction --------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Executor.h"

#include <limits>

namespace seqpar::rt {

struct Executor::Scope {
  /// Micro-batch of the turn; in the update, which is after all of them, none.
  static constexpr int64_t kUpdate = std::numeric_limits<int64_t>::max();
  int64_t microBatch = kUpdate;
  size_t slot = 0;                         ///< of the micro-batch
  bool lastOfStep = false;                 ///< the last micro-batch before an update
  int iteration = 0;                       ///< of the ring loop, from 1; 0 outside of one
  bool lastIteration = false;              ///< of the ring loop
  const program::RowsLoop *rows = nullptr; ///< the rows loop around
  int64_t firstRow = 0;                    ///< entry of the row lists at which the chunk starts
  int64_t activeRows = 0;                  ///< rows of the chunk

  /// Whether a reduction with this tag, which is of whole gradients, comes too early.
  bool skipsReduction(int tag) const { return tag >= 0 && microBatch != kUpdate && !lastOfStep; }

  bool accumulates(program::Combine combine) const {
    return combine == program::Combine::Add ||
           (combine == program::Combine::AddAfterFirstMicroBatch && microBatch != 0);
  }
};

} // namespace seqpar::rt
