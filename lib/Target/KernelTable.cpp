//===- KernelTable.cpp - operands of row kernels --------------------------===//
#include "seqpar/Target/KernelTable.h"

using namespace mlir;
using namespace seqpar;

/// What the body sees of an operand tells its columns: a row's extent, or 1 for an element.
static KernelOperand makeOperand(plan::AccessAttr access, Value memory, Type inside, bool output) {
  KernelOperand operand;
  operand.access = access.getKind();
  operand.type = cast<ShapedType>(memory.getType()).getElementType();
  if (auto row = dyn_cast<RankedTensorType>(inside))
    operand.columns = row.getDimSize(0);
  operand.index = access.isIndexed() ? access.getIndex() : -1;
  operand.output = output;
  return operand;
}

std::vector<KernelOperand> seqpar::getKernelOperands(plan::RowsOp rows) {
  std::vector<KernelOperand> operands;
  Block &body = rows.getBody().front();
  for (auto [i, input] : llvm::enumerate(rows.getInputs()))
    operands.push_back(
        makeOperand(rows.getInputAccess(i), input, body.getArgument(i).getType(), false));
  for (auto [i, out] : llvm::enumerate(rows.getOuts()))
    operands.push_back(makeOperand(rows.getOutputAccess(i), out,
                                   body.getTerminator()->getOperand(i).getType(), true));
  return operands;
}
