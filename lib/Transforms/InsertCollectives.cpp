//===- InsertCollectives.cpp - sums where totals are wanted ---------------===//
//
// Where an op uses a partial sum and does not itself go on summing, puts an sp.all_reduce right
// after the value, once per value:
//
//   %t = nn.select_token %x, 0 : (...) -> tensor<4x8xf32, #sp.layout<[-, -], partial [sp]>>
//   %p = nn.linear %t, %w, %b
// becomes
//   %t = nn.select_token ...
//   %r = sp.all_reduce %t over [sp] : ... -> tensor<4x8xf32, #sp.layout<[-, -]>>
//   %p = nn.linear %r, %w, %b
//
// and likewise for each gradient of the update: accumulated as a partial sum over the whole step,
// reduced once. Any other mismatch between a value's layout and its use is an error. Afterwards
// verify-layouts holds.
//
//===----------------------------------------------------------------------===//
#include "seqpar/Transforms/LayoutUtils.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/Builders.h"

namespace seqpar {
#define GEN_PASS_DEF_INSERTCOLLECTIVES
#define GEN_PASS_DEF_VERIFYLAYOUTS
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

/// `layout` without the partial sum.
static sp::LayoutAttr getReduced(sp::LayoutAttr layout) {
  return sp::LayoutAttr::get(layout.getContext(), layout.getSplits(), {});
}

/// The total of a partial sum, made right after it.
static Value createAllReduce(Value value) {
  OpBuilder builder(value.getContext());
  builder.setInsertionPointAfterValue(value);
  auto type = cast<RankedTensorType>(value.getType());
  sp::LayoutAttr layout = sp::getLayout(type);
  SmallVector<int32_t> axes;
  for (sp::Axis axis : layout.getPartial())
    axes.push_back(static_cast<int32_t>(axis));
  return sp::AllReduceOp::create(builder, value.getLoc(), sp::withLayout(type, getReduced(layout)), value,
                                 builder.getDenseI32ArrayAttr(axes))
      .getResult();
}

static InFlightDiagnostic reportMismatch(Operation *op, unsigned operand, sp::LayoutAttr wanted, sp::LayoutAttr found) {
  return op->emitOpError("expected operand ") << operand << " to have layout " << wanted << ", found " << found;
}

/// Checks one op; `allowPartial` leaves partial sums in place of totals to insert-collectives.
static LogicalResult verifyUses(LayoutOpInterface op, sp::GridAttr grid, bool allowPartial) {
  FailureOr<OpLayouts> layouts = getLayouts(op, grid);
  if (failed(layouts))
    return failure();
  for (auto [i, wanted] : llvm::enumerate(layouts->operands)) {
    sp::LayoutAttr found = sp::getLayout(op->getOperand(i).getType());
    if (!found)
      return op->emitOpError("expected operand ") << i << " to have a layout";
    bool partialIsFine = allowPartial || acceptsPartial(op, i);
    if (found != wanted && !(partialIsFine && getReduced(found) == wanted))
      return reportMismatch(op, i, wanted, found);
  }
  return success();
}

namespace {

struct InsertCollectives : seqpar::impl::InsertCollectivesBase<InsertCollectives> {
  void runOnOperation() override {
    sp::GridAttr grid = getGrid(getOperation());
    if (!grid)
      return signalPassFailure();
    llvm::DenseMap<Value, Value> totals;
    for (LayoutOpInterface op : getShardedOps(getOperation())) {
      if (failed(verifyUses(op, grid, /*allowPartial=*/true)))
        return signalPassFailure();
      for (OpOperand &operand : op->getOpOperands()) {
        sp::LayoutAttr layout = sp::getLayout(operand.get().getType());
        if (!layout.isPartial() || acceptsPartial(op, operand.getOperandNumber()))
          continue;
        Value &total = totals[operand.get()];
        if (!total)
          total = createAllReduce(operand.get());
        operand.set(total);
      }
    }
  }
};

struct VerifyLayouts : seqpar::impl::VerifyLayoutsBase<VerifyLayouts> {
  void runOnOperation() override {
    sp::GridAttr grid = getGrid(getOperation());
    if (!grid)
      return signalPassFailure();
    for (LayoutOpInterface op : getShardedOps(getOperation()))
      if (failed(verifyUses(op, grid, /*allowPartial=*/false)) || failed(verifyResults(op, grid)))
        return signalPassFailure();
  }

  LogicalResult verifyResults(LayoutOpInterface op, sp::GridAttr grid) {
    if (isa<nn::GradientOp>(op.getOperation()))
      return success(); // laid out as its contributions are
    FailureOr<OpLayouts> layouts = getLayouts(op, grid);
    for (auto [i, wanted] : llvm::enumerate(layouts->results)) {
      sp::LayoutAttr found = sp::getLayout(op->getResult(i).getType());
      if (found != wanted) {
        InFlightDiagnostic error = op->emitOpError("expected result ") << i << " to have layout " << wanted;
        return found ? error << ", found " << found : error << ", found none";
      }
    }
    return success();
  }
};

} // namespace
