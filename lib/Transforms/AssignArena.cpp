//===- AssignArena.cpp - offsets of buffers -------------------------------===//
#include "seqpar/Transforms/BufferLifetimes.h"
#include "seqpar/Transforms/Passes.h"

namespace seqpar {
#define GEN_PASS_DEF_ASSIGNARENA
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

/// One micro-batch at a time.
static int64_t assign(BufferLifetimes &lifetimes) {
  ArenaPlan plan = planArena(lifetimes.items);
  for (auto [buffer, offset] : llvm::zip(lifetimes.buffers, plan.offsets))
    buffer.setOffset(offset);
  return plan.bytes;
}

static int64_t assignSlots(BufferLifetimes &lifetimes, int64_t slots) {
  SlotPlan plan = planSlots(lifetimes.items, lifetimes.kinds, slots);
  for (auto [buffer, place] : llvm::zip(lifetimes.buffers, plan.places)) {
    buffer.setOffset(place.offset);
    if (place.perSlot)
      buffer.setSlotBytes(plan.slotBytes);
  }
  return plan.bytes;
}

namespace {
struct AssignArena : seqpar::impl::AssignArenaBase<AssignArena> {
  void runOnOperation() override {
    getOperation().walk([&](plan::StageOp stage) {
      BufferLifetimes lifetimes = computeBufferLifetimes(stage);
      int64_t slots = stage.getSlots();
      stage.setArenaBytes(slots == 1 ? assign(lifetimes) : assignSlots(lifetimes, slots));
      stage.setArenaLowerBound(lifetimes.getLowerBound(slots));
      numBuffers += lifetimes.buffers.size();
      return WalkResult::skip();
    });
  }
};
} // namespace
