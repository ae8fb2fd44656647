//===- ExecutorScope.h - the loops around an instruction --------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Executor.h"

namespace seqpar::rt {

struct Executor::Scope {
  bool firstMicroBatch = false;
  int iteration = 0;                       ///< of the ring loop, from 1; 0 outside of one
  bool lastIteration = false;              ///< of the ring loop
  const program::RowsLoop *rows = nullptr; ///< the rows loop around
  int64_t firstRow = 0;                    ///< entry of the row lists at which the chunk starts
  int64_t activeRows = 0;                  ///< rows of the chunk

  bool accumulates(program::Combine combine) const {
    return combine == program::Combine::Add ||
           (combine == program::Combine::AddAfterFirstMicroBatch && !firstMicroBatch);
  }
};

} // namespace seqpar::rt
