//===- VerifyCommunication.cpp - the stages' communications meet ----------===//
//
// Ranks with the same stage run the same ops, so their ring shifts, and collectives over dp and sp,
// meet. What goes between stages is followed here over a step (of its first micro-batches, when
// there are very many): first the exchanges are counted and their sizes compared, then the stages
// run side by side until all are done or none can go on.
//
//===----------------------------------------------------------------------===//
#include "BufferAccess.h"
#include "seqpar/Dialect/Plan/Memory.h"
#include "seqpar/Transforms/Passes.h"
#include "seqpar/Transforms/Turns.h"

#include "llvm/ADT/TypeSwitch.h"

#include <map>

namespace seqpar {
#define GEN_PASS_DEF_VERIFYCOMMUNICATION
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

namespace {

/// One communication of a stage.
struct Event {
  enum Kind { Send, Receive, Wait, Collective } kind;
  Operation *op;
  int64_t microBatch;        ///< the last of all and more in the update
  int64_t peer = 0, tag = 0; ///< of exchanges and waits
  int64_t bytes = 0;
};

/// Where a stage is.
struct Progress {
  std::vector<Event> events;
  size_t next = 0;
  std::vector<std::pair<const Event *, size_t>> started; ///< and their numbers in their channels

  bool isDone() const { return next == events.size(); }
};

/// What one stage sends another with one tag.
struct Channel {
  std::vector<const Event *> sends, receives;
};

/// Follows all stages of a program.
class Communications {
public:
  explicit Communications(plan::ProgramOp program) : program(program) {}

  LogicalResult run() {
    for (auto stage : program.getBody().getOps<plan::StageOp>())
      if (failed(collect(stage)))
        return failure();
    return failure(failed(checkChannels()) || failed(follow()));
  }

private:
  LogicalResult collect(plan::StageOp stage);
  LogicalResult collect(Operation *op, int64_t microBatch, Progress &progress);
  LogicalResult checkChannels();
  LogicalResult follow();
  bool advance(int64_t stage);
  bool canComplete(int64_t stage, const Event &wait) const;
  FailureOr<bool> reduce();
  LogicalResult reportDeadlock();

  using Key = std::tuple<int64_t, int64_t, int64_t>; // sender, receiver, tag
  static Key getKey(int64_t stage, const Event &event) {
    return event.kind == Event::Send ? Key{stage, event.peer, event.tag}
                                     : Key{event.peer, stage, event.tag};
  }

  plan::ProgramOp program;
  std::vector<Progress> stages;
  std::map<Key, Channel> channels; ///< what has been started so far
};

} // namespace

/// The axes of a collective; none of another op.
static ArrayRef<int32_t> getAxes(Operation *op) {
  return llvm::TypeSwitch<Operation *, ArrayRef<int32_t>>(op)
      .Case<sp::AllReduceOp, sp::AllGatherOp, sp::ReduceScatterOp>(
          [](auto collective) { return collective.getAxes(); })
      .Default(ArrayRef<int32_t>());
}

/// Whether all stages must take part.
static bool isOverStages(Operation *op) {
  return llvm::is_contained(getAxes(op), static_cast<int32_t>(sp::Axis::PP));
}

/// In a loop over masked rows, whose iterations differ by rank, nobody may communicate; in a ring
/// loop only the ranks of the ring.
static LogicalResult checkLoop(Operation *loop) {
  bool rows = isa<plan::RowsLoopOp>(loop);
  return failure(
      loop->walk([&](Operation *op) {
            bool exchange = getStartedTag(op).has_value() ||
                            isa<sp::AllReduceOp, sp::AllGatherOp, sp::ReduceScatterOp>(op);
            if (rows ? !exchange : !isa<sp::SendOp, sp::ReceiveOp>(op) && !isOverStages(op))
              return WalkResult::advance();
            op->emitOpError(rows ? "communicates in a plan.rows_loop, whose iterations "
                                   "are not as many on every rank"
                                 : "communicates with other stages in a sp.ring_loop");
            return WalkResult::interrupt();
          })
          .wasInterrupted());
}

LogicalResult Communications::collect(Operation *op, int64_t microBatch, Progress &progress) {
  if (isa<sp::RingLoopOp, plan::RowsLoopOp>(op))
    return checkLoop(op);
  bool exchanges = isa<sp::SendOp, sp::ReceiveOp>(op) || isOverStages(op);
  if (exchanges && (op->getNumResults() > 0 || !isa<MemRefType>(op->getOperand(0).getType())))
    return op->emitOpError("is not in buffer form: run bufferize first");
  int64_t own = stages.size(), count = program.getGrid().getPp();
  auto exchange = [&](Event::Kind kind, auto op, Value memory) -> LogicalResult {
    int64_t peer = op.getStage();
    if (peer == own || peer >= count)
      return op.emitOpError("expected another of ") << count << " stages, found stage " << peer;
    progress.events.push_back({kind, op, microBatch, peer, static_cast<int64_t>(op.getTag()),
                               plan::getByteCount(memory)});
    return success();
  };
  if (auto send = dyn_cast<sp::SendOp>(op))
    return exchange(Event::Send, send, send.getInput());
  if (auto receive = dyn_cast<sp::ReceiveOp>(op))
    return exchange(Event::Receive, receive, receive.getOut());
  if (auto wait = dyn_cast<sp::WaitOp>(op))
    progress.events.push_back(
        {Event::Wait, op, microBatch, 0, static_cast<int64_t>(wait.getTag())});
  if (isOverStages(op))
    progress.events.push_back(
        {Event::Collective, op, microBatch, 0, 0, plan::getByteCount(op->getOperand(0))});
  return success();
}

LogicalResult Communications::collect(plan::StageOp stage) {
  Progress progress;
  for (Operation &region : stage.getBody().front()) {
    if (auto parts = dyn_cast<plan::MicroBatchOp>(region)) {
      Block &block = parts.getBody().front();
      plan::BackwardOp backward = findBackward(block);
      for (const Turn &turn : getFirstTurns(stage)) {
        bool inBackward = false;
        for (Operation &op : block) {
          inBackward |= &op == backward;
          if (inBackward == turn.backward && failed(collect(&op, turn.microBatch, progress)))
            return failure();
        }
      }
    }
    if (auto update = dyn_cast<plan::UpdateOp>(region))
      for (Operation &op : update.getBody().front())
        if (failed(collect(&op, std::numeric_limits<int64_t>::max(), progress)))
          return failure();
  }
  stages.push_back(std::move(progress));
  return success();
}

//===----------------------------------------------------------------------===//
// Counts and sizes
//===----------------------------------------------------------------------===//

LogicalResult Communications::checkChannels() {
  std::map<Key, Channel> all;
  for (auto [stage, progress] : llvm::enumerate(stages))
    for (const Event &event : progress.events) {
      if (event.kind == Event::Send)
        all[getKey(stage, event)].sends.push_back(&event);
      if (event.kind == Event::Receive)
        all[getKey(stage, event)].receives.push_back(&event);
    }
  for (auto &[key, channel] : all) {
    auto [sender, receiver, tag] = key;
    size_t sends = channel.sends.size(), receives = channel.receives.size();
    for (size_t i = 0; i < std::min(sends, receives); ++i) {
      const Event &send = *channel.sends[i], &receive = *channel.receives[i];
      if (send.bytes == receive.bytes)
        continue;
      InFlightDiagnostic error = send.op->emitOpError("of stage ")
                                 << sender << " sends " << send.bytes << " bytes with tag " << tag
                                 << ", but stage " << receiver << " receives " << receive.bytes;
      error.attachNote(receive.op->getLoc()) << "received here";
      return error;
    }
    if (sends == receives)
      continue;
    Operation *op = sends ? channel.sends[0]->op : channel.receives[0]->op;
    InFlightDiagnostic error = op->emitOpError("with tag ")
                               << tag << ": stage " << sender << " sends " << sends
                               << " times in a step, but stage " << receiver << " receives "
                               << receives << " times";
    if (sends && receives)
      error.attachNote(channel.receives[0]->op->getLoc()) << "received here";
    return error;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Progress
//===----------------------------------------------------------------------===//

/// Whether all that the wait is for has begun on both sides.
bool Communications::canComplete(int64_t stage, const Event &wait) const {
  for (auto [event, number] : stages[stage].started) {
    if (event->tag != wait.tag || event->microBatch > wait.microBatch)
      continue;
    const Channel &channel = channels.at(getKey(stage, *event));
    if (number >= channel.sends.size() || number >= channel.receives.size())
      return false;
  }
  return true;
}

/// Goes on by one communication where nobody else is needed; false when that cannot be.
bool Communications::advance(int64_t stage) {
  Progress &progress = stages[stage];
  if (progress.isDone())
    return false;
  const Event &event = progress.events[progress.next];
  if (event.kind == Event::Collective || (event.kind == Event::Wait && !canComplete(stage, event)))
    return false;
  if (event.kind == Event::Wait) {
    llvm::erase_if(progress.started, [&](auto started) {
      return started.first->tag == event.tag && started.first->microBatch <= event.microBatch;
    });
  } else {
    Channel &channel = channels[getKey(stage, event)];
    auto &side = event.kind == Event::Send ? channel.sends : channel.receives;
    progress.started.push_back({&event, side.size()});
    side.push_back(&event);
  }
  ++progress.next;
  return true;
}

/// When every stage has come to a collective: whether it is the same, and on with all of them.
FailureOr<bool> Communications::reduce() {
  for (const Progress &progress : stages)
    if (progress.isDone() || progress.events[progress.next].kind != Event::Collective)
      return false;
  if (stages.empty())
    return false;
  const Event &first = stages[0].events[stages[0].next];
  for (auto [stage, progress] : llvm::enumerate(stages)) {
    const Event &event = progress.events[progress.next];
    if (event.op->getName() == first.op->getName() && event.bytes == first.bytes &&
        event.op->getOperand(0).getType() == first.op->getOperand(0).getType() &&
        getAxes(event.op) == getAxes(first.op))
      continue;
    InFlightDiagnostic error = first.op->emitOpError("of stage 0 on ")
                               << first.op->getOperand(0).getType()
                               << " meets another one in stage " << stage;
    error.attachNote(event.op->getLoc()) << "stage " << stage << " is at " << event.op->getName()
                                         << " on " << event.op->getOperand(0).getType();
    return error;
  }
  for (Progress &progress : stages)
    ++progress.next;
  return true;
}

LogicalResult Communications::follow() {
  for (bool moved = true; moved;) {
    moved = false;
    for (size_t stage = 0; stage < stages.size(); ++stage)
      while (advance(stage))
        moved = true;
    FailureOr<bool> reduced = reduce();
    if (failed(reduced))
      return failure();
    moved |= *reduced;
  }
  if (llvm::all_of(stages, [](const Progress &progress) { return progress.isDone(); }))
    return success();
  return reportDeadlock();
}

LogicalResult Communications::reportDeadlock() {
  std::optional<InFlightDiagnostic> error;
  for (auto [stage, progress] : llvm::enumerate(stages)) {
    if (progress.isDone())
      continue;
    const Event &event = progress.events[progress.next];
    std::string what = ("stage " + Twine(stage) + " waits for ").str();
    if (event.kind == Event::Collective) {
      what += "the other stages";
    } else {
      const Event *missing = nullptr;
      for (auto [started, number] : progress.started) {
        const Channel &channel = channels.at(getKey(stage, *started));
        if (started->tag == event.tag && started->microBatch <= event.microBatch &&
            (number >= channel.sends.size() || number >= channel.receives.size()) && !missing)
          missing = started;
      }
      what +=
          ("stage " + Twine(missing->peer) + " to " +
           (missing->kind == Event::Send ? "receive" : "send") + " with tag " + Twine(event.tag))
              .str();
    }
    if (event.microBatch != std::numeric_limits<int64_t>::max())
      what += " in micro-batch " + std::to_string(event.microBatch);
    if (!error)
      error.emplace(event.op->emitOpError("would wait for ever: ") << what);
    else
      error->attachNote(event.op->getLoc()) << what;
  }
  return failure();
}

namespace {
struct VerifyCommunication : seqpar::impl::VerifyCommunicationBase<VerifyCommunication> {
  void runOnOperation() override {
    for (auto program : getOperation().getOps<plan::ProgramOp>())
      if (failed(Communications(program).run()))
        return signalPassFailure();
  }
};
} // namespace
