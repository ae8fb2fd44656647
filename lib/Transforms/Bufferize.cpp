//===- Bufferize.cpp - values become buffers ------------------------------===//
//
// Ops are rewritten in order. A value is mapped to the buffer that holds it: a new one, that of the
// value which its op updates in place, or an accumulator.
//
//===----------------------------------------------------------------------===//
#include "Accumulators.h"
#include "BufferAccess.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/TypeSwitch.h"

namespace seqpar {
#define GEN_PASS_DEF_BUFFERIZE
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

namespace {

class Bufferizer {
public:
  Bufferizer(int64_t ringSize, bool reuseInputs) : ringSize(ringSize), reuseInputs(reuseInputs) {}

  /// `body` of a micro-batch (with its accumulators) or of the update.
  LogicalResult run(Block &body, const Accumulators &accumulators);

private:
  LogicalResult bufferizeBlock(Block &block);
  LogicalResult bufferize(Operation *op);
  LogicalResult bufferizeGemm(plan::GemmOp op);
  LogicalResult bufferizeRows(plan::RowsOp op);
  LogicalResult bufferizeAttention(sp::AttentionBlockOp op);
  LogicalResult bufferizeAttentionGrad(sp::AttentionBlockGradOp op);
  LogicalResult bufferizeShiftStart(sp::RingShiftStartOp op);
  LogicalResult bufferizeSend(sp::SendOp op);
  LogicalResult bufferizeReceive(sp::ReceiveOp op);
  LogicalResult bufferizeWait(sp::WaitOp op);
  LogicalResult bufferizeAllReduce(sp::AllReduceOp op);
  template <typename OpTy> LogicalResult bufferizeGather(OpTy op);
  LogicalResult bufferizeRingLoop(sp::RingLoopOp op);
  LogicalResult bufferizeRowsLoop(plan::RowsLoopOp op);

  FailureOr<Value> getRowsOutput(plan::RowsOp op, unsigned output, plan::Combine combine,
                                 unsigned &nextOut, SmallVectorImpl<Value> &taken);
  Value findReusableInput(plan::RowsOp op, OpResult result, ArrayRef<Value> taken);
  bool isOnlyReadByRow(plan::RowsOp op, Value value);

  LogicalResult tieCarried(Operation *loop, OperandRange inits, Block &body,
                           unsigned firstArgument);
  LogicalResult checkYield(Operation *loop, Block &body, unsigned firstArgument);
  LogicalResult alternate(sp::RingLoopOp loop, unsigned index, sp::RingShiftStartOp start,
                          unsigned received);
  void moveBody(Block &from, Block &to);

  LogicalResult checkUpdatesInPlace(Operation *op, Value value);
  Value getBuffer(Value value) const {
    return isa<MemRefType>(value.getType()) ? value : buffers.lookup(value);
  }
  SmallVector<Value> getBuffers(ValueRange values) const {
    return llvm::map_to_vector(values, [&](Value value) { return getBuffer(value); });
  }
  Value allocate(Operation *op, Type type, const Twine &name, bool communication = false);

  int64_t ringSize;
  bool reuseInputs;
  const Accumulators *accumulators = nullptr;
  DenseMap<Value, Value> buffers;
  DenseMap<Value, Value> receiveInto;    ///< results of starts whose buffers a loop decides
  DenseMap<Value, Operation *> lastUser; ///< in the block that defines the value
  SmallVector<Operation *> replaced;
};

} // namespace

//===----------------------------------------------------------------------===//
// Preparation
//===----------------------------------------------------------------------===//

/// One plan.zeros or plan.empty for each use, right before it, so that each can be written in place
/// and none lives longer than it must.
static void separateUses(Block &body) {
  SmallVector<Operation *> constants;
  body.walk([&](Operation *op) {
    if (isa<plan::ZerosOp, plan::EmptyOp>(op))
      constants.push_back(op);
  });
  for (Operation *op : constants) {
    for (OpOperand &use : llvm::make_early_inc_range(op->getUses())) {
      OpBuilder builder(use.getOwner());
      use.set(builder.clone(*op)->getResult(0));
    }
    op->erase();
  }
}

static DenseMap<Value, Operation *> findLastUsers(Block &body) {
  DenseMap<Value, Operation *> lastUser;
  auto visit = [&](Value value, Block *block) {
    Operation *last = nullptr;
    for (Operation *user : value.getUsers()) {
      Operation *ancestor = block->findAncestorOpInBlock(*user);
      if (ancestor && (!last || last->isBeforeInBlock(ancestor)))
        last = ancestor;
    }
    lastUser[value] = last;
  };
  body.walk([&](Operation *op) {
    if (op->getParentOfType<plan::RowsOp>())
      return;
    for (Value result : op->getResults())
      visit(result, op->getBlock());
    if (isa<sp::RingLoopOp, plan::RowsLoopOp>(op))
      for (Value argument : op->getRegion(0).getArguments())
        visit(argument, &op->getRegion(0).front());
  });
  return lastUser;
}

LogicalResult Bufferizer::run(Block &body, const Accumulators &of) {
  accumulators = &of;
  lastUser = findLastUsers(body);
  if (failed(bufferizeBlock(body)))
    return failure();
  for (Operation *op : replaced)
    op->dropAllReferences();
  for (Operation *op : replaced)
    op->erase();
  OpBuilder builder(&body, body.begin());
  for (Value accumulator : of.getCleared())
    plan::FillOp::create(builder, accumulator.getLoc(), accumulator,
                         /*first_micro_batch_only=*/true);
  return success();
}

Value Bufferizer::allocate(Operation *op, Type type, const Twine &name, bool communication) {
  OpBuilder builder(op);
  auto tensor = cast<RankedTensorType>(type);
  auto memory = MemRefType::get(tensor.getShape(), tensor.getElementType());
  return plan::BufferOp::create(builder, op->getLoc(), memory, /*offset=*/IntegerAttr(),
                                /*slot_bytes=*/IntegerAttr(),
                                communication ? builder.getUnitAttr() : UnitAttr(),
                                /*whole_step=*/UnitAttr(), builder.getStringAttr(name));
}

/// An op may overwrite a value only when nothing reads it afterwards, and not in a loop's body when
/// the value is made outside: the next iteration would read it again.
LogicalResult Bufferizer::checkUpdatesInPlace(Operation *op, Value value) {
  if (isa<MemRefType>(value.getType()))
    return success();
  if (value.getParentBlock() != op->getBlock())
    return op->emitOpError("updates in place a value made outside the loop; carry it");
  if (llvm::count(op->getOperands(), value) > 1)
    return op->emitOpError("updates in place a value that it also reads");
  if (Operation *last = lastUser.lookup(value); last != op) {
    InFlightDiagnostic error = op->emitOpError("updates in place a value that is read later");
    error.attachNote(last->getLoc()) << "read here";
    return error;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Compute
//===----------------------------------------------------------------------===//

LogicalResult Bufferizer::bufferizeBlock(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(block))
    if (failed(bufferize(&op)))
      return failure();
  return success();
}

static bool touchesTensors(Operation *op) {
  auto isTensor = [](Type type) { return isa<TensorType>(type); };
  return llvm::any_of(op->getOperandTypes(), isTensor) ||
         llvm::any_of(op->getResultTypes(), isTensor);
}

LogicalResult Bufferizer::bufferize(Operation *op) {
  bool isLoop = isa<sp::RingLoopOp, plan::RowsLoopOp>(op);
  if ((!touchesTensors(op) && !isLoop) || isa<sp::YieldOp>(op))
    return success();
  replaced.push_back(op);
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](plan::GemmOp gemm) { return bufferizeGemm(gemm); })
      .Case([&](plan::RowsOp rows) { return bufferizeRows(rows); })
      .Case([&](sp::AttentionBlockOp block) { return bufferizeAttention(block); })
      .Case([&](sp::AttentionBlockGradOp block) { return bufferizeAttentionGrad(block); })
      .Case([&](sp::RingShiftStartOp start) { return bufferizeShiftStart(start); })
      .Case([&](sp::SendOp send) { return bufferizeSend(send); })
      .Case([&](sp::ReceiveOp receive) { return bufferizeReceive(receive); })
      .Case([&](sp::WaitOp wait) { return bufferizeWait(wait); })
      .Case([&](sp::AllReduceOp reduce) { return bufferizeAllReduce(reduce); })
      .Case([&](sp::AllGatherOp gather) { return bufferizeGather(gather); })
      .Case([&](sp::ReduceScatterOp scatter) { return bufferizeGather(scatter); })
      .Case([&](sp::RingLoopOp loop) { return bufferizeRingLoop(loop); })
      .Case([&](plan::RowsLoopOp loop) { return bufferizeRowsLoop(loop); })
      .Case([&](plan::EmptyOp empty) {
        buffers[empty.getResult()] = allocate(empty, empty.getType(), "empty");
        return success();
      })
      .Case([&](plan::ZerosOp zeros) {
        if (accumulators->isAbsorbed(zeros))
          return success();
        Value buffer = allocate(zeros, zeros.getType(), "zeros");
        OpBuilder builder(zeros);
        plan::FillOp::create(builder, zeros.getLoc(), buffer, /*first_micro_batch_only=*/false);
        buffers[zeros.getResult()] = buffer;
        return success();
      })
      .Case([&](plan::AccumulateOp) { return success(); })
      .Default([&](Operation *other) {
        return other->emitOpError("has no buffer form (ring shifts get one from overlap)");
      });
}

LogicalResult Bufferizer::bufferizeGemm(plan::GemmOp op) {
  Value out = op.getOut();
  plan::Combine combine = op.getCombine();
  if (!out) {
    const Target *target = accumulators->lookup(op.getResult());
    out = target ? target->accumulator : allocate(op, op.getResult().getType(), "gemm");
    combine = target ? target->combine : combine;
    buffers[op.getResult()] = out;
  }
  Value saved = op.getSavedOut();
  if (op.getSaved())
    buffers[op.getSaved()] = saved = allocate(op, op.getSaved().getType(), "gemm");
  OpBuilder builder(op);
  plan::GemmOp::create(builder, op.getLoc(), /*result=*/Type(), /*saved=*/Type(),
                       getBuffer(op.getA()), getBuffer(op.getB()),
                       op.getBias() ? getBuffer(op.getBias()) : Value(), out, saved,
                       op.getTransposeA(), op.getTransposeB(), op.getGelu(), combine,
                       op.getActiveRows());
  return success();
}

/// Whether a send of the value is waited for by the next micro-batch only: nothing else may write its
/// buffer.
static bool isSentBeyondMicroBatch(Value value) {
  return llvm::any_of(value.getUsers(), [](Operation *user) {
    auto send = dyn_cast<sp::SendOp>(user);
    return send && !findWaitOf(send);
  });
}

bool Bufferizer::isOnlyReadByRow(plan::RowsOp op, Value value) {
  for (auto [i, input] : llvm::enumerate(op.getInputs()))
    if (input == value && op.getInputAccess(i).getKind() != plan::AccessKind::Row)
      return false;
  return !llvm::is_contained(op.getOuts(), value);
}

/// The buffer of an input that dies in `op` and that `result` may overwrite row by row: each row is
/// read before it is written. Null when there is none.
Value Bufferizer::findReusableInput(plan::RowsOp op, OpResult result, ArrayRef<Value> taken) {
  auto wanted = cast<ShapedType>(result.getType());
  if (isSentBeyondMicroBatch(result))
    return {};
  for (auto [i, input] : llvm::enumerate(op.getInputs())) {
    auto type = dyn_cast<RankedTensorType>(input.getType());
    if (!type || isSentBeyondMicroBatch(input) || type.getNumElements() != wanted.getNumElements() ||
        type.getElementType() != wanted.getElementType())
      continue;
    if (lastUser.lookup(input) != op || !isOnlyReadByRow(op, input))
      continue;
    Value buffer = getBuffer(input);
    if (llvm::is_contained(taken, buffer))
      continue;
    // A carried value's memory belongs to the value that is yielded in its place.
    bool carriedOn = false;
    if (auto argument = dyn_cast<BlockArgument>(input)) {
      Operation *loop = argument.getOwner()->getParentOp();
      unsigned index = argument.getArgNumber() - (isa<plan::RowsLoopOp>(loop) ? 2 : 0);
      carriedOn = argument.getOwner() == op->getBlock() && result.hasOneUse() &&
                  op->getBlock()->getTerminator()->getOperand(index) == result;
      if (!carriedOn)
        continue;
    }
    bool own = input.getParentBlock() == op->getBlock() && buffer.getDefiningOp<plan::BufferOp>() &&
               buffer.getType() == MemRefType::get(wanted.getShape(), wanted.getElementType());
    if (own && (carriedOn || reuseInputs))
      return buffer;
  }
  return {};
}

/// Where output number `output` of a row kernel goes. `nextOut` counts the outputs that update a
/// value in place.
FailureOr<Value> Bufferizer::getRowsOutput(plan::RowsOp op, unsigned output, plan::Combine combine,
                                           unsigned &nextOut, SmallVectorImpl<Value> &taken) {
  OpResult result = op->getResult(output);
  plan::AccessAttr access = op.getOutputAccess(output);
  const Target *target = accumulators->lookup(result);
  if (access.getKind() == plan::AccessKind::Scatter ||
      access.getKind() == plan::AccessKind::ScatterAdd) {
    Value updated = op.getOuts()[nextOut++];
    if (target)
      return target->accumulator;
    if (failed(checkUpdatesInPlace(op, updated)))
      return failure();
    return getBuffer(updated);
  }
  if (target)
    return target->accumulator;
  if (access.getKind() == plan::AccessKind::Row)
    if (Value buffer = findReusableInput(op, result, taken))
      return buffer;
  Value buffer = allocate(op, result.getType(), op.getName());
  if (access.getKind() == plan::AccessKind::SumRows && combine != plan::Combine::Overwrite) {
    OpBuilder builder(op);
    plan::FillOp::create(builder, op.getLoc(), buffer, /*first_micro_batch_only=*/false);
  }
  return buffer;
}

LogicalResult Bufferizer::bufferizeRows(plan::RowsOp op) {
  plan::Combine combine = op.getCombine();
  SmallVector<Value> outs;
  if (op.getResults().empty()) {
    outs = getBuffers(op.getOuts());
  } else {
    combine = accumulators->getCombine(op);
    unsigned nextOut = 0;
    for (unsigned i = 0; i < op.getNumOutputs(); ++i) {
      FailureOr<Value> out = getRowsOutput(op, i, combine, nextOut, outs);
      if (failed(out))
        return failure();
      outs.push_back(*out);
      buffers[op->getResult(i)] = *out;
    }
  }
  OpBuilder builder(op);
  auto rows =
      plan::RowsOp::create(builder, op.getLoc(), /*results=*/TypeRange(), op.getName(),
                           op.getRows(), getBuffers(op.getInputs()), outs, op.getInputAccessAttr(),
                           op.getOutputAccessAttr(), combine, op.getActiveRows());
  rows.getBody().takeBody(op.getBody());
  return success();
}

//===----------------------------------------------------------------------===//
// Attention and communication
//===----------------------------------------------------------------------===//

LogicalResult Bufferizer::bufferizeAttention(sp::AttentionBlockOp op) {
  static constexpr const char *kNames[] = {"attention", "attention.lse", "attention.sum"};
  SmallVector<Value> outs;
  for (unsigned i = 0; i < 3; ++i) {
    if (!op.getState().empty() && failed(checkUpdatesInPlace(op, op.getState()[i])))
      return failure();
    outs.push_back(op.getState().empty() ? allocate(op, op.getResult(i).getType(), kNames[i])
                                         : getBuffer(op.getState()[i]));
    buffers[op.getResult(i)] = outs.back();
  }
  OpBuilder builder(op);
  sp::AttentionBlockOp::create(
      builder, op.getLoc(), TypeRange(), getBuffer(op.getQuery()), getBuffer(op.getKey()),
      getBuffer(op.getValue()), getBuffer(op.getMask()), ValueRange(), outs, op.getHeads(),
      op.getBlock(), op.getInitialize(), op.getFinish(), op.getDropout(), op.getSite());
  return success();
}

LogicalResult Bufferizer::bufferizeAttentionGrad(sp::AttentionBlockGradOp op) {
  static constexpr const char *kNames[] = {"attention.delta", "attention.dq", "attention.dk",
                                           "attention.dv"};
  bool accumulate = !op.getAccumulators().empty();
  SmallVector<Value> updated(4), outs;
  for (unsigned i = 0; i < op.getState().size(); ++i)
    updated[i] = op.getState()[i];
  for (unsigned i = 0; i < op.getAccumulators().size(); ++i)
    updated[2 + i] = op.getAccumulators()[i];
  for (unsigned i = 0; i < 4; ++i) {
    if (updated[i] && failed(checkUpdatesInPlace(op, updated[i])))
      return failure();
    outs.push_back(updated[i] ? getBuffer(updated[i])
                              : allocate(op, op.getResult(i).getType(), kNames[i]));
    buffers[op.getResult(i)] = outs.back();
  }
  OpBuilder builder(op);
  sp::AttentionBlockGradOp::create(
      builder, op.getLoc(), TypeRange(), getBuffer(op.getQuery()), getBuffer(op.getKey()),
      getBuffer(op.getValue()), getBuffer(op.getMask()), getBuffer(op.getOut()),
      getBuffer(op.getLse()), getBuffer(op.getDout()), ValueRange(), ValueRange(), outs,
      op.getHeads(), op.getBlock(), op.getInitialize(), accumulate, op.getDropout(), op.getSite());
  return success();
}

LogicalResult Bufferizer::bufferizeShiftStart(sp::RingShiftStartOp op) {
  SmallVector<Value> outs;
  for (Value result : op.getResults()) {
    Value buffer = receiveInto.lookup(result);
    outs.push_back(buffer ? buffer
                          : allocate(op, result.getType(), "received", /*communication=*/true));
    buffers[result] = outs.back();
  }
  OpBuilder builder(op);
  sp::RingShiftStartOp::create(builder, op.getLoc(), TypeRange(), getBuffers(op.getInputs()), outs,
                               op.getTag(), op.getSkipLast());
  return success();
}

LogicalResult Bufferizer::bufferizeSend(sp::SendOp op) {
  Value buffer = getBuffer(op.getInput());
  if (auto made = buffer.getDefiningOp<plan::BufferOp>(); made && !findWaitOf(op)) {
    // Still on its way when the next micro-batch runs, which waits right before it writes again.
    made.setWholeStep(true);
    OpBuilder builder(made);
    sp::WaitOp::create(builder, op.getLoc(), op.getTag());
  }
  OpBuilder builder(op);
  sp::SendOp::create(builder, op.getLoc(), buffer, op.getStage(), op.getTag());
  return success();
}

LogicalResult Bufferizer::bufferizeReceive(sp::ReceiveOp op) {
  Value buffer = allocate(op, op.getResult().getType(), "received", /*communication=*/true);
  buffers[op.getResult()] = buffer;
  OpBuilder builder(op);
  sp::ReceiveOp::create(builder, op.getLoc(), Type(), buffer, op.getStage(), op.getTag());
  return success();
}

LogicalResult Bufferizer::bufferizeWait(sp::WaitOp op) {
  for (auto [received, result] : llvm::zip(op.getReceived(), op.getResults()))
    buffers[result] = getBuffer(received);
  OpBuilder builder(op);
  sp::WaitOp::create(builder, op.getLoc(), op.getTag(), op.getSkipLast());
  return success();
}

LogicalResult Bufferizer::bufferizeAllReduce(sp::AllReduceOp op) {
  if (failed(checkUpdatesInPlace(op, op.getInput())))
    return failure();
  Value buffer = getBuffer(op.getInput());
  buffers[op.getResult()] = buffer;
  OpBuilder builder(op);
  sp::AllReduceOp::create(builder, op.getLoc(), TypeRange(), buffer, op.getAxes());
  return success();
}

/// all_gather and reduce_scatter.
template <typename OpTy> LogicalResult Bufferizer::bufferizeGather(OpTy op) {
  Value out = op.getOut();
  if (!out) {
    out = allocate(op, op.getResult().getType(), op->getName().stripDialect(),
                   /*communication=*/true);
    buffers[op.getResult()] = out;
  }
  OpBuilder builder(op);
  OpTy::create(builder, op.getLoc(), Type(), getBuffer(op.getInput()), out, op.getDim(),
               op.getAxes());
  return success();
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

/// The start in `body` whose result, after its wait, is `value`; which result in `index`.
static sp::RingShiftStartOp findStart(Value value, Block &body, unsigned &index) {
  auto wait = value.getDefiningOp<sp::WaitOp>();
  if (!wait || wait->getBlock() != &body)
    return {};
  Value received = wait.getReceived()[cast<OpResult>(value).getResultNumber()];
  auto start = received.getDefiningOp<sp::RingShiftStartOp>();
  if (start)
    index = cast<OpResult>(received).getResultNumber();
  return start;
}

/// Two buffers for a carried value that is received from a neighbour: iteration i works on one
/// while the value of iteration i + 1 arrives in the other.
LogicalResult Bufferizer::alternate(sp::RingLoopOp loop, unsigned index, sp::RingShiftStartOp start,
                                    unsigned received) {
  Value odd = getBuffer(loop.getInits()[index]);
  Value even = allocate(loop, loop.getResult(index).getType(), "received", /*communication=*/true);
  Block &body = loop.getBody().front();
  OpBuilder builder(&body, body.begin());
  buffers[body.getArgument(index)] =
      sp::AlternateOp::create(builder, start.getLoc(), odd.getType(), odd, even);
  receiveInto[start.getResult(received)] =
      sp::AlternateOp::create(builder, start.getLoc(), odd.getType(), even, odd);
  // The value of iteration i lies in the odd or even buffer by i; the result is that of iteration
  // P.
  buffers[loop.getResult(index)] = ringSize % 2 ? odd : even;
  return success();
}

/// Carried values that are updated in place, or passed through, keep one buffer.
LogicalResult Bufferizer::tieCarried(Operation *loop, OperandRange inits, Block &body,
                                     unsigned firstArgument) {
  auto ring = dyn_cast<sp::RingLoopOp>(loop);
  for (auto [i, init] : llvm::enumerate(inits)) {
    BlockArgument argument = body.getArgument(firstArgument + i);
    Value yielded = body.getTerminator()->getOperand(i);
    if (yielded != argument && failed(checkUpdatesInPlace(loop, init)))
      return failure();
    unsigned received = 0;
    if (auto start = ring ? findStart(yielded, body, received) : sp::RingShiftStartOp()) {
      if (failed(alternate(ring, i, start, received)))
        return failure();
      continue;
    }
    buffers[argument] = buffers[loop->getResult(i)] = getBuffer(init);
  }
  return success();
}

LogicalResult Bufferizer::checkYield(Operation *loop, Block &body, unsigned firstArgument) {
  unsigned received = 0;
  for (auto [i, yielded] : llvm::enumerate(body.getTerminator()->getOperands()))
    if (!findStart(yielded, body, received) &&
        getBuffer(yielded) != getBuffer(body.getArgument(firstArgument + i)))
      return loop->emitOpError("carried value ")
             << i << " is neither updated in place nor received by a ring shift";
  return success();
}

void Bufferizer::moveBody(Block &from, Block &to) {
  Operation *yield = from.getTerminator();
  to.getOperations().splice(to.end(), from.getOperations(), from.begin(), yield->getIterator());
  OpBuilder builder(to.getParent()->getContext());
  builder.setInsertionPointToEnd(&to);
  sp::YieldOp::create(builder, yield->getLoc());
}

LogicalResult Bufferizer::bufferizeRingLoop(sp::RingLoopOp op) {
  Block &body = op.getBody().front();
  if (failed(tieCarried(op, op.getInits(), body, 0)) || failed(bufferizeBlock(body)) ||
      failed(checkYield(op, body, 0)))
    return failure();
  OpBuilder builder(op);
  auto loop = sp::RingLoopOp::create(builder, op.getLoc(), TypeRange(), ValueRange());
  moveBody(body, loop.getBody().emplaceBlock());
  return success();
}

LogicalResult Bufferizer::bufferizeRowsLoop(plan::RowsLoopOp op) {
  Block &body = op.getBody().front();
  if (failed(tieCarried(op, op.getInits(), body, 2)) || failed(bufferizeBlock(body)) ||
      failed(checkYield(op, body, 2)))
    return failure();
  OpBuilder builder(op);
  auto loop = plan::RowsLoopOp::create(builder, op.getLoc(), TypeRange(), op.getChunk(),
                                       op.getRows(), op.getLabels(), ValueRange());
  Block &to = loop.getBody().emplaceBlock();
  for (unsigned i : {0, 1})
    body.getArgument(i).replaceAllUsesWith(
        to.addArgument(body.getArgument(i).getType(), body.getArgument(i).getLoc()));
  moveBody(body, to);
  return success();
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {
struct Bufferize : seqpar::impl::BufferizeBase<Bufferize> {
  using BufferizeBase::BufferizeBase;

  LogicalResult bufferize(plan::StageOp stage) {
    int64_t ringSize = stage->getParentOfType<plan::ProgramOp>().getGrid().getSp();
    for (Operation &part : stage.getBody().front()) {
      if (!isa<plan::MicroBatchOp, plan::UpdateOp>(part))
        continue;
      Block &body = part.getRegion(0).front();
      separateUses(body);
      Accumulators accumulators;
      if (auto microBatch = dyn_cast<plan::MicroBatchOp>(part))
        if (failed(accumulators.analyze(microBatch)))
          return failure();
      if (failed(Bufferizer(ringSize, reuseInputs).run(body, accumulators)))
        return failure();
    }
    return success();
  }

  void runOnOperation() override {
    WalkResult result = getOperation().walk([&](plan::StageOp stage) {
      return failed(bufferize(stage)) ? WalkResult::interrupt() : WalkResult::skip();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
