//===- InsertOptimizer.cpp - Clip by the global norm, AdamW -----------------------------------===//
//
// Fills the update of a step in the order of its parameters: all gradients, their one norm, one
// AdamW each.
//
//===------------------------------------------------------------------------------------------===//

#include "seqpar/Transforms/Passes.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

namespace seqpar {
#define GEN_PASS_DEF_INSERTOPTIMIZER
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

namespace {

struct InsertOptimizer : seqpar::impl::InsertOptimizerBase<InsertOptimizer> {
  using InsertOptimizerBase::InsertOptimizerBase;

  void runOnOperation() override {
    if (failed(checkOptions()))
      return signalPassFailure();
    for (StepOp step : getOperation().getOps<StepOp>()) {
      if (!step.getUpdate().front().empty()) {
        step.emitOpError("has an update already");
        return signalPassFailure();
      }
      insertUpdate(step);
    }
  }

private:
  LogicalResult checkOptions() {
    auto isBeta = [](double beta) { return beta >= 0 && beta < 1; };
    if (!isBeta(beta1) || !isBeta(beta2) || !(eps > 0))
      return emitError(getOperation().getLoc())
             << "insert-optimizer: beta1 and beta2 must be at least 0 and below 1 and eps above 0, "
                "but are "
             << double(beta1) << ", " << double(beta2) << " and " << double(eps);
    return success();
  }

  void insertUpdate(StepOp step) {
    auto parameters = llvm::to_vector(step.getMicroBatch().getOps<ParameterOp>());
    if (parameters.empty())
      return;
    OpBuilder builder = OpBuilder::atBlockBegin(&step.getUpdate().front());
    SmallVector<Value> gradients;
    for (ParameterOp parameter : parameters)
      gradients.push_back(GradientOp::create(builder, parameter.getLoc(), parameter.getType(),
                                             parameter.getParameterNameAttr()));
    auto scalar = RankedTensorType::get({}, builder.getF32Type());
    Value norm = GlobalNormOp::create(builder, step.getLoc(), scalar, gradients);
    for (auto [parameter, gradient] : llvm::zip_equal(parameters, gradients))
      AdamWOp::create(builder, parameter.getLoc(), parameter.getParameterNameAttr(), gradient, norm,
                      parameter.getDecayAttr(), builder.getF64FloatAttr(beta1),
                      builder.getF64FloatAttr(beta2), builder.getF64FloatAttr(eps));
  }
};

} // namespace
