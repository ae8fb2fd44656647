//===- AssignArena.cpp - offsets of buffers -------------------------------===//
#include "seqpar/Transforms/BufferLifetimes.h"
#include "seqpar/Transforms/Passes.h"

namespace seqpar {
#define GEN_PASS_DEF_ASSIGNARENA
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

namespace {
struct AssignArena : seqpar::impl::AssignArenaBase<AssignArena> {
  void runOnOperation() override {
    getOperation().walk([&](plan::StageOp stage) {
      BufferLifetimes lifetimes = computeBufferLifetimes(stage);
      ArenaPlan plan = planArena(lifetimes.items);
      for (auto [buffer, offset] : llvm::zip(lifetimes.buffers, plan.offsets))
        buffer.setOffset(offset);
      stage.setArenaBytes(plan.bytes);
      stage.setArenaLowerBound(computeArenaLowerBound(lifetimes.items));
      numBuffers += lifetimes.buffers.size();
      return WalkResult::skip();
    });
  }
};
} // namespace
