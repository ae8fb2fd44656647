//===- SPRing.cpp - ring operations: verifiers and assembly ---------------===//
#include "seqpar/Dialect/SP/SP.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace seqpar::sp;

static LogicalResult verifySplitOverSequence(Operation *op, Type type) {
  LayoutAttr layout = getLayout(type);
  if (!layout)
    return success();
  if (!layout.getDimSplitOver(Axis::SP))
    return op->emitOpError("expected a value split over 'sp', found layout ") << layout;
  if (layout.isPartial())
    return op->emitOpError("expected a value that is not a partial sum, found layout ") << layout;
  return success();
}

LogicalResult RingShiftOp::verify() {
  if (getInputs().empty())
    return emitOpError("expected at least one value");
  if (getInputs().getTypes() != getResults().getTypes())
    return emitOpError("expected results of the operands' types");
  for (Type type : getInputs().getTypes())
    if (failed(verifySplitOverSequence(*this, type)))
      return failure();
  if (getSkipLast() && !(*this)->getParentOfType<RingLoopOp>())
    return emitOpError("skip_last has a meaning in a ring loop only");
  return success();
}

LogicalResult RingShiftStartOp::verify() {
  bool buffers = !getOuts().empty();
  if (buffers == !getResults().empty())
    return emitOpError("expected either results or buffers to write");
  TypeRange received = buffers ? TypeRange(getOuts().getTypes()) : TypeRange(getResults().getTypes());
  if (getInputs().size() != received.size())
    return emitOpError("sends ") << getInputs().size() << " values and receives " << received.size();
  for (auto [sent, got] : llvm::zip(getInputs().getTypes(), received))
    if (cast<ShapedType>(sent).getShape() != cast<ShapedType>(got).getShape())
      return emitOpError("expected the received value to have the shape of ") << sent << ", found " << got;
  return success();
}

LogicalResult WaitOp::verify() {
  if (getReceived().getTypes() != getResults().getTypes())
    return emitOpError("expected results of the received values' types");
  return success();
}

//===----------------------------------------------------------------------===//
// RingLoopOp
//===----------------------------------------------------------------------===//

ParseResult RingLoopOp::parse(OpAsmParser &parser, OperationState &result) {
  SmallVector<OpAsmParser::Argument> arguments;
  SmallVector<OpAsmParser::UnresolvedOperand> inits;
  SmallVector<Type> types;
  SMLoc loc = parser.getCurrentLocation();
  if (succeeded(parser.parseOptionalKeyword("iter"))) {
    if (parser.parseAssignmentList(arguments, inits) || parser.parseColonTypeList(types))
      return failure();
    if (types.size() != arguments.size())
      return parser.emitError(loc) << "expected " << arguments.size() << " types, found " << types.size();
    for (auto [argument, type] : llvm::zip(arguments, types))
      argument.type = type;
    if (parser.resolveOperands(inits, types, loc, result.operands))
      return failure();
  }
  result.addTypes(types);
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  return parser.parseRegion(*result.addRegion(), arguments);
}

void RingLoopOp::print(OpAsmPrinter &printer) {
  if (!getInits().empty()) {
    printer << " iter(";
    llvm::interleaveComma(llvm::zip(getBody().getArguments(), getInits()), printer,
                          [&](auto pair) { printer << std::get<0>(pair) << " = " << std::get<1>(pair); });
    printer << ") : ";
    llvm::interleaveComma(getInits().getTypes(), printer, [&](Type type) { printer << type; });
  }
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs());
  printer << " ";
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

LogicalResult RingLoopOp::verify() {
  auto yield = dyn_cast<YieldOp>(getBody().front().getTerminator());
  if (!yield)
    return emitOpError("expected the body to end with sp.yield");
  if (getInits().getTypes() != getResults().getTypes() || yield.getOperandTypes() != getResults().getTypes() ||
      TypeRange(getBody().getArgumentTypes()) != TypeRange(getResults().getTypes()))
    return emitOpError("expected initial, carried, yielded and resulting values of the same types");
  return success();
}

//===----------------------------------------------------------------------===//
// Attention blocks
//===----------------------------------------------------------------------===//

/// q [B, C, A], k and v [B, K, A], A a multiple of the heads.
static LogicalResult verifyAttentionShapes(Operation *op, Type q, Type k, Type v, int64_t heads) {
  auto query = cast<ShapedType>(q), key = cast<ShapedType>(k), value = cast<ShapedType>(v);
  if (query.getRank() != 3 || key.getRank() != 3)
    return op->emitOpError("expected queries and keys of rank 3");
  if (key.getShape() != value.getShape())
    return op->emitOpError("expected keys and values of one shape");
  if (query.getDimSize(0) != key.getDimSize(0) || query.getDimSize(2) != key.getDimSize(2))
    return op->emitOpError("expected queries and keys of one batch and width");
  if (heads < 1 || query.getDimSize(2) % heads != 0)
    return op->emitOpError("expected a width divisible by ") << heads << " heads, found " << query.getDimSize(2);
  if (query.getDimSize(2) / heads > 256)
    return op->emitOpError("expected at most 256 elements per head, found ") << query.getDimSize(2) / heads;
  return success();
}

static Type getElementType(Value value) { return cast<ShapedType>(value.getType()).getElementType(); }

/// `inputs` have the type of queries; `sums`, whose addends come block by block, are f32.
static LogicalResult verifyAttentionTypes(Operation *op, ValueRange inputs, ValueRange sums) {
  Type type = getElementType(inputs.front());
  if (!type.isF32() && !type.isBF16() && !type.isF16())
    return op->emitOpError("expected queries of f32, bf16 or f16, found ") << type;
  for (Value input : inputs)
    if (getElementType(input) != type)
      return op->emitOpError("expected operands of the queries' type ") << type << ", found " << input.getType();
  for (Value sum : sums)
    if (!getElementType(sum).isF32())
      return op->emitOpError("expected sums and statistics of f32, found ") << sum.getType();
  return success();
}

/// What an op writes, in either form.
template <typename OpT> static ValueRange getWritten(OpT op) {
  return op.getOuts().empty() ? ValueRange(op.getResults()) : ValueRange(op.getOuts());
}

/// A block alone may write its result in the queries' type; what goes on to another block is a sum.
static LogicalResult verifyTypes(AttentionBlockOp op) {
  ValueRange written = getWritten(op);
  if (failed(verifyAttentionTypes(op, {op.getQuery(), op.getKey(), op.getValue()}, op.getState())) ||
      failed(verifyAttentionTypes(op, op.getQuery(), written.drop_front())))
    return failure();
  Type out = getElementType(written.front());
  if (!out.isF32() && (!op.getInitialize() || !op.getFinish() || out != getElementType(op.getQuery())))
    return op.emitOpError("expected an accumulator of f32, or of the queries' type when one block sets and finishes "
                          "it, found ")
           << written.front().getType();
  return success();
}

static LogicalResult verifyTypes(AttentionBlockGradOp op) {
  SmallVector<Value> sums(getWritten(op));
  llvm::append_range(sums, op.getState());
  llvm::append_range(sums, op.getAccumulators());
  sums.push_back(op.getLse());
  return verifyAttentionTypes(op, {op.getQuery(), op.getKey(), op.getValue(), op.getOut(), op.getDout()}, sums);
}

static LogicalResult verifyResults(Operation *op, size_t results, size_t outs, size_t expected) {
  if ((results == expected) == (outs == expected) || (results && outs))
    return op->emitOpError("expected ") << expected << " results or " << expected << " buffers to write, found "
                                        << results << " and " << outs;
  return success();
}

LogicalResult AttentionBlockOp::verify() {
  if (failed(verifyAttentionShapes(*this, getQuery().getType(), getKey().getType(), getValue().getType(), getHeads())))
    return failure();
  if (failed(verifyResults(*this, getResults().size(), getOuts().size(), 3)) || failed(verifyTypes(*this)))
    return failure();
  if (!getResults().empty() && getState().size() != (getInitialize() ? 0 : 3))
    return emitOpError("expected the state as operands unless it is initialised here");
  if ((getBlock() == KeyBlock::Ring) != bool((*this)->getParentOfType<RingLoopOp>()))
    return emitOpError("expected key block 'ring' inside a ring loop and nowhere else");
  return success();
}

LogicalResult AttentionBlockGradOp::verify() {
  if (failed(verifyAttentionShapes(*this, getQuery().getType(), getKey().getType(), getValue().getType(), getHeads())))
    return failure();
  if (failed(verifyResults(*this, getResults().size(), getOuts().size(), 4)) || failed(verifyTypes(*this)))
    return failure();
  if (!getResults().empty() && getState().size() != (getInitialize() ? 0 : 2))
    return emitOpError("expected the state as operands unless it is initialised here");
  if (!getAccumulators().empty() && getAccumulators().size() != 2)
    return emitOpError("expected accumulators for keys and values or none");
  if ((getBlock() == KeyBlock::Ring) != bool((*this)->getParentOfType<RingLoopOp>()))
    return emitOpError("expected key block 'ring' inside a ring loop and nowhere else");
  return success();
}

//===----------------------------------------------------------------------===//
// Between pipeline stages
//===----------------------------------------------------------------------===//

/// A chunk is sent as it is: no rank could add up partial sums of another stage.
static LogicalResult verifyExchange(Operation *op, Type type, int64_t stage, int64_t tag) {
  if (stage < 0 || tag < 0)
    return op->emitOpError("expected a stage and a tag of at least 0, found ") << stage << " and " << tag;
  if (LayoutAttr layout = getLayout(type); layout && layout.isPartial())
    return op->emitOpError("expected a value that is not a partial sum, found layout ") << layout;
  return success();
}

LogicalResult SendOp::verify() { return verifyExchange(*this, getInput().getType(), getStage(), getTag()); }

LogicalResult ReceiveOp::verify() {
  if (bool(getOut()) == bool(getResult()))
    return emitOpError("expected either a result or a buffer to write");
  Type type = getOut() ? Type(getOut().getType()) : Type(getResult().getType());
  return verifyExchange(*this, type, getStage(), getTag());
}

LogicalResult SumStagesOp::verify() {
  ArrayRef<int32_t> stages = getStages();
  if (stages.size() < 2 ||
      std::adjacent_find(stages.begin(), stages.end(), std::greater_equal<>()) != stages.end())
    return emitOpError("expected two or more stages, ascending, found [") << stages << "]";
  return verifyExchange(*this, getInput().getType(), stages.front(), getTag());
}
