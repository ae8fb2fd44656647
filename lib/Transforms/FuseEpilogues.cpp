//===- FuseEpilogues.cpp - what a product does before it stores -----------===//
//
// A matrix product on a GPU can add a bias and apply GeLU to its sums before it rounds and stores them,
// which saves the row kernel that would read them again:
//
//   %u = plan.gemm %x, %w transpose_b : ...
//   %h = plan.rows "bias" ins(%u, %b) ...
//   %y = plan.rows "gelu" ins(%h) ...
// becomes
//   %c = plan.rows "cast" ins(%b) ...            (the bias in the type of the result)
//   %y, %h = plan.gemm %x, %w transpose_b bias(%c) gelu : ...
//
// Only directly in the micro-batch, not in the loop over masked rows, and only where it saves
// something. A bias whose sum is read by row kernels alone stays with them: fuse-rows
// makes one kernel of it and what follows (dropout, residual, layer norm), which has to read the product
// in any case. GeLU is taken in its tanh form, in 16 bits, which is what cuBLASLt has. The gradients of
// GeLU and bias stay row kernels: the kernel that makes dz also makes y again and sums dz, and so passes
// over memory as often as a product with an epilogue and the two kernels left would.
//
// Runs on value form after recompute-rows, before fuse-rows; for plans that are to run on CUDA.
//
//===----------------------------------------------------------------------===//
#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/TypeUtilities.h"

namespace seqpar {
#define GEN_PASS_DEF_FUSEEPILOGUES
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;
using plan::AccessKind;
using plan::RowsOp;

/// Leading dimension, in elements, that cuBLASLt wants of what it saves.
static constexpr int64_t kSavedColumns = 8;

/// Without conversions between 16 bits and f32.
static Value skipConversions(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<arith::ExtFOp, arith::TruncFOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

static bool hasOneRow(RowsOp op) {
  return op.getNumResults() == 1 && op.getOuts().empty() && op.getOutputAccess(0).getKind() == AccessKind::Row;
}

/// Whether the kernel is `row + broadcast` of input 0 and a parameter, input 1.
static bool addsBias(RowsOp op) {
  if (!hasOneRow(op) || op.getInputs().size() != 2 || op.getInputAccess(0).getKind() != AccessKind::Row ||
      op.getInputAccess(1).getKind() != AccessKind::Broadcast ||
      !op.getInputs()[1].getDefiningOp<plan::ParameterOp>())
    return false;
  Block &body = op.getBody().front();
  auto sum = skipConversions(body.getTerminator()->getOperand(0)).getDefiningOp<arith::AddFOp>();
  return sum && skipConversions(sum.getLhs()) == body.getArgument(0) &&
         skipConversions(sum.getRhs()) == body.getArgument(1);
}

/// Whether the kernel is GeLU in its tanh form, of a value in 16 bits.
static bool isTanhGelu(RowsOp op) {
  if (op.getName() != "gelu" || !hasOneRow(op) || op.getInputs().size() != 1)
    return false;
  Block &body = op.getBody().front();
  return !body.getOps<math::TanhOp>().empty() && body.getOps<math::ErfOp>().empty() &&
         getElementTypeOrSelf(op.getInputs()[0]).getIntOrFloatBitWidth() == 16 &&
         getElementTypeOrSelf(op.getInputs()[0]) == getElementTypeOrSelf(op.getResult(0));
}

namespace {
struct FuseEpilogues : seqpar::impl::FuseEpiloguesBase<FuseEpilogues> {
  void runOnOperation() override {
    getOperation()->walk([&](plan::MicroBatchOp microBatch) {
      for (auto gemm : llvm::make_early_inc_range(microBatch.getBody().getOps<plan::GemmOp>()))
        fuse(gemm);
    });
  }

  void fuse(plan::GemmOp gemm) {
    if (!gemm.getResult() || gemm.getBias() || gemm.getCombine() != plan::Combine::Overwrite ||
        !gemm.getResult().hasOneUse())
      return;
    auto bias = dyn_cast<RowsOp>(*gemm.getResult().user_begin());
    if (!bias || bias->getBlock() != gemm->getBlock() || !addsBias(bias) || bias.getInputs()[0] != gemm.getResult() ||
        getElementTypeOrSelf(gemm.getResult()) != getElementTypeOrSelf(bias.getResult(0)))
      return;
    RowsOp gelu = findGelu(bias);
    if (!gelu && feedsRowsOnly(bias.getResult(0)))
      return;
    rewrite(gemm, bias, gelu);
    ++numProducts;
  }

  /// The GeLU of the sum right behind it in the same part of the micro-batch, or null.
  static RowsOp findGelu(RowsOp bias) {
    if (cast<ShapedType>(bias.getResult(0).getType()).getShape().back() % kSavedColumns != 0)
      return {};
    for (Operation *op = bias->getNextNode(); op && !isa<plan::BackwardOp>(op); op = op->getNextNode())
      if (auto rows = dyn_cast<RowsOp>(op); rows && isTanhGelu(rows) && rows.getInputs()[0] == bias.getResult(0))
        return rows;
    return {};
  }

  static bool feedsRowsOnly(Value value) {
    return llvm::all_of(value.getUsers(), [&](Operation *user) {
      return isa<RowsOp>(user) && user->getBlock() == value.getParentBlock();
    });
  }

  static void rewrite(plan::GemmOp gemm, RowsOp bias, RowsOp gelu) {
    OpBuilder builder(gemm);
    Value sum = bias.getResult(0), result = gelu ? gelu.getResult(0) : sum;
    Location loc = builder.getFusedLoc(gelu ? SmallVector<Location>{gemm.getLoc(), gelu.getLoc()}
                                            : SmallVector<Location>{gemm.getLoc()});
    auto fused = plan::GemmOp::create(builder, loc, result.getType(), gelu ? sum.getType() : Type(), gemm.getA(),
                                      gemm.getB(), getBias(builder, bias), /*out=*/Value(), /*saved_out=*/Value(),
                                      gemm.getTransposeA(), gemm.getTransposeB(), bool(gelu),
                                      plan::Combine::Overwrite, plan::ActiveRows::None);
    if (gelu) {
      gelu.getResult(0).replaceAllUsesWith(fused.getResult());
      sum.replaceUsesWithIf(fused.getSaved(), [&](OpOperand &use) { return use.getOwner() != gelu; });
      gelu.erase();
    } else {
      sum.replaceAllUsesWith(fused.getResult());
    }
    bias.erase();
    gemm.erase();
  }

  /// The bias in the type of the result.
  static Value getBias(OpBuilder &builder, RowsOp bias) {
    Value value = bias.getInputs()[1];
    Type narrow = getElementTypeOrSelf(bias.getResult(0));
    if (getElementTypeOrSelf(value) == narrow)
      return value;
    return plan::createCast(builder, bias.getLoc(), value, narrow);
  }
};
} // namespace
