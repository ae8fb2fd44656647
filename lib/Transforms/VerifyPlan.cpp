//===- VerifyPlan.cpp - every op reads what was meant for it --------------===//
#include "BufferAccess.h"
#include "seqpar/Dialect/Plan/Memory.h"
#include "seqpar/Transforms/Passes.h"
#include "seqpar/Transforms/StageLayout.h"
#include "seqpar/Transforms/Turns.h"

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

/// Micro-batches that are followed; with fewer slots, as many as use each slot twice.
static constexpr int64_t kMost = 40;

namespace {

/// A buffer in one slot.
using Copy = std::pair<Value, int64_t>;

/// A copy that is being sent or received.
struct Exchange {
  Operation *start;
  int64_t tag, microBatch;
  Copy copy;
  bool receives;
};

/// Follows one stage.
class Follower {
public:
  explicit Follower(plan::StageOp stage);

  LogicalResult run();

private:
  LogicalResult followTurn(plan::MicroBatchOp parts, const Turn &turn);
  LogicalResult follow(Block &block) { return follow(block.begin(), block.end()); }
  LogicalResult follow(Block::iterator begin, Block::iterator end);
  LogicalResult followRingLoop(sp::RingLoopOp loop);
  LogicalResult followRowsLoop(plan::RowsLoopOp loop);
  LogicalResult access(Operation *op);
  LogicalResult read(Operation *op, Value buffer);
  LogicalResult write(Operation *op, Value buffer);
  LogicalResult checkOverwrites(Operation *op, ArrayRef<BufferAccess> accesses);
  LogicalResult start(Operation *op);
  LogicalResult wait(sp::WaitOp op);
  LogicalResult checkAllWaitedFor();
  bool overlap(Value a, Value b) const;

  void findSharing();
  /// Forgets what lies in memory that another micro-batch may have used since.
  void forget(bool slotToo);
  /// The copy that `value` stands for in the present iteration and micro-batch.
  Copy resolve(Value value) const;

  plan::StageOp stage;
  int64_t ringSize;
  int64_t members;                  ///< ranks that share the update
  int64_t iteration = 0;            ///< of the ring loop, from 1; 0 outside
  bool isLast = false;              ///< whether it is the last iteration of the ring loop
  int64_t microBatch = 0, slot = 0; ///< the present ones
  bool isLastOfStep = false;        ///< the micro-batch is the last one that is followed
  SmallVector<plan::BufferOp> arena;
  DenseMap<Copy, SmallVector<Copy>> sharing; ///< the copies that share bytes with each
  DenseSet<Copy> unset; ///< buffers and accumulators that do not hold their value
  SmallVector<Exchange> exchanges;
};

} // namespace

Follower::Follower(plan::StageOp stage)
    : stage(stage), ringSize(stage->getParentOfType<plan::ProgramOp>().getGrid().getSp()),
      members(computeStageLayout(stage).members) {
  stage.walk([&](plan::BufferOp buffer) { arena.push_back(buffer); });
  findSharing();
}

void Follower::findSharing() {
  struct Range {
    int64_t begin, end;
    Copy copy;
  };
  SmallVector<Range> ranges;
  for (plan::BufferOp buffer : arena) {
    if (!buffer.getOffset())
      continue;
    int64_t bytes = plan::getByteCount(buffer);
    int64_t copies = buffer.getSlotBytes() ? std::min<int64_t>(stage.getSlots(), kMost) : 1;
    for (int64_t i = 0; i < copies; ++i) {
      int64_t begin = *buffer.getOffset() + i * buffer.getSlotBytes().value_or(0);
      ranges.push_back({begin, begin + bytes, {buffer.getResult(), i}});
    }
  }
  llvm::stable_sort(ranges, [](const Range &a, const Range &b) { return a.begin < b.begin; });
  for (auto [i, first] : llvm::enumerate(ranges))
    for (const Range &second : ArrayRef(ranges).drop_front(i + 1)) {
      if (second.begin >= first.end)
        break;
      sharing[first.copy].push_back(second.copy);
      sharing[second.copy].push_back(first.copy);
    }
}

Copy Follower::resolve(Value value) const {
  if (auto alternate = value.getDefiningOp<sp::AlternateOp>())
    return resolve(iteration % 2 ? alternate.getOdd() : alternate.getEven());
  auto buffer = value.getDefiningOp<plan::BufferOp>();
  return {value, buffer && buffer.getSlotBytes() ? slot : 0};
}

LogicalResult Follower::run() {
  for (Operation &op : stage.getBody().front()) {
    // What the step adds to must be set or cleared by its first micro-batch.
    if (isa<plan::GradientOp, plan::MetricOp>(op))
      unset.insert({op.getResult(0), 0});
    if (auto parts = dyn_cast<plan::MicroBatchOp>(op))
      for (SmallVector<Turn> turns =
               getFirstTurns(stage, std::min<int64_t>(2 * stage.getSlots() + 2, kMost));
           const Turn &turn : turns) {
        isLastOfStep = llvm::all_of(
            turns, [&](const Turn &other) { return other.microBatch <= turn.microBatch; });
        if (failed(followTurn(parts, turn)))
          return failure();
      }
    if (auto update = dyn_cast<plan::UpdateOp>(op)) {
      for (slot = 0; slot < std::min<int64_t>(stage.getSlots(), kMost); ++slot)
        forget(/*slotToo=*/true);
      slot = 0;
      microBatch = std::numeric_limits<int64_t>::max(); // its waits complete everything
      if (failed(follow(update.getBody().front())))
        return failure();
    }
  }
  return checkAllWaitedFor();
}

void Follower::forget(bool slotToo) {
  for (plan::BufferOp buffer : arena)
    if (slotToo || (!buffer.getSlotBytes() && !buffer.getWholeStep()))
      unset.insert(resolve(buffer.getResult()));
}

LogicalResult Follower::followTurn(plan::MicroBatchOp parts, const Turn &turn) {
  Block &block = parts.getBody().front();
  plan::BackwardOp backward = findBackward(block);
  Block::iterator border = backward ? backward->getIterator() : block.end();
  int64_t slots = stage.getSlots();
  microBatch = turn.microBatch;
  slot = microBatch % slots;
  if (!turn.backward || slots > 1)
    forget(/*slotToo=*/!turn.backward);
  return turn.backward ? follow(border, block.end()) : follow(block.begin(), border);
}

LogicalResult Follower::follow(Block::iterator begin, Block::iterator end) {
  for (Operation &op : llvm::make_range(begin, end)) {
    LogicalResult result = success();
    if (auto loop = dyn_cast<sp::RingLoopOp>(op))
      result = followRingLoop(loop);
    else if (auto loop = dyn_cast<plan::RowsLoopOp>(op))
      result = followRowsLoop(loop);
    else if (getStartedTag(&op))
      result = start(&op);
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
  DenseSet<Copy> unsetBefore = unset;
  for (int pass = 0; pass < 2; ++pass)
    if (failed(follow(loop.getBody().front())))
      return failure();
  unset.insert_range(unsetBefore);
  return success();
}

/// The bytes of a gradient or of a range of gradients; none for other memory. What is sharded has
/// those of all members: ranks run the same ops, and each its own shard.
static std::pair<int64_t, int64_t> getGradientBytes(Value memory, int64_t members) {
  int64_t bytes = plan::getByteCount(memory), begin = -1;
  if (auto gradient = memory.getDefiningOp<plan::GradientOp>())
    begin = gradient.getOffset().value_or(-1);
  auto range = memory.getDefiningOp<plan::RangeOp>();
  if (range && range.getSegment() == plan::Segment::Gradient) {
    begin = range.getOffset();
    bytes *= range.getSharded() ? members : 1;
  }
  return begin < 0 ? std::pair<int64_t, int64_t>(0, 0) : std::pair(begin, begin + bytes);
}

bool Follower::overlap(Value a, Value b) const {
  auto [beginA, endA] = getGradientBytes(a, members);
  auto [beginB, endB] = getGradientBytes(b, members);
  return beginA < endB && beginB < endA;
}

LogicalResult Follower::read(Operation *op, Value buffer) {
  Copy copy = resolve(buffer);
  for (const Exchange &exchange : exchanges)
    if (exchange.receives && (exchange.copy == copy || overlap(exchange.copy.first, copy.first)))
      return op->emitOpError("reads a buffer before the wait for what it receives");
  if (!unset.contains(copy))
    return success();
  InFlightDiagnostic error = op->emitOpError("reads a buffer that does not hold its value");
  error.attachNote(copy.first.getLoc())
      << "this one: it is not written before, or overwritten since";
  return error;
}

LogicalResult Follower::write(Operation *op, Value buffer) {
  Copy copy = resolve(buffer);
  auto shared = sharing.find(copy);
  ArrayRef<Copy> others = shared == sharing.end() ? ArrayRef<Copy>() : shared->second;
  for (const Exchange &exchange : exchanges)
    if (exchange.copy == copy || llvm::is_contained(others, exchange.copy) ||
        overlap(exchange.copy.first, copy.first))
      return op->emitOpError("writes a buffer that is in transit between ranks");
  unset.insert_range(others);
  unset.erase(copy);
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
    if (access.writes && failed(write(op, access.buffer)))
      return failure();
  // One op must not destroy with one output what another holds.
  for (const BufferAccess &access : accesses)
    if (access.writes && failed(read(op, access.buffer)))
      return failure();
  return success();
}

LogicalResult Follower::start(Operation *op) {
  int64_t tag = *getStartedTag(op);
  bool reduces = isa<sp::AllReduceOp, sp::ReduceScatterOp>(op);
  if (reduces && !isLastOfStep && microBatch != std::numeric_limits<int64_t>::max())
    return success();
  if (!isa<sp::SendOp>(op) && !reduces && !findWaitOf(op))
    return op->emitOpError("has no wait with tag ") << tag << " behind it in its block";
  if (auto shift = dyn_cast<sp::RingShiftStartOp>(op); shift && isLast && shift.getSkipLast())
    return success();
  if (failed(access(op)))
    return failure();
  for (const BufferAccess &access : getBufferAccesses(op))
    exchanges.push_back({op, tag, microBatch, resolve(access.buffer), access.writes});
  return success();
}

LogicalResult Follower::wait(sp::WaitOp op) {
  int64_t tag = op.getTag();
  Operation *start = findStartOf(op);
  auto isStart = [&](Operation *op) {
    bool elsewhere = isa<sp::SendOp, sp::AllReduceOp, sp::ReduceScatterOp>(op);
    return elsewhere && getStartedTag(op) == tag ? WalkResult::interrupt() : WalkResult::advance();
  };
  if (!start && !stage.walk(isStart).wasInterrupted())
    return op.emitOpError("has no start with tag ") << tag << " before it in its block";
  if (auto shift = dyn_cast_or_null<sp::RingShiftStartOp>(start);
      shift && shift.getSkipLast() != op.getSkipLast())
    return op.emitOpError("and its start do not agree on skip_last");
  // What later micro-batches have sent with this tag goes on.
  llvm::erase_if(exchanges, [&](const Exchange &exchange) {
    return exchange.tag == tag && exchange.microBatch <= microBatch;
  });
  return success();
}

LogicalResult Follower::checkAllWaitedFor() {
  if (exchanges.empty())
    return success();
  return exchanges.front().start->emitOpError("is not waited for by the end of the step");
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
