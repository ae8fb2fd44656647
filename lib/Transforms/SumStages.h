//===- SumStages.h - gradients that several pipeline stages hold -*- C++ -*-===//
#pragma once

#include "seqpar/Dialect/NN/NN.h"
#include "seqpar/Interfaces/PlanLowering.h"

namespace seqpar {

/// The parameter whose gradient is summed: of the nn.gradient behind the op's operand.
llvm::StringRef getSummedParameter(sp::SumStagesOp op);

/// Builds at the lowering's position the exchange of `range` (gradients that lie alike in all of
/// `stages`) and its sum in the order of the stages, some rows at a time.
void lowerSumStages(nn::StepOp step, plan::RangeOp range, llvm::ArrayRef<int32_t> stages,
                    PlanLowering &lowering);

} // namespace seqpar
