//===- LowerUpdate.h - the update over whole groups of parameters -*- C++ -*-===//
#pragma once

#include "seqpar/Dialect/NN/NN.h"
#include "seqpar/Interfaces/PlanLowering.h"

namespace seqpar {

/// The metrics of a step: where the log's numbers are accumulated.
struct StepMetrics {
  plan::MetricOp mlm, sop; ///< sop is null without the sentence-order head
  mlir::Value mlmScale, sopScale;
};

/// Builds the update at the lowering's position from the update region of `step`: the reduction of
/// the gradients, the global norm, and AdamW, each over a whole group of parameters (see
/// StageLayout.h). In a stage with shard axes a rank works on its shard of each group, and the
/// parameters are gathered at the end. `lossScale`: gradients are multiplied by inverse_loss_scale, and
/// parameters and moments stay as they are when the norm is not finite.
llvm::LogicalResult lowerUpdate(nn::StepOp step, PlanLowering &lowering, const StepMetrics &metrics,
                                bool lossScale);

} // namespace seqpar
