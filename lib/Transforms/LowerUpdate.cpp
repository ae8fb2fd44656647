//===- LowerUpdate.cpp - the update over whole groups of parameters -------===//
#include "seqpar/Transforms/LowerUpdate.h"

#include "SumStages.h"
#include "seqpar/Transforms/StageLayout.h"

#include <limits>

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
  UpdateLowering(nn::StepOp step, PlanLowering &lowering, const StepMetrics &metrics, bool lossScale)
      : step(step), lowering(lowering), metrics(metrics), lossScale(lossScale), builder(lowering.builder) {}

  LogicalResult run() {
    if (failed(readOptimizer()))
      return failure();
    layout = computeStageLayout(lowering.getStage());
    if (isSharded())
      declareShards();
    waitForSends();
    for (const SegmentGroup &group : layout.groups)
      reduceGradient(group);
    sumOverStages();
    if (metrics.mlm)
      reduceMetric(metrics.mlm, metrics.mlmScale);
    if (metrics.sop)
      reduceMetric(metrics.sop, metrics.sopScale);
    norm = lowering.declareMetric(step.getLoc(), plan::MetricKind::GradientNorm, builder.getF64Type());
    buildNorm();
    for (const SegmentGroup &group : layout.groups)
      buildAdamW(group);
    if (isSharded())
      for (const SegmentGroup &group : layout.groups)
        gatherParameters(group);
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

  /// Whether the ranks of the stage share the update (ZeRO-1).
  bool isSharded() const { return layout.members > 1; }
  ArrayRef<int32_t> getShardAxes() { return lowering.getStage().getShardAxes(); }

  Value makeRange(plan::Segment segment, int64_t bytes, int64_t rows, bool sharded = false) {
    auto type = MemRefType::get({rows, layout.columns}, builder.getF32Type());
    return plan::RangeOp::create(builder, step.getLoc(), type, segment, bytes, sharded);
  }

  /// A group's values or gradients: all of them, and what this rank updates.
  Value getAll(plan::Segment segment, const SegmentGroup &group) {
    return makeRange(segment, group.offset * 4, group.rows);
  }
  Value getOwn(plan::Segment segment, const SegmentGroup &group) {
    return makeRange(segment, group.offset * 4, getOwnRows(group), isSharded());
  }
  int64_t getOwnRows(const SegmentGroup &group) const { return group.rows / layout.members; }

  /// In the place of each parameter's moments.
  void declareShards() {
    plan::StageOp stage = lowering.getStage();
    for (plan::MomentOp moment : llvm::make_early_inc_range(stage.getOps<plan::MomentOp>()))
      moment.erase();
    OpBuilder before(*stage.getOps<plan::MicroBatchOp>().begin());
    for (const SegmentGroup &group : layout.groups)
      plan::ShardOp::create(before, step.getLoc(), group.offset * 4,
                            getOwnRows(group) * layout.columns * 4, layout.getMomentBytes(group),
                            layout.getSecondMomentBytes() + layout.getMomentBytes(group));
  }

  /// Afterwards each rank has the total of what it updates.
  void reduceGradient(const SegmentGroup &group) {
    ArrayRef<int32_t> axes = group.partialAxes;
    if (axes.empty())
      return;
    if (isSharded() && axes == getShardAxes())
      sp::ReduceScatterOp::create(builder, step.getLoc(), Type(), getAll(plan::Segment::Gradient, group),
                                  getOwn(plan::Segment::Gradient, group), /*dim=*/0, axes);
    else
      reduce(getAll(plan::Segment::Gradient, group), axes);
  }

  void gatherParameters(const SegmentGroup &group) {
    sp::AllGatherOp::create(builder, step.getLoc(), Type(), getOwn(plan::Segment::Parameter, group),
                            getAll(plan::Segment::Parameter, group), /*dim=*/0, getShardAxes());
  }

  /// What the last micro-batch sent to another stage.
  void waitForSends() {
    for (auto wait : step.getUpdate().getOps<sp::WaitOp>())
      builder.clone(*wait);
  }

  void sumOverStages() {
    for (const SegmentGroup &group : layout.groups)
      if (!group.stages.empty())
        lowerSumStages(step, layout, group, lowering);
  }

  void reduce(Value memory, ArrayRef<int32_t> axes) {
    sp::AllReduceOp::create(builder, step.getLoc(), Type(), memory, axes);
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
      RowKernel kernel(lowering, step, "sum_of_squares", getOwnRows(group), layout.columns);
      RowExpr g = kernel.row(getOwn(plan::Segment::Gradient, group));
      kernel.store(toDouble(sum(g * g)), norm, plan::AccessKind::SumRows);
      kernel.setCombine(first ? plan::Combine::Overwrite : plan::Combine::Add);
      kernel.finish();
      first = false;
    }
    if (first)
      plan::FillOp::create(builder, step.getLoc(), norm, /*first_micro_batch_only=*/false);
    SmallVector<int32_t> axes(getShardAxes());
    if (lowering.getGrid().getPp() > 1)
      axes.insert(llvm::lower_bound(axes, kStages), kStages);
    if (!axes.empty())
      reduce(norm, axes);
    RowKernel kernel(lowering, step, "norm", 1, 1);
    RowExpr root = sqrt(kernel.rowScalar(norm));
    if (lossScale)
      root = root * toDouble(kernel.scalar(getScalar(plan::InputKind::InverseLossScale)));
    kernel.store(root, norm, plan::AccessKind::RowScalar);
    kernel.finish();
  }

  Value getScalar(plan::InputKind kind) { return lowering.getInput(kind, {}, builder.getF32Type()); }

  /// Loshchilov and Hutter 2019, algorithm 2 (decoupled decay), on the clipped gradient.
  void buildAdamW(const SegmentGroup &group) {
    int64_t rows = getOwnRows(group), moments = layout.getMomentBytes(group);
    RowKernel kernel(lowering, step, group.decay ? "adamw_decay" : "adamw", rows, layout.columns);
    Value parameter = getOwn(plan::Segment::Parameter, group);
    Value first = makeRange(plan::Segment::OptimizerState, moments, rows);
    Value second = makeRange(plan::Segment::OptimizerState, layout.getSecondMomentBytes() + moments, rows);
    RowExpr p = kernel.row(parameter), m = kernel.row(first), v = kernel.row(second);
    RowExpr g = kernel.row(getOwn(plan::Segment::Gradient, group));
    RowExpr rate = kernel.scalar(getScalar(plan::InputKind::LearningRate));
    RowExpr clip = kernel.scalar(getScalar(plan::InputKind::ClipNorm));
    RowExpr total = toFloat(kernel.scalar(norm));
    RowExpr one = kernel.constant(1.0);
    RowExpr factor = select(greater(clip, kernel.constant(0.0)), min(one, clip / (total + 1e-6)), one);
    if (lossScale)
      factor = factor * kernel.scalar(getScalar(plan::InputKind::InverseLossScale));
    RowExpr clipped = g * factor;
    RowExpr newM = adamw.beta1 * m + (1.0 - adamw.beta1) * clipped;
    RowExpr newV = adamw.beta2 * v + (1.0 - adamw.beta2) * (clipped * clipped);
    RowExpr correctedV = newV * kernel.scalar(getScalar(plan::InputKind::BiasCorrection2));
    RowExpr step = rate * kernel.scalar(getScalar(plan::InputKind::BiasCorrection1));
    RowExpr decayed = group.decay ? p * (1.0 - rate * kernel.scalar(getScalar(plan::InputKind::WeightDecay))) : p;
    RowExpr newP = decayed - step * newM / (sqrt(correctedV) + adamw.eps);
    if (lossScale) { // an overflow changes nothing
      RowExpr finite = greater(kernel.constant(std::numeric_limits<float>::max()), total);
      newP = select(finite, newP, p);
      newM = select(finite, newM, m);
      newV = select(finite, newV, v);
    }
    kernel.store(newP, parameter, plan::AccessKind::Row);
    kernel.store(newM, first, plan::AccessKind::Row);
    kernel.store(newV, second, plan::AccessKind::Row);
    kernel.finish();
  }

  static constexpr auto kStages = static_cast<int32_t>(sp::Axis::PP);

  nn::StepOp step;
  PlanLowering &lowering;
  const StepMetrics &metrics;
  const bool lossScale;
  OpBuilder &builder;
  SegmentLayout layout;
  AdamW adamw{};
  plan::MetricOp norm;
};

} // namespace

LogicalResult seqpar::lowerUpdate(nn::StepOp step, PlanLowering &lowering, const StepMetrics &metrics,
                                  bool lossScale) {
  return UpdateLowering(step, lowering, metrics, lossScale).run();
}
