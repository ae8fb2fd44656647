//===- CutStages.cpp - pipeline stages ------------------------------------===//
//
// The place where a step is cut along the pp axis. A grid with one stage is left as it is: the
// whole step is the stage, and the promise of the phase (each stage closed but for sends and
// receives) holds. More stages are refused.
//
//===----------------------------------------------------------------------===//
#include "seqpar/Transforms/LayoutUtils.h"
#include "seqpar/Transforms/Passes.h"

namespace seqpar {
#define GEN_PASS_DEF_CUTSTAGES
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

namespace {
struct CutStages : seqpar::impl::CutStagesBase<CutStages> {
  void runOnOperation() override {
    seqpar::sp::GridAttr grid = seqpar::getGrid(getOperation());
    if (!grid)
      return signalPassFailure();
    if (grid.getPp() != 1) {
      getOperation().emitOpError("expected one pipeline stage, found pp = ")
          << grid.getPp() << ": this version does not cut a model into stages";
      signalPassFailure();
    }
  }
};
} // namespace
