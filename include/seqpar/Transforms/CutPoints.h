//===- CutPoints.h - where a model can be cut into stages -------*- C++ -*-===//
#pragma once

#include "seqpar/Dialect/NN/NN.h"

#include "llvm/ADT/SmallVector.h"

namespace seqpar {

/// Attribute of nn.model and nn.step: what each pipeline stage costs (see CostModel.h).
inline constexpr llvm::StringLiteral kStageCostsAttrName = "stage_costs";

/// The place behind `value.getDefiningOp()`, where `value` is the one computed value (parameters
/// and inputs aside) that is needed later.
struct CutPoint {
  mlir::Value value;
  double costBefore; ///< of the ops between the previous place and this one
};

/// The places in the order of the program; `costBehind`, when given, gets the cost of the ops
/// behind the last one. Only activations [B, L, H] are cut: each rank sends its chunk of the
/// sequence.
llvm::SmallVector<CutPoint> findCutPoints(nn::ModelOp model, double *costBehind = nullptr);

/// Splits a row of costs into `parts` non-empty runs whose largest sum is as small as can be
/// (dynamic programming over the ends). Returns for each part but the last the number of its last
/// item. Deterministic. Expects 1 <= parts <= costs.size().
llvm::SmallVector<unsigned> balance(llvm::ArrayRef<double> costs, unsigned parts);

} // namespace seqpar
