//===- Localize.cpp - what one rank does ----------------------------------===//
//
// Turns an nn.step on global tensors with layouts, or the steps of all stages of one, into a
// plan.program with a stage for each, on one rank's chunks. Each op builds its part (PlanLoweringOpInterface): linear algebra becomes plan.gemm,
// row-wise ops become plan.rows, parameters and inputs become declared memory. Operations of the sp
// dialect stay, on local types. A dimension of extent n split over P ranks becomes ceil(n / P);
// the feed pads the last chunks.
//
//   %y = nn.gelu %x erf : tensor<4x64x8xf32, #sp.layout<[-, sp, -]>>
// becomes, with sp = 2,
//   %y = plan.rows "gelu" rows(128) ins(%x : tensor<4x32x8xf32>) access [#plan.access<row>]
//          results [#plan.access<row>] -> tensor<4x32x8xf32> { ... }
//
// The update becomes ops over whole groups of parameters (LowerUpdate.cpp). Afterwards no op of the
// nn dialect and no layout is left.
//
//===----------------------------------------------------------------------===//
#include "BufferAccess.h"
#include "SumStages.h"
#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Interfaces/PlanLowering.h"
#include "seqpar/Transforms/CutPoints.h"
#include "seqpar/Transforms/LayoutUtils.h"
#include "seqpar/Transforms/LowerUpdate.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"

namespace seqpar {
#define GEN_PASS_DEF_LOCALIZE
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

/// The axes over which a value is a sum of what the ranks hold.
static SmallVector<int32_t> getPartialAxes(Type type) {
  SmallVector<int32_t> axes;
  if (sp::LayoutAttr layout = sp::getLayout(type))
    for (sp::Axis axis : layout.getPartial())
      axes.push_back(static_cast<int32_t>(axis));
  return axes;
}

namespace {

/// Clones ops of the sp and plan dialects onto local values and types.
class SpLowering {
public:
  explicit SpLowering(PlanLowering &lowering) : lowering(lowering) {}

  LogicalResult run(Operation *op) {
    IRMapping mapping;
    for (Value operand : op->getOperands())
      mapping.map(operand, lowering.get(operand));
    if (auto loop = dyn_cast<sp::RingLoopOp>(op))
      return runLoop(loop);
    declareSamples(op);
    if (auto send = dyn_cast<sp::SendOp>(op))
      return runSend(send);
    Operation *local = lowering.builder.clone(*op, mapping);
    setResultTypes(op, local);
    for (auto [global, result] : llvm::zip(op->getResults(), local->getResults()))
      lowering.set(global, result);
    return success();
  }

private:
  /// A value that is still being sent while the next micro-batch runs gets a copy of its own, made by
  /// a row kernel that fuse-rows merges with the one that computes the value.
  LogicalResult runSend(sp::SendOp op) {
    Value value = lowering.get(op.getInput());
    if (!findWaitOf(op)) {
      RowKernel kernel(lowering, op, "copy", getRows(value), getColumns(value));
      kernel.yieldRow(kernel.row(value), op.getInput());
      value = kernel.finish().getResult(0);
    }
    sp::SendOp::create(lowering.builder, op.getLoc(), value, op.getStage(), op.getTag());
    return success();
  }

  LogicalResult runLoop(sp::RingLoopOp op) {
    SmallVector<Value> inits;
    for (Value init : op.getInits())
      inits.push_back(lowering.get(init));
    ValueRange range(inits);
    auto loop = sp::RingLoopOp::create(lowering.builder, op.getLoc(), range.getTypes(), range);
    OpBuilder::InsertionGuard guard(lowering.builder);
    Block *body = lowering.builder.createBlock(&loop.getBody(), {}, range.getTypes(),
                                               SmallVector<Location>(inits.size(), op.getLoc()));
    for (auto [global, local] : llvm::zip(op.getBody().getArguments(), body->getArguments()))
      lowering.set(global, local);
    for (Operation &inner : op.getBody().front())
      if (failed(lowering.lowerOp(&inner)))
        return failure();
    for (auto [global, local] : llvm::zip(op.getResults(), loop.getResults()))
      lowering.set(global, local);
    return success();
  }

  /// Attention that drops probabilities does so by the numbers of its samples, which it gets
  /// unasked.
  void declareSamples(Operation *op) {
    bool drops = false;
    if (auto block = dyn_cast<sp::AttentionBlockOp>(op))
      drops = !block.getDropout().isZero();
    if (auto block = dyn_cast<sp::AttentionBlockGradOp>(op))
      drops = !block.getDropout().isZero();
    if (drops)
      lowering.getInput(plan::InputKind::SampleNumbers,
                        lowering.getLocalType(op->getOperand(0).getType()).getShape().take_front(),
                        lowering.builder.getI32Type());
  }

  /// Chunks, except where gathered keys make the length of a dimension P chunks.
  void setResultTypes(Operation *op, Operation *local) {
    if (auto gather = dyn_cast<sp::AllGatherOp>(local)) {
      auto type = cast<RankedTensorType>(gather.getInput().getType());
      SmallVector<int64_t> shape(type.getShape());
      shape[gather.getDim()] *= lowering.getGrid().getSize(static_cast<sp::Axis>(gather.getAxes()[0]));
      gather.getResult().setType(RankedTensorType::get(shape, type.getElementType()));
      return;
    }
    for (auto [global, result] : llvm::zip(op->getResults(), local->getResults()))
      result.setType(lowering.getLocalType(global.getType()));
    if (auto grad = dyn_cast<sp::AttentionBlockGradOp>(local)) {
      grad.getResults()[2].setType(cast<RankedTensorType>(grad.getKey().getType()));
      grad.getResults()[3].setType(cast<RankedTensorType>(grad.getValue().getType()));
    }
  }

  PlanLowering &lowering;
};

struct Localize : seqpar::impl::LocalizeBase<Localize> {
  using LocalizeBase::LocalizeBase;

  void runOnOperation() override {
    SmallVector<nn::StepOp> steps(getOperation().getOps<nn::StepOp>());
    for (size_t first = 0, count; first < steps.size(); first += count) {
      sp::GridAttr grid = getGrid(steps[first]);
      if (!grid)
        return signalPassFailure();
      count = grid.getPp();
      ArrayRef<nn::StepOp> stages = ArrayRef(steps).slice(first, std::min(count, steps.size() - first));
      if (failed(checkStages(stages, count)) || failed(localizeSteps(stages, grid)))
        return signalPassFailure();
      for (nn::StepOp step : stages)
        step.erase();
    }
  }

  /// The stages of a step follow each other.
  LogicalResult checkStages(ArrayRef<nn::StepOp> steps, size_t count) {
    nn::StepOp first = steps[0];
    if (count == 1 && !first.getStage())
      return success();
    for (size_t i = 0; i < count; ++i)
      if (i == steps.size() || nn::StepOp(steps[i]).getStage() != static_cast<uint64_t>(i))
        return first.emitOpError("expected ") << count << " steps, one per pipeline stage, found " << i
                                                 << " in order: run cut-stages first";
    return success();
  }

  LogicalResult localizeSteps(ArrayRef<nn::StepOp> steps, sp::GridAttr grid) {
    nn::StepOp first = steps[0];
    FailureOr<RankedTensorType> ids = getTokensType(steps);
    if (failed(ids))
      return failure();
    OpBuilder builder(first);
    int64_t seqLength = ids->getDimSize(1), chunk = llvm::divideCeil(seqLength, grid.getSp());
    StringRef name = first.getSymName();
    if (first.getStage())
      name.consume_back(".stage0");
    auto program = plan::ProgramOp::create(
        builder, first.getLoc(), builder.getStringAttr(name), grid,
        builder.getI64IntegerAttr(ids->getDimSize(0) / grid.getDp()), builder.getI64IntegerAttr(seqLength),
        builder.getI64IntegerAttr(chunk), builder.getI64IntegerAttr(getVocabulary(steps)));
    Block *stages = builder.createBlock(&program.getBody());
    for (nn::StepOp step : steps) {
      builder.setInsertionPointToEnd(stages);
      if (failed(localizeStep(step, grid, builder)))
        return failure();
    }
    return success();
  }

  LogicalResult localizeStep(nn::StepOp step, sp::GridAttr grid, OpBuilder &builder) {
    IntegerAttr cost, none;
    if (auto costs = step->getAttrOfType<DenseI64ArrayAttr>(kStageCostsAttrName); costs && costs.size() == 1)
      cost = builder.getI64IntegerAttr(costs[0]);
    auto stage = plan::StageOp::create(builder, step.getLoc(), builder.getI64IntegerAttr(step.getStage().value_or(0)),
                                       builder.getI64IntegerAttr(1), DenseI32ArrayAttr(), cost, none, none, none, none,
                                       none, none);
    stage.setBucketBytes(bucketBytes);
    stage.setShardAxes(getShardAxes(grid));
    builder.createBlock(&stage.getBody());
    auto microBatch = plan::MicroBatchOp::create(builder, step.getLoc());
    auto update = plan::UpdateOp::create(builder, step.getLoc());
    builder.createBlock(&microBatch.getBody());

    PlanLowering lowering(stage, grid, builder);
    SpLowering spLowering(lowering);
    lowering.lowerOp = [&](Operation *op) -> LogicalResult {
      if (auto lowerable = dyn_cast<PlanLoweringOpInterface>(op))
        return lowerable.lowerToPlan(lowering);
      if (isa_and_nonnull<sp::SPDialect, plan::PlanDialect>(op->getDialect()))
        return spLowering.run(op);
      return op->emitOpError("has no lowering to a rank's plan");
    };
    StepMetrics metrics;
    for (auto metric : step.getMicroBatch().getOps<nn::AccumulateMetricOp>())
      noteMetric(metric, lowering, metrics);
    return failure(failed(lowerMicroBatch(step, lowering, metrics)) ||
                   (builder.createBlock(&update.getBody()), failed(lowerUpdate(step, lowering, metrics, lossScale))));
  }

  /// Those of the ranks of a stage, when they share the update.
  SmallVector<int32_t> getShardAxes(sp::GridAttr grid) {
    SmallVector<int32_t> axes;
    for (sp::Axis axis : {sp::Axis::DP, sp::Axis::SP})
      if (zero && grid.getSize(axis) > 1)
        axes.push_back(static_cast<int32_t>(axis));
    return axes;
  }

  LogicalResult lowerMicroBatch(nn::StepOp step, PlanLowering &lowering, StepMetrics &metrics) {
    for (Operation &op : step.getMicroBatch().front())
      if (failed(lowering.lowerOp(&op)))
        return failure();
    if (lossScale)
      scaleSeeds(lowering);
    bool isLast = step.getStage().value_or(0) + 1 == static_cast<uint64_t>(lowering.getGrid().getPp());
    if (isLast && !metrics.mlm)
      return step.emitOpError("expected an nn.accumulate_metric mlm");
    if (metrics.mlm)
      metrics.mlmScale = lowering.get(metrics.mlmScale);
    if (metrics.sop)
      metrics.sopScale = lowering.get(metrics.sopScale);
    for (auto accumulate : step.getMicroBatch().getOps<nn::AccumulateOp>()) {
      Type type = accumulate.getContributions().front().getType();
      lowering.getParameter(accumulate.getParameterName()).setPartialAxes(getPartialAxes(type));
    }
    for (auto sum : step.getUpdate().getOps<sp::SumStagesOp>())
      if (failed(noteStages(sum, step.getStage().value_or(0), lowering)))
        return failure();
    return success();
  }

  /// The stages that hold a parameter: those that sum up its gradient.
  LogicalResult noteStages(sp::SumStagesOp op, int32_t stage, PlanLowering &lowering) {
    nn::GradientOp gradient = findGradient(op.getInput());
    if (!gradient)
      return op.emitOpError(
          "expected the gradient of a parameter: nn.gradient, or sp.all_reduce of one");
    plan::ParameterOp parameter = lowering.getParameter(gradient.getParameterName());
    if (!parameter)
      return gradient.emitOpError("names '")
             << gradient.getParameterName() << "', which is no parameter of this step";
    if (!llvm::is_contained(op.getStages(), stage))
      return op.emitOpError("expected stage ")
             << stage << ", that of its step, among those that sum up";
    parameter.setStages(op.getStages());
    return success();
  }

  /// The backward starts from scaled weights of the losses; the metrics, scaled in the update, do not.
  static void scaleSeeds(PlanLowering &lowering) {
    using plan::InputKind;
    plan::StageOp stage = lowering.getStage();
    plan::MicroBatchOp microBatch = *stage.getOps<plan::MicroBatchOp>().begin();
    for (auto [plain, scaled] : {std::pair(InputKind::InverseLossTokens, InputKind::ScaledInverseLossTokens),
                                 std::pair(InputKind::InverseSamples, InputKind::ScaledInverseSamples)})
      for (plan::InputOp input : llvm::to_vector(stage.getOps<plan::InputOp>())) {
        if (input.getKind() != plain || llvm::none_of(input->getUsers(), [&](Operation *user) {
              return microBatch->isProperAncestor(user);
            }))
          continue;
        Value seed = lowering.getInput(scaled, {}, cast<MemRefType>(input.getType()).getElementType());
        input.getResult().replaceUsesWithIf(
            seed, [&](OpOperand &use) { return microBatch->isProperAncestor(use.getOwner()); });
      }
  }

  void noteMetric(nn::AccumulateMetricOp op, PlanLowering &lowering, StepMetrics &metrics) {
    bool mlm = op.getMetric() == nn::MetricKind::Mlm;
    plan::MetricOp metric = lowering.declareMetric(
        op.getLoc(), mlm ? plan::MetricKind::MlmLoss : plan::MetricKind::SopLoss, Builder(&getContext()).getF32Type());
    metric.setPartialAxes(getPartialAxes(op.getValue().getType()));
    (mlm ? metrics.mlm : metrics.sop) = metric;
    (mlm ? metrics.mlmScale : metrics.sopScale) = op.getScale();
    lowering.setMetric(static_cast<int>(op.getMetric()), metric);
  }

  FailureOr<RankedTensorType> getTokensType(ArrayRef<nn::StepOp> steps) {
    for (nn::StepOp step : steps)
      for (auto input : step.getMicroBatch().getOps<nn::InputOp>())
        if (input.getKind() == nn::InputKind::Tokens)
          return cast<RankedTensorType>(input.getResult().getType());
    return nn::StepOp(steps[0]).emitOpError("expected an input of tokens");
  }

  /// Rows of the table that the tokens index.
  int64_t getVocabulary(ArrayRef<nn::StepOp> steps) {
    int64_t vocabulary = 0;
    for (nn::StepOp step : steps)
      for (auto embedding : step.getMicroBatch().getOps<nn::EmbeddingOp>())
        if (auto input = embedding.getIds().getDefiningOp<nn::InputOp>();
            input && input.getKind() == nn::InputKind::Tokens)
          vocabulary = cast<RankedTensorType>(embedding.getTable().getType()).getDimSize(0);
    return vocabulary;
  }
};

} // namespace
