//===- InstructionWriter.cpp - ops as instructions ------------------------===//
#include "StageWriter.h"
#include "seqpar/Dialect/Plan/Memory.h"
#include "seqpar/Transforms/Locations.h"

#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mlir;
using namespace seqpar;

program::Operand InstructionWriter::operand(Value memory) const {
  return buffers.getOperand(memory);
}

std::vector<program::Operand> InstructionWriter::operands(ValueRange memory) const {
  std::vector<program::Operand> result;
  for (Value value : memory)
    result.push_back(operand(value));
  return result;
}

FailureOr<InstructionWriter::List> InstructionWriter::write(Block &block, size_t *forward) {
  std::vector<flatbuffers::Offset<program::Instruction>> list;
  std::optional<size_t> border;
  for (Operation &op : block) {
    if (isa<plan::BackwardOp>(op))
      border = list.size();
    if (isa<plan::BufferOp, plan::RangeOp, plan::BackwardOp, sp::AlternateOp, sp::YieldOp>(op))
      continue;
    Result written = write(&op);
    if (failed(written))
      return failure();
    list.push_back(
        program::CreateInstruction(builder, written->first, written->second,
                                   builder.CreateSharedString(describeLocation(op.getLoc()))));
  }
  if (forward)
    *forward = border.value_or(list.size());
  return builder.CreateVector(list);
}

InstructionWriter::Result InstructionWriter::write(Operation *op) {
  auto isTensor = [](Type type) { return isa<TensorType>(type); };
  if (llvm::any_of(op->getOperandTypes(), isTensor) || op->getNumResults())
    return op->emitOpError("is not in buffer form: run bufferize first");
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case([&](plan::GemmOp gemm) { return writeGemm(gemm); })
      .Case([&](plan::RowsOp rows) { return writeRows(rows); })
      .Case([&](sp::AttentionBlockOp block) { return writeAttention(block); })
      .Case([&](sp::AttentionBlockGradOp block) { return writeAttentionGrad(block); })
      .Case([&](sp::RingShiftStartOp start) { return writeStart(start); })
      .Case([&](sp::WaitOp wait) {
        auto written = program::CreateWait(builder, wait.getTag(), wait.getSkipLast());
        return Written{program::Operation::Wait, written.Union()};
      })
      .Case([&](sp::SendOp send) {
        program::Operand buffer = operand(send.getInput());
        auto written = program::CreateSend(builder, &buffer, plan::getByteCount(send.getInput()),
                                           send.getStage(), send.getTag());
        return Written{program::Operation::Send, written.Union()};
      })
      .Case([&](sp::ReceiveOp receive) {
        program::Operand buffer = operand(receive.getOut());
        auto written =
            program::CreateReceive(builder, &buffer, plan::getByteCount(receive.getOut()),
                                   receive.getStage(), receive.getTag());
        return Written{program::Operation::Receive, written.Union()};
      })
      .Case([&](sp::AllReduceOp reduce) { return writeAllReduce(reduce); })
      .Case([&](sp::AllGatherOp gather) { return writeAllGather(gather); })
      .Case([&](sp::ReduceScatterOp scatter) { return writeReduceScatter(scatter); })
      .Case([&](plan::FillOp fill) { return writeFill(fill); })
      .Case([&](sp::RingLoopOp loop) { return writeRingLoop(loop); })
      .Case([&](plan::RowsLoopOp loop) { return writeRowsLoop(loop); })
      .Default(
          [](Operation *other) { return other->emitOpError("is no instruction of a program"); });
}

//===----------------------------------------------------------------------===//
// Compute
//===----------------------------------------------------------------------===//

static int64_t getLeadingDimension(Value matrix) {
  return cast<MemRefType>(matrix.getType()).getShape().back();
}

InstructionWriter::Result InstructionWriter::writeGemm(plan::GemmOp op) {
  plan::GemmOp::Extents extents = op.getExtents();
  program::Operand a = operand(op.getA()), b = operand(op.getB()), c = operand(op.getOut());
  std::optional<program::Operand> bias, saved;
  if (op.getBias())
    bias = operand(op.getBias());
  if (op.getSavedOut())
    saved = operand(op.getSavedOut());
  auto written =
      program::CreateGemm(builder, &a, &b, &c, extents.m, extents.n, extents.k, op.getTransposeA(),
                          op.getTransposeB(), getLeadingDimension(op.getA()),
                          getLeadingDimension(op.getB()), getLeadingDimension(op.getOut()),
                          /*alpha=*/1.0f, static_cast<program::Combine>(op.getCombine()),
                          static_cast<program::ActiveRows>(op.getActiveRows()),
                          bias ? &*bias : nullptr, saved ? &*saved : nullptr);
  return Written{program::Operation::Gemm, written.Union()};
}

InstructionWriter::Result InstructionWriter::writeRows(plan::RowsOp op) {
  auto kernel = kernels.indexOf.find(op);
  if (kernel == kernels.indexOf.end())
    return op.emitOpError("is not in the kernel table");
  std::vector<program::Operand> memory = operands(op.getInputs());
  for (Value out : op.getOuts())
    memory.push_back(operand(out));
  auto written = program::CreateRowKernel(
      builder, kernel->second, builder.CreateVectorOfStructs(memory), op.getRows(),
      static_cast<program::Combine>(op.getCombine()), op.getActiveRows());
  return Written{program::Operation::RowKernel, written.Union()};
}

namespace {
/// Extents that both directions of an attention block share.
struct AttentionExtents {
  int64_t batch, heads, headDim, queryLength, keyLength, maskLength;
  float scale;

  template <typename OpTy> explicit AttentionExtents(OpTy op) {
    ArrayRef<int64_t> query = cast<MemRefType>(op.getQuery().getType()).getShape();
    batch = query[0];
    heads = op.getHeads();
    headDim = query[2] / heads;
    queryLength = query[1];
    keyLength = cast<MemRefType>(op.getKey().getType()).getDimSize(1);
    maskLength = cast<MemRefType>(op.getMask().getType()).getShape().back();
    scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(headDim)));
  }
};
} // namespace

InstructionWriter::Result InstructionWriter::writeAttention(sp::AttentionBlockOp op) {
  AttentionExtents e(op);
  program::Operand q = operand(op.getQuery()), k = operand(op.getKey()), v = operand(op.getValue()),
                   mask = operand(op.getMask()), out = operand(op.getOuts()[0]),
                   lse = operand(op.getOuts()[1]), sum = operand(op.getOuts()[2]);
  auto written = program::CreateAttentionForward(
      builder, &q, &k, &v, &mask, &out, &lse, &sum, e.batch, e.heads, e.headDim, e.queryLength,
      e.keyLength, e.maskLength, e.scale, static_cast<program::KeyBlock>(op.getBlock()),
      op.getInitialize(), op.getFinish(), op.getDropout().convertToFloat(), op.getSite());
  return Written{program::Operation::AttentionForward, written.Union()};
}

InstructionWriter::Result InstructionWriter::writeAttentionGrad(sp::AttentionBlockGradOp op) {
  bool inRing = op.getBlock() == sp::KeyBlock::Ring;
  // Overwrite in a ring loop: overwrite in its first iteration, add in the others.
  if (inRing && !op.getAccumulate())
    return op.emitOpError("expected accumulators for keys and values in a ring loop");
  auto combine =
      !inRing && op.getAccumulate() ? program::Combine::Add : program::Combine::Overwrite;
  AttentionExtents e(op);
  program::Operand q = operand(op.getQuery()), k = operand(op.getKey()), v = operand(op.getValue()),
                   mask = operand(op.getMask()), out = operand(op.getOut()),
                   lse = operand(op.getLse()), dout = operand(op.getDout()),
                   delta = operand(op.getOuts()[0]), dq = operand(op.getOuts()[1]),
                   dk = operand(op.getOuts()[2]), dv = operand(op.getOuts()[3]);
  auto written = program::CreateAttentionBackward(
      builder, &q, &k, &v, &mask, &out, &lse, &dout, &delta, &dq, &dk, &dv, e.batch, e.heads,
      e.headDim, e.queryLength, e.keyLength, e.maskLength, e.scale,
      static_cast<program::KeyBlock>(op.getBlock()), op.getInitialize(),
      op.getDropout().convertToFloat(), op.getSite(), combine);
  return Written{program::Operation::AttentionBackward, written.Union()};
}

InstructionWriter::Result InstructionWriter::writeFill(plan::FillOp op) {
  program::Operand out = operand(op.getOut());
  auto written = program::CreateFill(builder, &out, plan::getByteCount(op.getOut()),
                                     op.getFirstMicroBatchOnly());
  return Written{program::Operation::Fill, written.Union()};
}

//===----------------------------------------------------------------------===//
// Communication
//===----------------------------------------------------------------------===//

InstructionWriter::Result InstructionWriter::writeStart(sp::RingShiftStartOp op) {
  int64_t bytes = plan::getByteCount(op.getInputs()[0]);
  for (Value input : op.getInputs())
    if (plan::getByteCount(input) != bytes)
      return op.emitOpError("expected values of one size");
  auto send = builder.CreateVectorOfStructs(operands(op.getInputs()));
  auto receive = builder.CreateVectorOfStructs(operands(op.getOuts()));
  auto written =
      program::CreateRingShiftStart(builder, send, receive, bytes, op.getTag(), op.getSkipLast());
  return Written{program::Operation::RingShiftStart, written.Union()};
}

/// Bit sets of the schema: 1 dp, 2 pp, 4 sp, in the order of sp::Axis.
int seqpar::getAxisBits(ArrayRef<int32_t> axes) {
  int bits = 0;
  for (int32_t axis : axes)
    bits |= 1 << axis;
  return bits;
}

InstructionWriter::Result InstructionWriter::writeAllReduce(sp::AllReduceOp op) {
  program::Operand buffer = operand(op.getInput());
  auto written = program::CreateAllReduce(builder, &buffer, getElementCount(op.getInput()),
                                          getDataTypeOf(op.getInput()), getAxisBits(op.getAxes()),
                                          op.getTag());
  return Written{program::Operation::AllReduce, written.Union()};
}

/// Elements before `dim` and from it on, in one rank's chunk.
static std::pair<int64_t, int64_t> splitExtents(Value chunk, int64_t dim) {
  std::pair<int64_t, int64_t> extents = {1, 1};
  for (auto [i, extent] : llvm::enumerate(cast<MemRefType>(chunk.getType()).getShape()))
    (static_cast<int64_t>(i) < dim ? extents.first : extents.second) *= extent;
  return extents;
}

InstructionWriter::Result InstructionWriter::writeAllGather(sp::AllGatherOp op) {
  auto [outer, inner] = splitExtents(op.getInput(), op.getDim());
  program::Operand send = operand(op.getInput()), receive = operand(op.getOut());
  auto written = program::CreateAllGather(builder, &send, &receive, outer, inner,
                                          getDataTypeOf(op.getInput()), getAxisBits(op.getAxes()));
  return Written{program::Operation::AllGather, written.Union()};
}

InstructionWriter::Result InstructionWriter::writeReduceScatter(sp::ReduceScatterOp op) {
  auto [outer, inner] = splitExtents(op.getOut(), op.getDim());
  program::Operand send = operand(op.getInput()), receive = operand(op.getOut());
  auto written = program::CreateReduceScatter(builder, &send, &receive, outer, inner,
                                              getDataTypeOf(op.getInput()),
                                              getAxisBits(op.getAxes()), op.getTag());
  return Written{program::Operation::ReduceScatter, written.Union()};
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

InstructionWriter::Result InstructionWriter::writeRingLoop(sp::RingLoopOp op) {
  FailureOr<List> body = write(op.getBody().front());
  if (failed(body))
    return failure();
  auto written = program::CreateRingLoop(builder, *body);
  return Written{program::Operation::RingLoop, written.Union()};
}

InstructionWriter::Result InstructionWriter::writeRowsLoop(plan::RowsLoopOp op) {
  FailureOr<List> body = write(op.getBody().front());
  if (failed(body))
    return failure();
  auto written = program::CreateRowsLoop(builder, op.getChunk(), buffers.getIndex(op.getRows()),
                                         buffers.getIndex(op.getLabels()), *body);
  return Written{program::Operation::RowsLoop, written.Union()};
}
