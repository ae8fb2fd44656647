//===- AssignLayouts.cpp - a layout for every value -----------------------===//
//
// Gives every value of a step the layout that its op's rule derives for the grid: samples split
// over dp, positions over sp, everything else whole on every rank; a sum over samples or positions
// is partial over the axes that split them. Ops keep their global shapes.
//
//   %y = nn.linear %x, %w : (tensor<4x64x8xf32>, tensor<8x8xf32>) -> tensor<4x64x8xf32>
// becomes, on a grid with sp = 2,
//   %y = nn.linear %x, %w : (tensor<4x64x8xf32, #sp.layout<[-, sp, -]>>, tensor<8x8xf32, #sp.layout<[-, -]>>)
//          -> tensor<4x64x8xf32, #sp.layout<[-, sp, -]>>
//
// Afterwards each tensor outside per-rank regions has a layout. Uses need not match yet: a partial
// sum may be used where its total is wanted; insert-collectives mends that.
//
//===----------------------------------------------------------------------===//
#include "seqpar/Transforms/LayoutUtils.h"
#include "seqpar/Transforms/Passes.h"

namespace seqpar {
#define GEN_PASS_DEF_ASSIGNLAYOUTS
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

namespace {

struct AssignLayouts : seqpar::impl::AssignLayoutsBase<AssignLayouts> {
  using AssignLayoutsBase::AssignLayoutsBase;

  void runOnOperation() override {
    nn::StepOp step = getOperation();
    int64_t replicas = dp, stages = pp, chunks = sp;
    if (failed(sp::GridAttr::verify([&] { return step.emitOpError(); }, replicas, stages, chunks)))
      return signalPassFailure();
    auto grid = sp::GridAttr::get(&getContext(), replicas, stages, chunks);
    if (failed(checkGridFits(step, grid)))
      return signalPassFailure();
    step->setAttr(kGridAttrName, grid);
    llvm::StringMap<sp::LayoutAttr> gradients;
    for (LayoutOpInterface op : getShardedOps(step)) {
      FailureOr<OpLayouts> layouts = getLayouts(op, grid);
      if (failed(layouts))
        return signalPassFailure();
      for (auto [result, layout] : llvm::zip(op->getResults(), layouts->results))
        result.setType(sp::withLayout(cast<RankedTensorType>(result.getType()), layout));
      if (auto accumulate = dyn_cast<nn::AccumulateOp>(op.getOperation()))
        if (failed(noteGradient(accumulate, gradients)))
          return signalPassFailure();
      if (auto gradient = dyn_cast<nn::GradientOp>(op.getOperation()))
        if (sp::LayoutAttr layout = gradients.lookup(gradient.getParameterName()))
          gradient.getResult().setType(
              sp::withLayout(cast<RankedTensorType>(gradient.getResult().getType()), layout));
    }
  }

  /// Each rank needs at least one position.
  LogicalResult checkGridFits(nn::StepOp step, sp::GridAttr grid) {
    for (auto input : step.getMicroBatch().getOps<nn::InputOp>()) {
      auto type = cast<RankedTensorType>(input.getResult().getType());
      if (!type.hasStaticShape())
        return input.emitOpError("has an unbound shape: run bind-shapes first");
      if (type.getRank() == 2 && type.getDimSize(1) < grid.getSp())
        return step.emitOpError("expected at most as many sequence-parallel ranks as positions (")
               << type.getDimSize(1) << "), found sp = " << grid.getSp();
      if (type.getRank() == 2 && type.getDimSize(0) % grid.getDp() != 0)
        return step.emitOpError("expected samples (") << type.getDimSize(0) << ") divisible by dp = " << grid.getDp();
    }
    return success();
  }

  /// The gradient is laid out like the contributions to it, which must agree.
  LogicalResult noteGradient(nn::AccumulateOp accumulate, llvm::StringMap<sp::LayoutAttr> &gradients) {
    for (Value contribution : accumulate.getContributions()) {
      sp::LayoutAttr layout = sp::getLayout(contribution.getType());
      sp::LayoutAttr &known = gradients[accumulate.getParameterName()];
      if (known && known != layout)
        return accumulate.emitOpError("expected contributions of one layout, found ") << known << " and " << layout;
      known = layout;
    }
    return success();
  }
};

} // namespace
