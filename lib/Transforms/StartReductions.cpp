//===- StartReductions.cpp - reductions beside the backward part ----------===//
#include "BufferAccess.h"
#include "seqpar/Dialect/Plan/Memory.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"

namespace seqpar {
#define GEN_PASS_DEF_STARTREDUCTIONS
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

/// The range of gradients that an op of the update reduces, or null.
static plan::RangeOp getReducedRange(Operation *op) {
  if (!isa<sp::AllReduceOp, sp::ReduceScatterOp>(op) || getStartedTag(op))
    return {};
  auto range = op->getOperand(0).getDefiningOp<plan::RangeOp>();
  return range && range.getSegment() == plan::Segment::Gradient ? range : plan::RangeOp();
}

namespace {

/// The reductions of one stage.
class Starter {
public:
  explicit Starter(plan::StageOp stage)
      : microBatch((*stage.getOps<plan::MicroBatchOp>().begin()).getBody().front()),
        update((*stage.getOps<plan::UpdateOp>().begin()).getBody().front()) {
    for (auto gradient : stage.getOps<plan::GradientOp>())
      gradients.push_back(gradient);
    stage.walk([&](Operation *op) {
      if (auto wait = dyn_cast<sp::WaitOp>(op))
        nextTag = std::max(nextTag, static_cast<int64_t>(wait.getTag()) + 1);
      nextTag = std::max(nextTag, getStartedTag(op).value_or(-1) + 1);
    });
  }

  void run() {
    for (Operation &op : llvm::make_early_inc_range(update))
      if (plan::RangeOp range = getReducedRange(&op))
        if (Operation *last = findLastUser(range))
          start(&op, last);
  }

private:
  /// The last op of the micro-batch that works on a gradient in the range.
  Operation *findLastUser(plan::RangeOp range) {
    int64_t begin = range.getOffset(), end = begin + plan::getByteCount(range.getResult());
    Operation *last = nullptr;
    for (plan::GradientOp gradient : gradients) {
      int64_t offset = gradient.getOffset().value_or(-1);
      if (offset < begin || offset >= end)
        continue;
      for (Operation *user : gradient.getResult().getUsers()) {
        Operation *ancestor = microBatch.findAncestorOpInBlock(*user);
        if (ancestor && (!last || last->isBeforeInBlock(ancestor)))
          last = ancestor;
      }
    }
    return last;
  }

  void start(Operation *reduction, Operation *after) {
    int64_t tag = nextTag++;
    OpBuilder builder(reduction);
    sp::WaitOp::create(builder, reduction->getLoc(), tag);
    // Behind those that begin at the same place: they keep their order.
    while (starts.contains(after->getNextNode()))
      after = after->getNextNode();
    builder.setInsertionPointAfter(after);
    IRMapping mapping;
    for (Value operand : reduction->getOperands())
      starts.insert(builder.clone(*operand.getDefiningOp(), mapping));
    Operation *started = builder.clone(*reduction, mapping);
    starts.insert(started);
    if (auto reduce = dyn_cast<sp::AllReduceOp>(started))
      reduce.setTag(tag);
    else
      cast<sp::ReduceScatterOp>(started).setTag(tag);
    reduction->erase();
  }

  Block &microBatch, &update;
  SmallVector<plan::GradientOp> gradients;
  DenseSet<Operation *> starts; ///< what was put into the micro-batch
  int64_t nextTag = 0;
};

struct StartReductions : seqpar::impl::StartReductionsBase<StartReductions> {
  void runOnOperation() override {
    getOperation().walk([](plan::StageOp stage) {
      Starter(stage).run();
      return WalkResult::skip();
    });
  }
};

} // namespace
