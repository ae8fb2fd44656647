//===- LowerUpdate.cpp - the update over whole groups of parameters -------===//
#include "seqpar/Transforms/LowerUpdate.h"

#include "SumStages.h"
#include "seqpar/Transforms/SegmentLayout.h"

using namespace mlir;
using namespace seqpar;

namespace {

/// Numbers that all nn.adamw of a step share.
struct AdamW {
  double beta1, beta2, eps;
  bool operator==(const AdamW &) const = default;
};

class UpdateLowering {
public:
  UpdateLowering(nn::StepOp step, PlanLowering &lowering, const StepMetrics &metrics)
      : step(step), lowering(lowering), metrics(metrics), builder(lowering.builder) {}

  LogicalResult run() {
    if (failed(readOptimizer()))
      return failure();
    SmallVector<ParameterInfo> infos;
    for (plan::ParameterOp parameter : lowering.getParameters()) {
      auto type = cast<MemRefType>(parameter.getResult().getType());
      infos.push_back({type.getNumElements(), SmallVector<int32_t, 3>(parameter.getPartialAxes()),
                       parameter.getDecay(), SmallVector<int32_t, 2>(parameter.getStages())});
    }
    layout = computeSegmentLayout(infos);
    waitForSends();
    reduceGradients();
    sumOverStages();
    if (metrics.mlm)
      reduceMetric(metrics.mlm, metrics.mlmScale);
    if (metrics.sop)
      reduceMetric(metrics.sop, metrics.sopScale);
    norm = lowering.declareMetric(step.getLoc(), plan::MetricKind::GradientNorm, builder.getF64Type());
    buildNorm();
    for (const SegmentGroup &group : layout.groups)
      buildAdamW(group);
    return success();
  }

private:
  /// Every parameter is updated, by the same rule, and decays as its declaration says.
  LogicalResult readOptimizer() {
    unsigned count = 0;
    for (auto op : step.getUpdate().getOps<nn::AdamWOp>()) {
      AdamW numbers{op.getBeta1().convertToDouble(), op.getBeta2().convertToDouble(), op.getEps().convertToDouble()};
      if (count++ && !(numbers == adamw))
        return op.emitOpError("expected the same betas and epsilon for every parameter");
      adamw = numbers;
      plan::ParameterOp parameter = lowering.getParameter(op.getParameterName());
      if (!parameter || parameter.getDecay() != op.getDecay())
        return op.emitOpError("expected a declared parameter with the same weight decay");
    }
    if (count != lowering.getParameters().size())
      return step.emitOpError("updates ") << count << " of " << lowering.getParameters().size()
                                          << " parameters: run insert-optimizer first";
    return success();
  }

  Value makeRange(plan::Segment segment, int64_t bytes, int64_t rows) {
    auto type = MemRefType::get({rows, kUpdateColumns}, builder.getF32Type());
    return plan::RangeOp::create(builder, step.getLoc(), type, segment, bytes);
  }

  /// Groups with the same partial axes are neighbours: one reduction for all of them.
  void reduceGradients() {
    for (size_t first = 0, last; first < layout.groups.size(); first = last) {
      ArrayRef<int32_t> axes = layout.groups[first].partialAxes;
      int64_t rows = 0;
      for (last = first; last < layout.groups.size() && ArrayRef<int32_t>(layout.groups[last].partialAxes) == axes;
           ++last)
        rows += layout.groups[last].rows;
      if (!axes.empty())
        reduce(makeRange(plan::Segment::Gradient, layout.groups[first].offset * 4, rows), axes);
    }
  }

  /// What the last micro-batch sent to another stage.
  void waitForSends() {
    for (auto wait : step.getUpdate().getOps<sp::WaitOp>())
      builder.clone(*wait);
  }

  void sumOverStages() {
    for (const SegmentGroup &group : layout.groups)
      if (!group.stages.empty())
        lowerSumStages(step, group, lowering);
  }

  void reduce(Value memory, ArrayRef<int32_t> axes) {
    sp::AllReduceOp::create(builder, step.getLoc(), Type(), memory, builder.getDenseI32ArrayAttr(axes));
  }

  /// The metric's total over the ranks, over the number of tokens or samples.
  void reduceMetric(plan::MetricOp metric, Value scale) {
    if (!metric.getPartialAxes().empty())
      reduce(metric, metric.getPartialAxes());
    RowKernel kernel(lowering, step, "scale_metric", 1, 1);
    kernel.store(kernel.rowScalar(metric) * kernel.scalar(scale), metric, plan::AccessKind::RowScalar);
    kernel.finish();
  }

  /// Sum of squares in double precision, each parameter once, then its root.
  void buildNorm() {
    int32_t stage = step.getStage().value_or(0);
    bool first = true;
    for (const SegmentGroup &group : layout.groups) {
      if (!group.stages.empty() && group.stages.front() != stage)
        continue;
      RowKernel kernel(lowering, step, "sum_of_squares", group.rows, kUpdateColumns);
      RowExpr g = kernel.row(makeRange(plan::Segment::Gradient, group.offset * 4, group.rows));
      kernel.store(toDouble(sum(g * g)), norm, plan::AccessKind::SumRows);
      kernel.setCombine(first ? plan::Combine::Overwrite : plan::Combine::Add);
      kernel.finish();
      first = false;
    }
    if (first)
      plan::FillOp::create(builder, step.getLoc(), norm, /*first_micro_batch_only=*/false);
    if (lowering.getGrid().getPp() > 1)
      reduce(norm, {static_cast<int32_t>(sp::Axis::PP)});
    RowKernel kernel(lowering, step, "norm", 1, 1);
    kernel.store(sqrt(kernel.rowScalar(norm)), norm, plan::AccessKind::RowScalar);
    kernel.finish();
  }

  Value getScalar(plan::InputKind kind) { return lowering.getInput(kind, {}, builder.getF32Type()); }

  /// Loshchilov and Hutter 2019, algorithm 2 (decoupled decay), on the clipped gradient.
  void buildAdamW(const SegmentGroup &group) {
    int64_t bytes = group.offset * 4;
    RowKernel kernel(lowering, step, group.decay ? "adamw_decay" : "adamw", group.rows, kUpdateColumns);
    Value parameter = makeRange(plan::Segment::Parameter, bytes, group.rows);
    Value first = makeRange(plan::Segment::OptimizerState, bytes, group.rows);
    Value second = makeRange(plan::Segment::OptimizerState, layout.getSecondMomentBytes() + bytes, group.rows);
    RowExpr p = kernel.row(parameter), m = kernel.row(first), v = kernel.row(second);
    RowExpr g = kernel.row(makeRange(plan::Segment::Gradient, bytes, group.rows));
    RowExpr rate = kernel.scalar(getScalar(plan::InputKind::LearningRate));
    RowExpr clip = kernel.scalar(getScalar(plan::InputKind::ClipNorm));
    RowExpr total = toFloat(kernel.scalar(norm));
    RowExpr one = kernel.constant(1.0);
    RowExpr factor = select(greater(clip, kernel.constant(0.0)), min(one, clip / (total + 1e-6)), one);
    RowExpr clipped = g * factor;
    RowExpr newM = adamw.beta1 * m + (1.0 - adamw.beta1) * clipped;
    RowExpr newV = adamw.beta2 * v + (1.0 - adamw.beta2) * (clipped * clipped);
    RowExpr correctedV = newV * kernel.scalar(getScalar(plan::InputKind::BiasCorrection2));
    RowExpr step = rate * kernel.scalar(getScalar(plan::InputKind::BiasCorrection1));
    RowExpr decayed = group.decay ? p * (1.0 - rate * kernel.scalar(getScalar(plan::InputKind::WeightDecay))) : p;
    kernel.store(decayed - step * newM / (sqrt(correctedV) + adamw.eps), parameter, plan::AccessKind::Row);
    kernel.store(newM, first, plan::AccessKind::Row);
    kernel.store(newV, second, plan::AccessKind::Row);
    kernel.finish();
  }

  nn::StepOp step;
  PlanLowering &lowering;
  const StepMetrics &metrics;
  OpBuilder &builder;
  SegmentLayout layout;
  AdamW adamw{};
  plan::MetricOp norm;
};

} // namespace

LogicalResult seqpar::lowerUpdate(nn::StepOp step, PlanLowering &lowering, const StepMetrics &metrics) {
  return UpdateLowering(step, lowering, metrics).run();
}
