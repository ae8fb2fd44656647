//===- SumStages.h - gradients that several pipeline stages hold -*- C++ -*-===//
#pragma once

#include "seqpar/Dialect/NN/NN.h"
#include "seqpar/Interfaces/PlanLowering.h"
#include "seqpar/Transforms/SegmentLayout.h"

namespace seqpar {

/// The nn.gradient that a value of the update is or, by sp.all_reduce, comes from; null for
/// another.
nn::GradientOp findGradient(mlir::Value value);

/// Builds at the lowering's position the exchange of a group's gradients, which lie alike in all of
/// its stages, and their sum in the order of the stages: of this rank's shard, or of all some rows
/// at a time.
void lowerSumStages(nn::StepOp step, const SegmentLayout &layout, const SegmentGroup &group,
                    PlanLowering &lowering);

} // namespace seqpar
