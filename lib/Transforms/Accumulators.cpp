//===- Accumulators.cpp - who writes to accumulators ----------------------===//
#include "Accumulators.h"

using namespace mlir;
using namespace seqpar;

static plan::AccessKind getAccess(OpResult value) {
  auto rows = cast<plan::RowsOp>(value.getOwner());
  return rows.getOutputAccess(value.getResultNumber()).getKind();
}

/// The zeros over which a row kernel scatters the rows of `value`, or null.
static plan::ZerosOp getScatteredOver(OpResult value) {
  auto rows = dyn_cast<plan::RowsOp>(value.getOwner());
  if (!rows || getAccess(value) != plan::AccessKind::ScatterAdd)
    return {};
  unsigned out = 0;
  for (unsigned i = 0; i < value.getResultNumber(); ++i)
    out += rows.getOutputAccess(i).isIndexed();
  return rows.getOuts()[out].getDefiningOp<plan::ZerosOp>();
}

/// A value that its op can add to memory by itself: a product, a sum over rows, or rows scattered
/// over zeros.
static bool canAccumulate(OpResult value) {
  if (isa<plan::GemmOp>(value.getOwner()) || getScatteredOver(value))
    return true;
  return isa<plan::RowsOp>(value.getOwner()) && getAccess(value) == plan::AccessKind::SumRows;
}

static bool isScatter(Value value) {
  return value.getDefiningOp<plan::RowsOp>() &&
         getAccess(cast<OpResult>(value)) == plan::AccessKind::ScatterAdd;
}

static LogicalResult checkFolds(plan::AccumulateOp op) {
  auto value = dyn_cast<OpResult>(op.getValue());
  if (!value || value.getOwner()->getBlock() != op->getBlock() || !canAccumulate(value))
    return op.emitOpError(
        "expected a value that a plan.gemm, or a plan.rows as sum_rows or as scatter_add over "
        "zeros, makes in the same block");
  if (!value.hasOneUse())
    return op.emitOpError("expected a value without another use");
  if (cast<ShapedType>(value.getType()).getShape() !=
      cast<MemRefType>(op.getAccumulator().getType()).getShape())
    return op.emitOpError("expected an accumulator of the value's shape, found ")
           << op.getAccumulator().getType();
  return success();
}

LogicalResult Accumulators::analyze(plan::MicroBatchOp microBatch) {
  // In the order in which the producers run, which is the order of the contributions.
  llvm::MapVector<Value, SmallVector<Value>> contributions;
  SmallVector<plan::RowsOp> kernels;
  auto visit = [&](Operation *op) {
    for (OpResult value : op->getResults())
      for (Operation *user : value.getUsers())
        if (auto accumulate = dyn_cast<plan::AccumulateOp>(user)) {
          if (failed(checkFolds(accumulate)))
            return WalkResult::interrupt();
          contributions[accumulate.getAccumulator()].push_back(value);
          if (plan::ZerosOp zeros = getScatteredOver(value))
            absorbed.insert(zeros);
        }
    if (auto rows = dyn_cast<plan::RowsOp>(op))
      kernels.push_back(rows);
    return WalkResult::advance();
  };
  if (microBatch->walk<WalkOrder::PreOrder>(visit).wasInterrupted())
    return failure();
  for (auto &[accumulator, values] : contributions)
    decide(accumulator, values);
  for (plan::RowsOp rows : kernels)
    unifyRows(rows);
  return success();
}

void Accumulators::decide(Value accumulator, ArrayRef<Value> contributions) {
  for (auto [i, value] : llvm::enumerate(contributions)) {
    // A loop's body may not run at all, and a scatter reaches some rows only: both need zeros
    // there.
    bool always = isa<plan::MicroBatchOp>(value.getDefiningOp()->getParentOp());
    bool sets = i == 0 && always && !isScatter(value);
    targets[value] = {accumulator,
                      sets ? plan::Combine::AddAfterFirstMicroBatch : plan::Combine::Add};
    if (i == 0 && !sets)
      cleared.insert(accumulator);
  }
}

/// A row kernel has one combine for all its sums. Where they differ all are added.
void Accumulators::unifyRows(plan::RowsOp rows) {
  SmallVector<Value> sums;
  for (OpResult value : rows->getResults())
    if (getAccess(value) == plan::AccessKind::SumRows)
      sums.push_back(value);
  auto combineOf = [&](Value value) {
    const Target *target = lookup(value);
    return target ? target->combine : plan::Combine::Overwrite;
  };
  if (llvm::all_equal(llvm::map_range(sums, combineOf)))
    return;
  for (Value value : sums) {
    auto it = targets.find(value);
    if (it == targets.end())
      continue;
    if (it->second.combine == plan::Combine::AddAfterFirstMicroBatch)
      cleared.insert(it->second.accumulator);
    it->second.combine = plan::Combine::Add;
  }
}

plan::Combine Accumulators::getCombine(plan::RowsOp rows) const {
  for (OpResult value : rows->getResults())
    if (getAccess(value) == plan::AccessKind::SumRows)
      if (const Target *target = lookup(value))
        return target->combine;
  return plan::Combine::Overwrite;
}
