//===- Accumulators.h - who writes to accumulators --------------*- C++ -*-===//
//
// plan.accumulate folds into the op that makes the value. This decides how each such op combines
// its result with what the accumulator holds, and which accumulators need clearing first.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/Dialect/Plan/Plan.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace seqpar {

/// The accumulator that takes a value, and how.
struct Target {
  mlir::Value accumulator;
  plan::Combine combine;
};

/// Analysis of one micro-batch in value form.
class Accumulators {
public:
  /// Fails, with an error at the op, when a plan.accumulate cannot fold.
  mlir::LogicalResult analyze(plan::MicroBatchOp microBatch);

  /// Null when `value` goes to no accumulator.
  const Target *lookup(mlir::Value value) const {
    auto it = targets.find(value);
    return it == targets.end() ? nullptr : &it->second;
  }

  /// Whether `zeros` only stands for the cleared accumulator of a scatter.
  bool isAbsorbed(plan::ZerosOp zeros) const { return absorbed.contains(zeros); }

  /// One for all sum_rows outputs of a row kernel; Overwrite when it has none to add to.
  plan::Combine getCombine(plan::RowsOp rows) const;

  /// Accumulators to clear at the beginning of the first micro-batch of a step.
  mlir::ArrayRef<mlir::Value> getCleared() const { return cleared.getArrayRef(); }

private:
  void decide(mlir::Value accumulator, mlir::ArrayRef<mlir::Value> contributions);
  void unifyRows(plan::RowsOp rows);

  llvm::DenseMap<mlir::Value, Target> targets;
  llvm::SetVector<mlir::Value> cleared;
  llvm::DenseSet<mlir::Operation *> absorbed;
};

} // namespace seqpar
