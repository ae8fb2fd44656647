//===- VerifyPlan.cpp - every op reads what was meant for it --------------===//
#include "BufferAccess.h"
#include "seqpar/Transforms/Passes.h"
#include "seqpar/Transforms/SegmentLayout.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

namespace seqpar {
#define GEN_PASS_DEF_VERIFYPLAN
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

/// Iterations of a ring loop that are followed; from the fourth on all repeat.
static constexpr int64_t kIterations = 4;

namespace {

/// Follows one stage.
class Follower {
public:
  explicit Follower(plan::StageOp stage);

  LogicalResult run();

private:
  LogicalResult follow(Block &block);
  LogicalResult followRingLoop(sp::RingLoopOp loop);
  LogicalResult followRowsLoop(plan::RowsLoopOp loop);
  LogicalResult access(Operation *op);
  LogicalResult read(Operation *op, Value buffer);
  LogicalResult write(Operation *op, Value buffer, bool alsoReads);
  LogicalResult checkOverwrites(Operation *op, ArrayRef<BufferAccess> accesses);
  LogicalResult start(sp::RingShiftStartOp op);
  LogicalResult wait(sp::WaitOp op);

  /// The buffer that `value` stands for in the present iteration.
  Value resolve(Value value) const;
  bool shareBytes(Value a, Value b) const;

  plan::StageOp stage;
  int64_t ringSize;
  int64_t iteration = 0; ///< of the ring loop, from 1; 0 outside
  bool isLast = false;   ///< whether it is the last iteration of the ring loop
  SmallVector<plan::BufferOp> arena;
  DenseSet<Value> unset; ///< buffers and accumulators that do not hold their value
  DenseSet<Value> receiving, sending;
};

} // namespace

Follower::Follower(plan::StageOp stage)
    : stage(stage), ringSize(stage->getParentOfType<plan::ProgramOp>().getGrid().getSp()) {
  stage.walk([&](plan::BufferOp buffer) { arena.push_back(buffer); });
}

Value Follower::resolve(Value value) const {
  auto alternate = value.getDefiningOp<sp::AlternateOp>();
  if (!alternate)
    return value;
  return resolve(iteration % 2 ? alternate.getOdd() : alternate.getEven());
}

bool Follower::shareBytes(Value a, Value b) const {
  auto first = a.getDefiningOp<plan::BufferOp>(), second = b.getDefiningOp<plan::BufferOp>();
  if (!first || !second || !first.getOffset() || !second.getOffset())
    return a == b;
  auto end = [](plan::BufferOp buffer) {
    auto type = cast<MemRefType>(buffer.getResult().getType());
    return static_cast<int64_t>(*buffer.getOffset()) +
           type.getNumElements() * ((type.getElementTypeBitWidth() + 7) / 8);
  };
  return static_cast<int64_t>(*first.getOffset()) < end(second) &&
         static_cast<int64_t>(*second.getOffset()) < end(first);
}

LogicalResult Follower::run() {
  for (Operation &op : stage.getBody().front()) {
    // What the step adds to must be set or cleared by its first micro-batch.
    if (isa<plan::GradientOp, plan::MetricOp>(op))
      unset.insert(op.getResult(0));
    if (auto microBatch = dyn_cast<plan::MicroBatchOp>(op)) {
      for (plan::BufferOp buffer : arena)
        unset.insert(buffer.getResult());
      if (failed(follow(microBatch.getBody().front())))
        return failure();
    }
    if (auto update = dyn_cast<plan::UpdateOp>(op)) {
      for (plan::BufferOp buffer : arena)
        unset.insert(buffer.getResult());
      if (failed(follow(update.getBody().front())))
        return failure();
    }
  }
  return success();
}

LogicalResult Follower::follow(Block &block) {
  for (Operation &op : block) {
    LogicalResult result = success();
    if (auto loop = dyn_cast<sp::RingLoopOp>(op))
      result = followRingLoop(loop);
    else if (auto loop = dyn_cast<plan::RowsLoopOp>(op))
      result = followRowsLoop(loop);
    else if (auto startOp = dyn_cast<sp::RingShiftStartOp>(op))
      result = start(startOp);
    else if (auto waitOp = dyn_cast<sp::WaitOp>(op))
      result = wait(waitOp);
    else
      result = access(&op);
    if (failed(result))
      return failure();
  }
  return success();
}

LogicalResult Follower::followRingLoop(sp::RingLoopOp loop) {
  // The last iteration differs (skip_last) and has the parity that the result depends on.
  int64_t last = ringSize - 1;
  while (last > kIterations)
    last -= 2;
  for (iteration = 1; iteration <= last; ++iteration) {
    isLast = iteration == last;
    if (failed(follow(loop.getBody().front())))
      return failure();
  }
  isLast = false;
  iteration = 0;
  return success();
}

/// The body may run several times or not at all: what only the body sets is not set afterwards.
LogicalResult Follower::followRowsLoop(plan::RowsLoopOp loop) {
  DenseSet<Value> unsetBefore = unset;
  for (int pass = 0; pass < 2; ++pass)
    if (failed(follow(loop.getBody().front())))
      return failure();
  unset.insert_range(unsetBefore);
  return success();
}

LogicalResult Follower::read(Operation *op, Value buffer) {
  buffer = resolve(buffer);
  if (receiving.contains(buffer))
    return op->emitOpError("reads a buffer before the wait for what it receives");
  if (!unset.contains(buffer))
    return success();
  InFlightDiagnostic error = op->emitOpError("reads a buffer that does not hold its value");
  error.attachNote(buffer.getLoc()) << "this one: it is not written before, or overwritten since";
  return error;
}

LogicalResult Follower::write(Operation *op, Value buffer, bool alsoReads) {
  if (alsoReads && failed(read(op, buffer)))
    return failure();
  buffer = resolve(buffer);
  for (Value other : llvm::concat<Value>(SmallVector<Value>(receiving.begin(), receiving.end()),
                                         SmallVector<Value>(sending.begin(), sending.end())))
    if (shareBytes(buffer, other))
      return op->emitOpError("writes a buffer that is in transit between ranks");
  if (buffer.getDefiningOp<plan::BufferOp>())
    for (plan::BufferOp other : arena)
      if (other.getResult() != buffer && shareBytes(buffer, other.getResult()))
        unset.insert(other.getResult());
  unset.erase(buffer);
  return success();
}

/// A row kernel may write the row or element of an input that it has just read; no other op may
/// write what it only reads.
LogicalResult Follower::checkOverwrites(Operation *op, ArrayRef<BufferAccess> accesses) {
  auto rows = dyn_cast<plan::RowsOp>(op);
  for (auto [i, input] : llvm::enumerate(accesses)) {
    if (input.writes)
      continue;
    for (auto [j, out] : llvm::enumerate(accesses)) {
      if (!out.writes || resolve(input.buffer) != resolve(out.buffer))
        continue;
      plan::AccessKind kind = plan::AccessKind::Gather;
      if (rows && rows.getInputAccess(i) == rows.getOutputAccess(j - rows.getInputs().size()))
        kind = rows.getInputAccess(i).getKind();
      if (kind != plan::AccessKind::Row && kind != plan::AccessKind::RowScalar)
        return op->emitOpError("overwrites a buffer while it reads it");
    }
  }
  return success();
}

LogicalResult Follower::access(Operation *op) {
  SmallVector<BufferAccess> accesses = getBufferAccesses(op, iteration <= 1);
  if (failed(checkOverwrites(op, accesses)))
    return failure();
  for (const BufferAccess &access : accesses)
    if (access.reads && failed(read(op, access.buffer)))
      return failure();
  for (const BufferAccess &access : accesses)
    if (access.writes && failed(write(op, access.buffer, false)))
      return failure();
  // One op must not destroy with one output what another holds.
  for (const BufferAccess &access : accesses)
    if (access.writes && failed(read(op, access.buffer)))
      return failure();
  return success();
}

LogicalResult Follower::start(sp::RingShiftStartOp op) {
  if (!findWaitOf(op))
    return op.emitOpError("has no wait with tag ") << op.getTag() << " behind it in its block";
  if (isLast && op.getSkipLast())
    return success();
  if (failed(access(op)))
    return failure();
  for (Value input : op.getInputs())
    sending.insert(resolve(input));
  for (Value out : op.getOuts())
    receiving.insert(resolve(out));
  return success();
}

LogicalResult Follower::wait(sp::WaitOp op) {
  sp::RingShiftStartOp start = findStartOf(op);
  if (!start)
    return op.emitOpError("has no start with tag ") << op.getTag() << " before it in its block";
  if (start.getSkipLast() != op.getSkipLast())
    return op.emitOpError("and its start do not agree on skip_last");
  for (Value input : start.getInputs())
    sending.erase(resolve(input));
  for (Value out : start.getOuts())
    receiving.erase(resolve(out));
  return success();
}

namespace {
struct VerifyPlan : seqpar::impl::VerifyPlanBase<VerifyPlan> {
  void runOnOperation() override {
    WalkResult result = getOperation().walk([](plan::StageOp stage) {
      return failed(Follower(stage).run()) ? WalkResult::interrupt() : WalkResult::skip();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
