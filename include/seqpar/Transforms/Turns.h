//===- Turns.h - the order of a stage's micro-batches -----------*- C++ -*-===//
#pragma once

#include "seqpar/Dialect/Plan/Plan.h"

#include "llvm/ADT/SmallVector.h"

namespace seqpar {

/// One part of one micro-batch.
struct Turn {
  int64_t microBatch;
  bool backward;
  bool operator==(const Turn &) const = default;
};

enum class Schedule { OneForwardOneBackward, GPipe };

/// The turns of stage `stage` of `stages`. With 1F1B (Narayanan et al. 2019, PipeDream-flush)
/// min(m, stages - 1 - stage) forwards, then a forward and a backward each, then the backwards that
/// are left; with GPipe (Huang et al. 2019) all forwards, then all backwards.
llvm::SmallVector<Turn> makeTurns(Schedule schedule, int64_t stage, int64_t stages,
                                  int64_t microBatches);

/// The most micro-batches that are between the start of their forward and the end of their
/// backward.
int64_t countLive(llvm::ArrayRef<Turn> turns);

/// The turns of a stage's order; both of one micro-batch when it has none.
llvm::SmallVector<Turn> getTurns(plan::StageOp stage);

/// Those of the first `most` micro-batches: what checks follow. Later ones only repeat what these
/// do, and a step may have very many.
llvm::SmallVector<Turn> getFirstTurns(plan::StageOp stage, int64_t most = 40);

/// Micro-batches that a pipeline's order may have.
inline constexpr int64_t kMostMicroBatches = 1 << 20;

/// Sets order and slots.
void setTurns(plan::StageOp stage, llvm::ArrayRef<Turn> turns);

} // namespace seqpar
