//===- BufferAccess.cpp - what an op does to buffers ----------------------===//
#include "BufferAccess.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace seqpar;

namespace {
class Collector {
public:
  explicit Collector(SmallVectorImpl<BufferAccess> &accesses) : accesses(accesses) {}

  void read(ValueRange buffers) {
    for (Value buffer : buffers)
      accesses.push_back({buffer, true, false});
  }
  void write(Value buffer, bool alsoReads = false) {
    accesses.push_back({buffer, alsoReads, true});
  }

private:
  SmallVectorImpl<BufferAccess> &accesses;
};
} // namespace

static void collectRows(plan::RowsOp op, Collector &collector) {
  collector.read(op.getInputs());
  for (auto [i, out] : llvm::enumerate(op.getOuts())) {
    plan::AccessKind kind = op.getOutputAccess(i).getKind();
    bool updates = kind == plan::AccessKind::Scatter || kind == plan::AccessKind::ScatterAdd ||
                   (kind == plan::AccessKind::SumRows && op.getCombine() == plan::Combine::Add);
    collector.write(out, updates);
  }
}

static void collectAttentionGrad(sp::AttentionBlockGradOp op, bool firstIteration,
                                 Collector &collector) {
  collector.read({op.getQuery(), op.getKey(), op.getValue(), op.getMask(), op.getOut(), op.getLse(),
                  op.getDout()});
  bool setsKV = op.getBlock() == sp::KeyBlock::Ring ? firstIteration : !op.getAccumulate();
  for (auto [i, out] : llvm::enumerate(op.getOuts()))
    collector.write(out, i < 2 ? !op.getInitialize() : !setsKV);
}

SmallVector<BufferAccess> seqpar::getBufferAccesses(Operation *op, bool firstIteration) {
  SmallVector<BufferAccess> accesses;
  Collector collector(accesses);
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](plan::GemmOp gemm) {
        collector.read({gemm.getA(), gemm.getB()});
        if (gemm.getBias())
          collector.read(gemm.getBias());
        if (gemm.getOut())
          collector.write(gemm.getOut(), gemm.getCombine() == plan::Combine::Add);
        if (gemm.getSavedOut())
          collector.write(gemm.getSavedOut());
      })
      .Case([&](plan::RowsOp rows) { collectRows(rows, collector); })
      .Case([&](plan::FillOp fill) { collector.write(fill.getOut()); })
      .Case([&](sp::AttentionBlockOp block) {
        collector.read({block.getQuery(), block.getKey(), block.getValue(), block.getMask()});
        for (Value out : block.getOuts())
          collector.write(out, !block.getInitialize());
      })
      .Case([&](sp::AttentionBlockGradOp block) {
        collectAttentionGrad(block, firstIteration, collector);
      })
      .Case([&](sp::RingShiftStartOp start) {
        collector.read(start.getInputs());
        for (Value out : start.getOuts())
          collector.write(out);
      })
      .Case([&](sp::SendOp send) { collector.read(send.getInput()); })
      .Case([&](sp::ReceiveOp receive) {
        if (receive.getOut())
          collector.write(receive.getOut());
      })
      .Case([&](sp::AllReduceOp reduce) { collector.write(reduce.getInput(), true); })
      .Case<sp::AllGatherOp, sp::ReduceScatterOp>([&](auto gather) {
        collector.read(gather.getInput());
        if (gather.getOut())
          collector.write(gather.getOut());
      });
  return accesses;
}

std::optional<int64_t> seqpar::getStartedTag(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::optional<int64_t>>(op)
      .Case<sp::RingShiftStartOp, sp::SendOp, sp::ReceiveOp>(
          [](auto start) { return static_cast<int64_t>(start.getTag()); })
      .Case<sp::AllReduceOp, sp::ReduceScatterOp>([](auto reduce) -> std::optional<int64_t> {
        int64_t tag = reduce.getTag();
        return tag < 0 ? std::nullopt : std::optional(tag);
      })
      .Default(std::nullopt);
}

Operation *seqpar::findStartOf(sp::WaitOp wait) {
  for (Operation *op = wait->getPrevNode(); op; op = op->getPrevNode())
    if (getStartedTag(op) == static_cast<int64_t>(wait.getTag()))
      return op;
  return nullptr;
}

sp::WaitOp seqpar::findWaitOf(Operation *start) {
  for (Operation *op = start->getNextNode(); op; op = op->getNextNode())
    if (auto wait = dyn_cast<sp::WaitOp>(op);
        wait && getStartedTag(start) == static_cast<int64_t>(wait.getTag()))
      return wait;
  return {};
}

plan::BackwardOp seqpar::findBackward(Block &microBatch) {
  auto markers = microBatch.getOps<plan::BackwardOp>();
  return markers.empty() ? plan::BackwardOp() : *markers.begin();
}
