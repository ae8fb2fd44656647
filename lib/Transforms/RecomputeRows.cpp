//===- RecomputeRows.cpp - cheap values are computed twice, not kept ------===//
//
// A value that a row kernel makes in the forward part and that the backward part reads as well
// would stay in memory all the time between. Where everything the kernel reads stays anyway, the
// kernel is run again instead, right before the first use in the backward part:
//
//   %y = plan.rows "gelu" ins(%h) ...               %y = plan.rows "gelu" ins(%h) ...
//   plan.gemm %y, %w ...                            plan.gemm %y, %w ...
//   plan.backward                                   plan.backward
//   plan.gemm %dz, %y transpose_a ...               %again = plan.rows "gelu" ins(%h) ...
//                                                   plan.gemm %dz, %again transpose_a ...
//   plan.rows "gelu_grad" ins(%dy, %h) ...          plan.rows "gelu_grad" ins(%dy, %h) ...
//
// In a layer of BERT these are the outputs of both layer norms and of the GeLU: 6 of 16 values of
// the hidden size for each token. What is left is what Li et al. 2023 count for a layer. Runs before
// fuse-rows, which merges the second run with the kernel of the backward that reads the same rows.
//
//===----------------------------------------------------------------------===//
#include "BufferAccess.h"
#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/Builders.h"

namespace seqpar {
#define GEN_PASS_DEF_RECOMPUTEROWS
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;
using plan::RowsOp;

namespace {

/// The two parts of a micro-batch.
class Parts {
public:
  explicit Parts(plan::MicroBatchOp microBatch)
      : block(microBatch.getBody().front()), boundary(findBackward(block)) {}

  /// Candidates: kernels of the forward part with one result, a row for a row.
  SmallVector<RowsOp> getCandidates() const {
    SmallVector<RowsOp> kernels;
    if (!boundary)
      return kernels;
    for (RowsOp op : block.getOps<RowsOp>())
      if (op->isBeforeInBlock(boundary) && op->getNumResults() == 1 && op.getOuts().empty() &&
          op.getOutputAccess(0).getKind() == plan::AccessKind::Row)
        kernels.push_back(op);
    return kernels;
  }

  /// Uses of the value in the backward part, and the first op of the block that has one. A wait is none: it names what
  /// was sent, which has to stay where it is until then.
  SmallVector<OpOperand *> getLateUses(Value value, Operation *&first) const {
    SmallVector<OpOperand *> uses;
    first = nullptr;
    for (OpOperand &use : value.getUses()) {
      Operation *user = block.findAncestorOpInBlock(*use.getOwner());
      if (user->isBeforeInBlock(boundary) || isa<sp::WaitOp>(use.getOwner()))
        continue;
      uses.push_back(&use);
      if (!first || user->isBeforeInBlock(first))
        first = user;
    }
    return uses;
  }

  /// Whether the value lives until `op` even if nobody asks for it there.
  bool lives(Value value, Operation *op) const {
    if (!isa<RankedTensorType>(value.getType()))
      return true; // declared memory
    return llvm::any_of(value.getUsers(), [&](Operation *user) {
      return !block.findAncestorOpInBlock(*user)->isBeforeInBlock(op);
    });
  }

private:
  Block &block;
  plan::BackwardOp boundary;
};

struct RecomputeRows : seqpar::impl::RecomputeRowsBase<RecomputeRows> {
  void runOnOperation() override {
    getOperation()->walk([&](plan::MicroBatchOp microBatch) {
      Parts parts(microBatch);
      for (RowsOp kernel : parts.getCandidates())
        recompute(parts, kernel);
    });
  }

  void recompute(const Parts &parts, RowsOp kernel) {
    Operation *first;
    SmallVector<OpOperand *> uses = parts.getLateUses(kernel->getResult(0), first);
    if (!first || !llvm::all_of(kernel.getInputs(), [&](Value input) { return parts.lives(input, first); }))
      return;
    OpBuilder builder(first);
    Operation *again = builder.clone(*kernel);
    for (OpOperand *use : uses)
      use->set(again->getResult(0));
    ++numKernels;
  }
};

} // namespace
