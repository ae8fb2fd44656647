//===- PlanRows.cpp - row kernels: shapes and verifier --------------------===//
#include "seqpar/Dialect/Plan/Plan.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace seqpar::plan;

static bool isRowAccess(AccessKind kind) {
  return kind == AccessKind::Row || kind == AccessKind::Broadcast || kind == AccessKind::Gather ||
         kind == AccessKind::Scatter || kind == AccessKind::ScatterAdd;
}

int64_t RowsOp::getColumns() {
  auto yield = cast<RowYieldOp>(getBody().front().getTerminator());
  for (Type type : llvm::concat<const Type>(SmallVector<Type>(getBody().getArgumentTypes()),
                                            SmallVector<Type>(yield.getOperandTypes())))
    if (auto row = dyn_cast<RankedTensorType>(type); row && row.getRank() == 1)
      return row.getDimSize(0);
  return 1;
}

/// What the body sees of an operand of this type and access.
static LogicalResult verifyElement(RowsOp op, Type operand, Type inside, AccessKind kind, const Twine &which) {
  auto shaped = cast<ShapedType>(operand);
  Type element = shaped.getElementType();
  auto row = dyn_cast<RankedTensorType>(inside);
  bool isSumOfRows = kind == AccessKind::SumRows && row;
  if (isRowAccess(kind) || isSumOfRows) {
    if (!row || row.getRank() != 1 || row.getElementType() != element)
      return op.emitOpError() << which << ": expected a row of " << element << " in the body, found " << inside;
    if (shaped.getRank() < 1 || shaped.getShape().back() != row.getDimSize(0))
      return op.emitOpError() << which << ": expected the last extent of " << operand << " to be the columns, "
                              << row.getDimSize(0);
  } else if (inside != element) {
    return op.emitOpError() << which << ": expected an element " << element << " in the body, found " << inside;
  }
  int64_t elements = shaped.getNumElements(), rows = op.getRows();
  int64_t columns = row ? row.getDimSize(0) : 1;
  if ((kind == AccessKind::Row && elements != rows * columns) || (kind == AccessKind::RowScalar && elements != rows) ||
      ((kind == AccessKind::Broadcast || kind == AccessKind::SumRows) && elements != columns) ||
      (kind == AccessKind::Scalar && elements != 1))
    return op.emitOpError() << which << ": " << operand << " does not fit " << rows << " rows with access '"
                            << stringifyAccessKind(kind) << "'";
  return success();
}

/// As for a gemm: in value form nothing happens but the results.
void RowsOp::getEffects(SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  if (llvm::any_of(getOuts(), [](Value out) { return isa<MemRefType>(out.getType()); })) {
    effects.emplace_back(MemoryEffects::Read::get());
    effects.emplace_back(MemoryEffects::Write::get());
  }
}

LogicalResult RowsOp::verify() {
  Block &block = getBody().front();
  auto yield = dyn_cast<RowYieldOp>(block.getTerminator());
  if (!yield)
    return emitOpError("expected the body to end with plan.row_yield");
  if (block.getNumArguments() != getInputs().size() || getInputAccess().size() != getInputs().size())
    return emitOpError("expected one access and one body argument per input");
  if (yield.getNumOperands() != getNumOutputs())
    return emitOpError("yields ") << yield.getNumOperands() << " values for " << getNumOutputs() << " outputs";

  SmallVector<Value> outputs;
  unsigned nextOut = 0, nextResult = 0;
  bool bufferForm = getResults().empty();
  for (unsigned i = 0; i < getNumOutputs(); ++i) {
    AccessKind kind = getOutputAccess(i).getKind();
    bool inPlace = kind == AccessKind::Scatter || kind == AccessKind::ScatterAdd;
    if (kind == AccessKind::Broadcast || kind == AccessKind::Scalar || kind == AccessKind::Gather)
      return emitOpError("output ") << i << " has access '" << stringifyAccessKind(kind) << "' of an input";
    if ((bufferForm || inPlace) && nextOut == getOuts().size())
      return emitOpError("expected a value or buffer to write for output ") << i;
    if (!bufferForm && nextResult == getResults().size())
      return emitOpError("expected a result for output ") << i;
    Value value = bufferForm ? getOuts()[nextOut] : getResults()[nextResult];
    nextOut += bufferForm || inPlace;
    nextResult += !bufferForm;
    outputs.push_back(value);
  }
  if (nextOut != getOuts().size() || nextResult != getResults().size())
    return emitOpError("expected one result or buffer per output");

  int64_t columns = getColumns();
  auto checkColumns = [&](Type type) {
    auto row = dyn_cast<RankedTensorType>(type);
    return !row || (row.getRank() == 1 && row.getDimSize(0) == columns);
  };
  for (Type type : block.getArgumentTypes())
    if (!checkColumns(type))
      return emitOpError("expected every row to have ") << columns << " columns, found " << type;
  for (unsigned i = 0; i < getInputs().size(); ++i)
    if (failed(verifyElement(*this, getInputs()[i].getType(), block.getArgument(i).getType(),
                             getInputAccess(i).getKind(), "input " + Twine(i))))
      return failure();
  for (auto [i, output] : llvm::enumerate(outputs))
    if (failed(verifyElement(*this, output.getType(), yield.getOperand(i).getType(), getOutputAccess(i).getKind(),
                             "output " + Twine(i))))
      return failure();
  auto checkIndex = [&](AccessAttr access) {
    if (!access.isIndexed())
      return true;
    return access.getIndex() < static_cast<int64_t>(getInputs().size()) &&
           getInputAccess(access.getIndex()).getKind() == AccessKind::RowScalar &&
           block.getArgument(access.getIndex()).getType().isInteger(32);
  };
  for (auto attributes : {getInputAccess(), getOutputAccessAttr()})
    for (Attribute access : attributes)
      if (!checkIndex(cast<AccessAttr>(access)))
        return emitOpError("expected the row number of ") << access << " to be a row_scalar input of i32";
  return success();
}

Value seqpar::plan::createCast(OpBuilder &builder, Location loc, Value value, Type narrow) {
  auto type = cast<ShapedType>(value.getType());
  int64_t columns = type.getShape().back();
  Attribute row = AccessAttr::get(builder.getContext(), AccessKind::Row, -1);
  ArrayAttr access = builder.getArrayAttr(row);
  auto op = RowsOp::create(builder, loc, RankedTensorType::get(type.getShape(), narrow), builder.getStringAttr("cast"),
                           builder.getI64IntegerAttr(type.getNumElements() / columns), value, /*outs=*/ValueRange(),
                           access, access, CombineAttr::get(builder.getContext(), Combine::Overwrite), UnitAttr());
  OpBuilder::InsertionGuard guard(builder);
  auto wide = RankedTensorType::get({columns}, type.getElementType());
  Block *body = builder.createBlock(&op.getBody(), {}, Type(wide), loc);
  Value rounded = arith::TruncFOp::create(builder, loc, wide.clone(narrow), body->getArgument(0));
  RowYieldOp::create(builder, loc, rounded);
  return op.getResult(0);
}
