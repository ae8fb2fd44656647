//===- SPCollectives.cpp - collectives and their verifiers ----------------===//
//
// With layouts (global tensors) a collective must match its operand's layout exactly: this is what
// makes a forgotten or doubled reduction an error. Without layouts only shapes are compared.
//
//===----------------------------------------------------------------------===//
#include "seqpar/Dialect/SP/SP.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace seqpar::sp;

//===----------------------------------------------------------------------===//
// Spelling of axes
//===----------------------------------------------------------------------===//

static ParseResult parseAxes(OpAsmParser &parser, DenseI32ArrayAttr &axes) {
  SmallVector<int32_t> values;
  auto parseOne = [&]() -> ParseResult {
    StringRef keyword;
    SMLoc loc = parser.getCurrentLocation();
    if (parser.parseKeyword(&keyword))
      return failure();
    std::optional<Axis> axis = symbolizeAxis(keyword);
    if (!axis)
      return parser.emitError(loc) << "expected an axis (dp, pp or sp), found '" << keyword << "'";
    values.push_back(static_cast<int32_t>(*axis));
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseOne))
    return failure();
  axes = parser.getBuilder().getDenseI32ArrayAttr(values);
  return success();
}

static void printAxes(OpAsmPrinter &printer, Operation *, DenseI32ArrayAttr axes) {
  printer << "[";
  llvm::interleaveComma(axes.asArrayRef(), printer,
                        [&](int32_t axis) { printer << getAxisName(static_cast<Axis>(axis)); });
  printer << "]";
}

#define GET_OP_CLASSES
#include "seqpar/Dialect/SP/SPOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Verifiers
//===----------------------------------------------------------------------===//

/// A reduction that is waited for later works on buffers.
static LogicalResult verifyTag(Operation *op, Value input, int64_t tag) {
  if (tag < -1)
    return op->emitOpError("expected a tag from 0, found ") << tag;
  if (tag >= 0 && !isa<MemRefType>(input.getType()))
    return op->emitOpError("has a tag, but works on a tensor");
  return success();
}

LogicalResult AllReduceOp::verify() {
  if (getAxes().empty())
    return emitOpError("expected at least one axis");
  if (failed(verifyTag(*this, getInput(), getTag())))
    return failure();
  if (isa<MemRefType>(getInput().getType()))
    return getResult() ? emitOpError("on a buffer works in place and has no result") : success();
  if (!getResult())
    return emitOpError("on a tensor needs a result");
  auto input = cast<RankedTensorType>(getInput().getType()), result = cast<RankedTensorType>(getResult().getType());
  if (input.getShape() != result.getShape() || input.getElementType() != result.getElementType())
    return emitOpError("expected a result of the operand's shape and element type");
  LayoutAttr from = getLayout(input), to = getLayout(result);
  if (!from || !to)
    return from == to ? success() : emitOpError("expected layouts on both operand and result, or on neither");
  for (int32_t axis : getAxes())
    if (!from.isPartialOver(static_cast<Axis>(axis)))
      return emitOpError("reduces over '") << getAxisName(static_cast<Axis>(axis))
                                           << "', over which its operand is not a partial sum: " << from;
  SmallVector<Axis> rest;
  for (Axis axis : from.getPartial())
    if (!llvm::is_contained(getAxes(), static_cast<int32_t>(axis)))
      rest.push_back(axis);
  auto expected = LayoutAttr::get(getContext(), from.getSplits(), rest);
  if (to != expected)
    return emitOpError("expected the result's layout to be ") << expected << ", found " << to;
  return success();
}

/// The layout of a gather's result (or a scatter's operand without the partial sum): `dim` whole.
static LayoutAttr withoutSplit(LayoutAttr layout, int64_t dim) {
  SmallVector<int32_t> splits(layout.getSplits());
  splits[dim] = LayoutAttr::kNone;
  return LayoutAttr::get(layout.getContext(), splits, layout.getPartial());
}

static LogicalResult verifyForm(Operation *op, Value input, Value out, Value result, int64_t dim,
                                ArrayRef<int32_t> axes) {
  if (axes.empty() || (result && axes.size() != 1))
    return op->emitOpError(result ? "expected one axis, found " : "expected at least one axis, found ") << axes.size();
  if (bool(out) == bool(result))
    return op->emitOpError("expected either a result or a buffer to write");
  if (out && !isa<MemRefType>(input.getType()))
    return op->emitOpError("expected a buffer as operand beside the buffer to write");
  int64_t rank = cast<ShapedType>(input.getType()).getRank();
  if (dim < 0 || dim >= rank)
    return op->emitOpError("expected a dimension below ") << rank << ", found " << dim;
  return success();
}

LogicalResult AllGatherOp::verify() {
  if (failed(verifyForm(*this, getInput(), getOut(), getResult(), getDim(), getAxes())))
    return failure();
  LayoutAttr from = getLayout(getInput().getType());
  if (!from || !getResult())
    return success();
  Axis axis = static_cast<Axis>(getAxes()[0]);
  if (from.getDimSplitOver(axis) != std::optional<int64_t>(getDim()))
    return emitOpError("gathers dimension ") << getDim() << " over '" << getAxisName(axis)
                                             << "', but the operand's layout is " << from;
  LayoutAttr expected = withoutSplit(from, getDim());
  if (getLayout(getResult().getType()) != expected)
    return emitOpError("expected the result's layout to be ") << expected;
  return success();
}

LogicalResult ReduceScatterOp::verify() {
  if (failed(verifyForm(*this, getInput(), getOut(), getResult(), getDim(), getAxes())))
    return failure();
  if (failed(verifyTag(*this, getInput(), getTag())))
    return failure();
  LayoutAttr from = getLayout(getInput().getType());
  if (!from || !getResult())
    return success();
  Axis axis = static_cast<Axis>(getAxes()[0]);
  if (!from.isPartialOver(axis))
    return emitOpError("reduces over '") << getAxisName(axis) << "', over which its operand is not a partial sum: "
                                         << from;
  if (from.getSplits()[getDim()] != LayoutAttr::kNone)
    return emitOpError("expected dimension ") << getDim() << " of the operand not to be split";
  SmallVector<int32_t> splits(from.getSplits());
  splits[getDim()] = static_cast<int32_t>(axis);
  SmallVector<Axis> rest;
  for (Axis partial : from.getPartial())
    if (partial != axis)
      rest.push_back(partial);
  auto expected = LayoutAttr::get(getContext(), splits, rest);
  if (getLayout(getResult().getType()) != expected)
    return emitOpError("expected the result's layout to be ") << expected;
  return success();
}
