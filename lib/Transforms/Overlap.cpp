//===- Overlap.cpp - ring shifts run beside the work ----------------------===//
#include "BufferAccess.h"
#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace seqpar {
#define GEN_PASS_DEF_OVERLAP
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

/// The last op before `op` that a start must not pass: the border between forward and backward, and
/// the end of an earlier ring. A start before that would keep what it receives for too long.
static Operation *findBarrier(Operation *op) {
  for (Operation *before = op->getPrevNode(); before; before = before->getPrevNode())
    if (isa<plan::BackwardOp, sp::RingLoopOp>(before))
      return before;
  return nullptr;
}

/// Puts `builder` behind the last op of `block` that makes one of `values`, behind `barrier`, and
/// behind the starts of earlier exchanges there: they keep their order.
static void setInsertionPointAfterDefinitions(OpBuilder &builder, Block *block, ValueRange values,
                                              Operation *barrier) {
  builder.setInsertionPointToStart(block);
  Operation *last = barrier;
  for (Value value : values) {
    Operation *definition = value.getDefiningOp();
    if (!definition || definition->getBlock() != block)
      continue;
    if (!last || last->isBeforeInBlock(definition))
      last = definition;
  }
  if (last)
    builder.setInsertionPointAfter(last);
  while (builder.getInsertionPoint() != block->end() &&
         isa<sp::RingShiftStartOp>(*builder.getInsertionPoint()))
    builder.setInsertionPoint(block, std::next(builder.getInsertionPoint()));
}

/// The first op of the shift's block that uses a result, itself or in a region of its own; the
/// block's end when there is none.
static void setInsertionPointBeforeFirstUse(OpBuilder &builder, sp::RingShiftOp shift) {
  Block *block = shift->getBlock();
  Operation *first = nullptr;
  for (Operation *user : shift->getUsers()) {
    Operation *ancestor = block->findAncestorOpInBlock(*user);
    if (ancestor && (!first || ancestor->isBeforeInBlock(first)))
      first = ancestor;
  }
  if (!first && !block->empty() && block->back().hasTrait<OpTrait::IsTerminator>())
    first = &block->back();
  if (first)
    builder.setInsertionPoint(first);
  else
    builder.setInsertionPointToEnd(block);
}

static void split(sp::RingShiftOp shift, int64_t tag) {
  OpBuilder builder(shift);
  setInsertionPointAfterDefinitions(builder, shift->getBlock(), shift.getInputs(),
                                    findBarrier(shift));
  auto start = sp::RingShiftStartOp::create(builder, shift.getLoc(), shift.getResultTypes(),
                                            shift.getInputs(), /*outs=*/ValueRange(), tag,
                                            shift.getSkipLast());
  setInsertionPointBeforeFirstUse(builder, shift);
  auto wait = sp::WaitOp::create(builder, shift.getLoc(), shift.getResultTypes(),
                                 start.getResults(), shift.getInputs(), tag, shift.getSkipLast());
  shift->replaceAllUsesWith(wait.getResults());
  shift->erase();
}

namespace {
struct Overlap : seqpar::impl::OverlapBase<Overlap> {
  void runOnOperation() override {
    getOperation().walk([](plan::StageOp stage) {
      SmallVector<sp::RingShiftOp> shifts;
      int64_t tag = 0; // behind those of exchanges between stages
      stage.walk([&](Operation *op) {
        if (auto shift = dyn_cast<sp::RingShiftOp>(op))
          shifts.push_back(shift);
        else if (std::optional<int64_t> taken = getStartedTag(op))
          tag = std::max(tag, *taken + 1);
      });
      for (sp::RingShiftOp shift : shifts)
        split(shift, tag++);
    });
  }
};
} // namespace
