//===- OrderTurns.cpp - the order of a stage's micro-batches --------------===//
#include "seqpar/Transforms/Passes.h"
#include "seqpar/Transforms/Turns.h"

#include "mlir/IR/Builders.h"

namespace seqpar {
#define GEN_PASS_DEF_ORDERTURNS
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

SmallVector<Turn> seqpar::makeTurns(Schedule schedule, int64_t stage, int64_t stages,
                                    int64_t microBatches) {
  int64_t ahead =
      schedule == Schedule::GPipe ? microBatches : std::min(microBatches, stages - 1 - stage);
  SmallVector<Turn> turns;
  for (int64_t i = 0; i < ahead; ++i)
    turns.push_back({i, false});
  for (int64_t i = 0; i < microBatches; ++i) {
    if (ahead + i < microBatches)
      turns.push_back({ahead + i, false});
    turns.push_back({i, true});
  }
  return turns;
}

int64_t seqpar::countLive(ArrayRef<Turn> turns) {
  int64_t live = 0, most = 0;
  for (const Turn &turn : turns) {
    live += turn.backward ? -1 : 1;
    most = std::max(most, live);
  }
  return most;
}

SmallVector<Turn> seqpar::getTurns(plan::StageOp stage) {
  std::optional<ArrayRef<int32_t>> order = stage.getOrder();
  if (!order)
    return {{0, false}, {0, true}};
  SmallVector<Turn> turns;
  for (int32_t turn : *order)
    turns.push_back({turn / 2, turn % 2 != 0});
  return turns;
}

SmallVector<Turn> seqpar::getFirstTurns(plan::StageOp stage, int64_t most) {
  SmallVector<Turn> turns = getTurns(stage);
  llvm::erase_if(turns, [&](const Turn &turn) { return turn.microBatch >= most; });
  return turns;
}

void seqpar::setTurns(plan::StageOp stage, ArrayRef<Turn> turns) {
  SmallVector<int32_t> order;
  for (const Turn &turn : turns)
    order.push_back(static_cast<int32_t>(2 * turn.microBatch + turn.backward));
  stage.setOrder(order);
  stage.setSlots(countLive(turns));
}

namespace {
struct OrderTurns : seqpar::impl::OrderTurnsBase<OrderTurns> {
  using OrderTurnsBase::OrderTurnsBase;

  void runOnOperation() override {
    bool gpipe = schedule == "gpipe";
    if ((!gpipe && schedule != "1f1b") || microBatches < 1) {
      emitError(getOperation().getLoc()) << "order-turns: expected schedule '1f1b' or 'gpipe' and "
                                            "at least one micro-batch, found '"
                                         << schedule << "' and " << int64_t(microBatches);
      return signalPassFailure();
    }
    for (auto program : getOperation().getOps<plan::ProgramOp>()) {
      int64_t stages = program.getGrid().getPp();
      if (stages == 1)
        continue;
      if (microBatches > kMostMicroBatches) {
        program.emitOpError("expected at most ")
            << kMostMicroBatches << " micro-batches in a pipeline, found " << int64_t(microBatches)
            << ": use a larger micro-batch";
        return signalPassFailure();
      }
      for (auto stage : program.getBody().getOps<plan::StageOp>())
        setTurns(stage, makeTurns(gpipe ? Schedule::GPipe : Schedule::OneForwardOneBackward,
                                  stage.getIndex(), stages, microBatches));
    }
  }
};
} // namespace
