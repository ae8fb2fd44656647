//===- AssignSegments.cpp - offsets of what outlives a micro-batch --------===//
#include "seqpar/Dialect/Plan/Memory.h"
#include "seqpar/Transforms/Passes.h"
#include "seqpar/Transforms/StageLayout.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringMap.h"

namespace seqpar {
#define GEN_PASS_DEF_ASSIGNSEGMENTS
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

namespace {

/// Assigns the offsets of one stage.
class SegmentAssigner {
public:
  explicit SegmentAssigner(plan::StageOp stage) : stage(stage) {}

  LogicalResult run() {
    if (failed(assignParameters()) || failed(assignMirrors()))
      return failure();
    int64_t gradientBytes = assignInOrder<plan::MetricOp>(layout.getMetricBytes());
    int64_t inputBytes = assignInputs();
    stage.setParameterBytes(layout.elements * 4);
    stage.setGradientBytes(gradientBytes);
    stage.setOptimizerStateBytes(2 * layout.getSecondMomentBytes());
    stage.setInputBytes(inputBytes);
    return checkRanges();
  }

private:
  LogicalResult assignParameters();
  LogicalResult assignMirrors();
  template <typename OpTy> int64_t assignInOrder(int64_t offset);
  int64_t assignInputs();
  LogicalResult checkRanges();

  plan::StageOp stage;
  SegmentLayout layout;
  llvm::StringMap<plan::ParameterOp> parameters;
};

} // namespace

LogicalResult SegmentAssigner::assignParameters() {
  SmallVector<plan::ParameterOp> ops(stage.getOps<plan::ParameterOp>());
  for (plan::ParameterOp op : ops) {
    if (!parameters.try_emplace(op.getName(), op).second)
      return op.emitOpError("declares '") << op.getName() << "' a second time";
    auto type = cast<MemRefType>(op.getResult().getType());
    if (!type.getElementType().isF32())
      return op.emitOpError("expected elements of f32, found ") << type;
  }
  layout = computeStageLayout(stage);
  for (auto [op, offset] : llvm::zip(ops, layout.offsets))
    op.setOffset(offset * 4);
  return success();
}

/// Gradients and moments lie where their parameters lie.
LogicalResult SegmentAssigner::assignMirrors() {
  auto find = [&](Operation *op, StringRef name, Value memory) {
    plan::ParameterOp parameter = parameters.lookup(name);
    if (!parameter)
      op->emitOpError("names '") << name << "', which is no parameter of this stage";
    else if (parameter.getResult().getType() != memory.getType())
      op->emitOpError("expected the parameter's type ")
          << parameter.getResult().getType() << ", found " << memory.getType();
    else
      return parameter;
    return plan::ParameterOp();
  };
  for (auto op : stage.getOps<plan::GradientOp>()) {
    plan::ParameterOp parameter = find(op, op.getName(), op.getResult());
    if (!parameter)
      return failure();
    op.setOffset(*parameter.getOffset());
  }
  for (auto op : stage.getOps<plan::MomentOp>()) {
    if (layout.members > 1)
      return op.emitOpError("of one parameter in a stage whose ranks share the update; expected a plan.shard");
    plan::ParameterOp parameter = find(op, op.getName(), op.getResult());
    if (!parameter)
      return failure();
    op.setOffset(*parameter.getOffset() + (op.getOrder() == 2 ? layout.getSecondMomentBytes() : 0));
  }
  return success();
}

/// Returns the end of the last one.
template <typename OpTy> int64_t SegmentAssigner::assignInOrder(int64_t offset) {
  for (OpTy op : stage.getOps<OpTy>()) {
    op.setOffset(offset);
    offset += alignBuffer(plan::getByteCount(op.getResult()));
  }
  return offset;
}

/// The backward part reads what the feed wrote for its micro-batch again, so each slot has a copy.
/// Scalars are numbers of the step.
int64_t SegmentAssigner::assignInputs() {
  int64_t offset = 0, slots = stage.getSlots();
  for (auto op : stage.getOps<plan::InputOp>()) {
    int64_t bytes = alignBuffer(plan::getByteCount(op.getResult()));
    bool copies = slots > 1 && cast<MemRefType>(op.getResult().getType()).getRank() > 0;
    op.setOffset(offset);
    if (copies)
      op.setSlotBytes(bytes);
    offset += copies ? slots * bytes : bytes;
  }
  return offset;
}

LogicalResult SegmentAssigner::checkRanges() {
  auto check = [&](plan::RangeOp op) {
    int64_t size = op.getSegment() == plan::Segment::Parameter  ? layout.elements * 4
                   : op.getSegment() == plan::Segment::Gradient ? layout.elements * 4
                                                                : 2 * layout.getSecondMomentBytes();
    bool isArray = op.getSegment() == plan::Segment::Parameter ||
                   op.getSegment() == plan::Segment::Gradient ||
                   op.getSegment() == plan::Segment::OptimizerState;
    int64_t ranges = op.getSharded() ? layout.members : 1;
    int64_t end =
        static_cast<int64_t>(op.getOffset()) + ranges * plan::getByteCount(op.getResult());
    if (!isArray || end > size) {
      op.emitOpError("expected a range of parameters, gradients or moments that ends by byte ")
          << size << ", found '" << plan::stringifySegment(op.getSegment()) << "' up to byte "
          << end;
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  };
  return failure(stage.walk(check).wasInterrupted());
}

namespace {
struct AssignSegments : seqpar::impl::AssignSegmentsBase<AssignSegments> {
  void runOnOperation() override {
    WalkResult result = getOperation().walk([&](plan::StageOp stage) {
      return failed(SegmentAssigner(stage).run()) ? WalkResult::interrupt() : WalkResult::skip();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
