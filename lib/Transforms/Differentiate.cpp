//===- Differentiate.cpp - Forward and backward of a micro-batch ------------------------------===//
//
// Reverse mode on the IR: the model's ops move into the step; from nn.loss on, the backward of each
// op is built after them in reverse order (see ReverseMode.h); what arrives at a parameter is
// accumulated.
//
//===------------------------------------------------------------------------------------------===//

#include "seqpar/Transforms/CutPoints.h"
#include "seqpar/Transforms/Passes.h"

#include "seqpar/Dialect/NN/ReverseMode.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

namespace seqpar {
#define GEN_PASS_DEF_DIFFERENTIATE
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

/// Refuses what the phase before should have removed, and inputs that this pass adds.
static LogicalResult checkExpected(ModelOp model) {
  WalkResult result = model.walk([](Operation *op) {
    if (isa<RepeatOp>(op)) {
      op->emitOpError("is left: run unroll-layers before differentiate");
      return WalkResult::interrupt();
    }
    for (Type type : op->getResultTypes())
      if (auto shaped = dyn_cast<ShapedType>(type); shaped && !shaped.hasStaticShape()) {
        op->emitOpError() << "has a result of type " << type
                          << ": run bind-shapes before differentiate";
        return WalkResult::interrupt();
      }
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

namespace {
/// A part of the loss: its sum over a micro-batch, and what the sum is multiplied by.
struct LossPart {
  MetricKind metric;
  Value sum, scale;
};
} // namespace

/// The parts of the loss; their scales become inputs at the start of the block.
static SmallVector<LossPart> getLossParts(LossOp loss) {
  OpBuilder builder = OpBuilder::atBlockBegin(loss->getBlock());
  auto input = [&](InputKind kind) -> Value {
    return InputOp::create(builder, loss.getLoc(), loss.getMlm().getType(), kind);
  };
  SmallVector<LossPart> parts{
      {MetricKind::Mlm, loss.getMlm(), input(InputKind::InverseLossTokens)}};
  if (loss.getSop())
    parts.push_back({MetricKind::Sop, loss.getSop(), input(InputKind::InverseSamples)});
  return parts;
}

/// Accumulates the gradient of each parameter.
static LogicalResult accumulate(Block &block, OpBuilder &builder, Cotangents &cotangents) {
  for (ParameterOp parameter : llvm::to_vector(block.getOps<ParameterOp>())) {
    SmallVector<Value, 2> contributions = cotangents.take(parameter);
    if (contributions.empty())
      return parameter.emitOpError() << "'" << parameter.getParameterName()
                                     << "' gets no gradient: the loss does not depend on it";
    AccumulateOp::create(builder, parameter.getLoc(), parameter.getParameterName(), contributions);
  }
  return success();
}

static LogicalResult differentiate(ModelOp model) {
  if (failed(checkExpected(model)))
    return failure();
  OpBuilder builder(model);
  auto step = StepOp::create(builder, model.getLoc(), model.getSymName());
  if (Attribute costs = model->getAttr(kStageCostsAttrName))
    step->setAttr(kStageCostsAttrName, costs);
  Block &block = step.getMicroBatch().front();
  block.getOperations().splice(block.end(), model.getBody().front().getOperations());
  auto loss = cast<LossOp>(block.back());
  model.erase();

  SmallVector<Operation *> forward;
  for (Operation &op : llvm::drop_end(block))
    forward.push_back(&op);
  Cotangents cotangents;
  SmallVector<LossPart> parts = getLossParts(loss);
  loss.erase();
  for (LossPart &part : parts)
    cotangents.add(part.sum, part.scale);
  builder.setInsertionPointToEnd(&block);
  for (LossPart &part : parts)
    AccumulateMetricOp::create(builder, part.sum.getLoc(), part.metric, part.sum, part.scale);
  BackwardOp::create(builder, step.getLoc());
  if (failed(buildBackward(forward, builder, cotangents)))
    return failure();
  return accumulate(block, builder, cotangents);
}

namespace {

struct Differentiate : seqpar::impl::DifferentiateBase<Differentiate> {
  void runOnOperation() override {
    for (ModelOp model : llvm::to_vector(getOperation().getOps<ModelOp>()))
      if (failed(differentiate(model)))
        return signalPassFailure();
  }
};

} // namespace
