//===- PlanOps.cpp - structure, GEMM and loops of the plan dialect --------===//
#include "seqpar/Dialect/Plan/Memory.h"
#include "seqpar/Dialect/Plan/Plan.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace seqpar::plan;

int64_t seqpar::plan::getByteCount(Value memory) {
  auto type = cast<MemRefType>(memory.getType());
  return type.getNumElements() * llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

//===----------------------------------------------------------------------===//
// Spelling of turns: F0 and B0 are the forward and backward part of micro-batch 0, numbered 0 and 1.
//===----------------------------------------------------------------------===//

static ParseResult parseTurns(OpAsmParser &parser, DenseI32ArrayAttr &order) {
  SmallVector<int32_t> turns;
  auto parseTurn = [&]() -> ParseResult {
    StringRef keyword;
    SMLoc loc = parser.getCurrentLocation();
    if (parser.parseKeyword(&keyword))
      return failure();
    bool backward = keyword.consume_front("B");
    int32_t microBatch;
    if ((!backward && !keyword.consume_front("F")) || keyword.getAsInteger(10, microBatch) ||
        microBatch < 0 || microBatch > std::numeric_limits<int32_t>::max() / 2)
      return parser.emitError(loc) << "expected a turn: F or B and the number of a micro-batch";
    turns.push_back(2 * microBatch + backward);
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseTurn))
    return failure();
  order = parser.getBuilder().getDenseI32ArrayAttr(turns);
  return success();
}

static void printTurns(OpAsmPrinter &printer, Operation *, DenseI32ArrayAttr order) {
  printer << "[";
  llvm::interleaveComma(order.asArrayRef(), printer,
                        [&](int32_t turn) { printer << (turn % 2 ? "B" : "F") << turn / 2; });
  printer << "]";
}

#define GET_OP_CLASSES
#include "seqpar/Dialect/Plan/PlanOps.cpp.inc"

LogicalResult InputOp::verify() {
  if (getValue().has_value() == (getKind() == InputKind::Constant))
    return success();
  return emitOpError("expected a value for a constant, and for nothing else");
}

LogicalResult ProgramOp::verify() {
  int64_t sp = getGrid().getSp();
  if (static_cast<int64_t>(getChunkLength()) * sp < static_cast<int64_t>(getSeqLength()))
    return emitOpError("expected ") << sp << " chunks to hold " << getSeqLength() << " positions, found chunks of "
                                    << getChunkLength();
  auto stages = getBody().getOps<StageOp>();
  if (int64_t found = std::distance(stages.begin(), stages.end()); found != getGrid().getPp())
    return emitOpError("expected one stage for each of the grid's ")
           << getGrid().getPp() << " pipeline stages, found " << found;
  return success();
}

/// Each micro-batch has its forward before its backward part, and finds its slot free.
static LogicalResult verifyTurns(StageOp op) {
  ArrayRef<int32_t> order = *op.getOrder();
  int64_t slots = op.getSlots(), forwards = 0, backwards = 0;
  for (int32_t turn : order) {
    bool backward = turn % 2;
    int64_t &next = backward ? backwards : forwards;
    if (turn < 0 || turn / 2 != next)
      return op.emitOpError("expected turn ") << (backward ? "B" : "F") << next << " before "
                                              << (backward ? "B" : "F") << turn / 2;
    ++next;
    if (backwards > forwards)
      return op.emitOpError("expected turn F") << turn / 2 << " before B" << turn / 2;
    if (forwards - backwards > slots)
      return op.emitOpError("has ") << slots << " slots, too few for micro-batch " << turn / 2;
  }
  if (forwards != backwards || order.empty())
    return op.emitOpError("expected both parts of each micro-batch in the order");
  return success();
}

/// Ranks of one stage can share its update, and the order of the axes is that of a group's members.
static LogicalResult verifyShardAxes(StageOp op) {
  using seqpar::sp::Axis;
  ArrayRef<int32_t> axes = op.getShardAxes();
  constexpr auto kDp = static_cast<int32_t>(Axis::DP), kSp = static_cast<int32_t>(Axis::SP);
  bool known = llvm::all_of(axes, [&](int32_t axis) { return axis == kDp || axis == kSp; });
  if (!known || (axes.size() > 1 && axes != ArrayRef{kDp, kSp}))
    return op.emitOpError("expected shard axes dp (")
           << kDp << ") and sp (" << kSp << "), each at most once and in this order, found ["
           << axes << "]";
  return success();
}

LogicalResult StageOp::verify() {
  auto stages = cast<ProgramOp>((*this)->getParentOp()).getBody().getOps<StageOp>();
  int64_t position = std::distance(stages.begin(), llvm::find(stages, *this));
  if (int64_t index = getIndex(); index != position)
    return emitOpError("expected stage ") << position << " at this place, found stage " << index;
  unsigned microBatches = 0, updates = 0;
  for (Operation &op : getBody().front()) {
    microBatches += isa<MicroBatchOp>(op);
    updates += isa<UpdateOp>(op);
  }
  if (microBatches != 1 || updates != 1)
    return emitOpError("expected one micro_batch and one update, found ") << microBatches << " and " << updates;
  constexpr int64_t kMostSlots = 1 << 20; // sizes stay far from overflow
  if (int64_t slots = getSlots(); slots < 1 || slots > kMostSlots)
    return emitOpError("expected from 1 to ") << kMostSlots << " slots, found " << slots;
  if (int64_t bytes = getBucketBytes(); bytes < 0)
    return emitOpError("expected at least 0 bucket bytes, found ") << bytes;
  if (failed(verifyShardAxes(*this)))
    return failure();
  return getOrder() ? verifyTurns(*this) : success();
}

//===----------------------------------------------------------------------===//
// GemmOp
//===----------------------------------------------------------------------===//

static std::pair<int64_t, int64_t> getMatrixShape(Type type) {
  ArrayRef<int64_t> shape = cast<ShapedType>(type).getShape();
  int64_t rows = 1;
  for (int64_t extent : shape.drop_back())
    rows *= extent;
  return {rows, shape.back()};
}

GemmOp::Extents GemmOp::getExtents() {
  auto [aRows, aColumns] = getMatrixShape(getA().getType());
  auto [bRows, bColumns] = getMatrixShape(getB().getType());
  return {getTransposeA() ? aColumns : aRows, getTransposeB() ? bRows : bColumns, getTransposeA() ? aRows : aColumns};
}

/// What is read (parameters, inputs) does not change within a micro-batch, so in value form nothing
/// happens but the result.
void GemmOp::getEffects(SmallVectorImpl<MemoryEffects::EffectInstance> &effects) {
  if (getOut()) {
    effects.emplace_back(MemoryEffects::Read::get());
    effects.emplace_back(MemoryEffects::Write::get());
  }
}

/// Operands have one type; the result too, or f32, which products add up in.
static LogicalResult verifyElementTypes(GemmOp op, Type result) {
  auto elementOf = [](Type type) { return cast<ShapedType>(type).getElementType(); };
  Type a = elementOf(op.getA().getType()), b = elementOf(op.getB().getType()), c = elementOf(result);
  if (a != b || !(a.isF32() || a.isBF16() || a.isF16()))
    return op.emitOpError("expected operands of one type, f32, bf16 or f16, found ") << a << " and " << b;
  if (c != a && !c.isF32())
    return op.emitOpError("expected a result of ") << a << " or f32, found " << c;
  return success();
}

static LogicalResult verifyEpilogue(GemmOp op, ShapedType result, int64_t columns) {
  Value saved = op.getOut() ? Value(op.getSavedOut()) : Value(op.getSaved());
  if (op.getOut() ? bool(op.getSaved()) : bool(op.getSavedOut()))
    return op.emitOpError("expected what is saved in the form of the result, a value or a buffer");
  if (op.getGelu() != bool(saved) || (op.getGelu() && !op.getBias()))
    return op.emitOpError("expected a bias and a saved sum with gelu, and a saved sum with nothing else");
  if (saved && (cast<ShapedType>(saved.getType()).getShape() != result.getShape() ||
                cast<ShapedType>(saved.getType()).getElementType() != result.getElementType()))
    return op.emitOpError("expected a saved sum of the result's shape and type, found ") << saved.getType();
  if (!op.getBias())
    return success();
  auto bias = cast<ShapedType>(op.getBias().getType());
  if (bias.getElementType() != result.getElementType() || !bias.hasStaticShape() || bias.getNumElements() != columns)
    return op.emitOpError("expected a bias of ") << columns << " elements of " << result.getElementType() << ", found "
                                                << bias;
  if (op.getCombine() != Combine::Overwrite)
    return op.emitOpError("expected to overwrite the result with an epilogue");
  return success();
}

LogicalResult GemmOp::verify() {
  if (bool(getOut()) == bool(getResult()))
    return emitOpError("expected either a result or a buffer to write");
  Type type = getOut() ? Type(getOut().getType()) : Type(getResult().getType());
  if (failed(verifyElementTypes(*this, type)))
    return failure();
  for (Type operand : {getA().getType(), getB().getType(), type})
    if (auto shaped = cast<ShapedType>(operand); shaped.getRank() < 1 || !shaped.hasStaticShape())
      return emitOpError("expected matrices of static shape, found ") << operand;
  Extents extents = getExtents();
  auto [bRows, bColumns] = getMatrixShape(getB().getType());
  int64_t bInner = getTransposeB() ? bColumns : bRows;
  if (bInner != extents.k)
    return emitOpError("expected equal inner extents, found ") << extents.k << " and " << bInner;
  auto [rows, columns] = getMatrixShape(type);
  if (rows != extents.m || columns != extents.n)
    return emitOpError("expected a result of ") << extents.m << "x" << extents.n << ", found " << rows << "x"
                                                << columns;
  return verifyEpilogue(*this, cast<ShapedType>(type), columns);
}

//===----------------------------------------------------------------------===//
// RowsLoopOp
//===----------------------------------------------------------------------===//

ParseResult RowsLoopOp::parse(OpAsmParser &parser, OperationState &result) {
  SmallVector<OpAsmParser::Argument> arguments, carried;
  SmallVector<OpAsmParser::UnresolvedOperand> indices, inits;
  SmallVector<Type> indexTypes, types;
  int64_t chunk;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword("chunk") || parser.parseLParen() || parser.parseInteger(chunk) || parser.parseRParen())
    return failure();
  auto parseIndex = [&]() -> ParseResult {
    return failure(parser.parseArgument(arguments.emplace_back()) || parser.parseEqual() ||
                   parser.parseOperand(indices.emplace_back()));
  };
  if (parser.parseLParen() || parseIndex() || parser.parseComma() || parseIndex() ||
      parser.parseColonTypeList(indexTypes) || parser.parseRParen())
    return failure();
  if (indexTypes.size() != 2)
    return parser.emitError(loc) << "expected the types of rows and labels";
  Type element = parser.getBuilder().getI32Type();
  for (OpAsmParser::Argument &argument : arguments)
    argument.type = MemRefType::get({chunk}, element);
  if (succeeded(parser.parseOptionalKeyword("iter"))) {
    if (parser.parseAssignmentList(carried, inits) || parser.parseColonTypeList(types))
      return failure();
    if (types.size() != carried.size())
      return parser.emitError(loc) << "expected " << carried.size() << " types, found " << types.size();
    for (auto [argument, type] : llvm::zip(carried, types))
      argument.type = type;
    arguments.append(carried);
  }
  result.addAttribute("chunk", parser.getBuilder().getI64IntegerAttr(chunk));
  result.addTypes(types);
  if (parser.resolveOperands(indices, indexTypes, loc, result.operands) ||
      parser.resolveOperands(inits, types, loc, result.operands) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  return parser.parseRegion(*result.addRegion(), arguments);
}

void RowsLoopOp::print(OpAsmPrinter &printer) {
  Block::BlockArgListType arguments = getBody().getArguments();
  printer << " chunk(" << getChunk() << ") (" << arguments[0] << " = " << getRows() << ", " << arguments[1] << " = "
          << getLabels() << " : " << getRows().getType() << ", " << getLabels().getType() << ")";
  if (!getInits().empty()) {
    printer << " iter(";
    llvm::interleaveComma(llvm::zip(arguments.drop_front(2), getInits()), printer,
                          [&](auto pair) { printer << std::get<0>(pair) << " = " << std::get<1>(pair); });
    printer << ") : ";
    llvm::interleaveComma(getInits().getTypes(), printer, [&](Type type) { printer << type; });
  }
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {"chunk"});
  printer << " ";
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

LogicalResult RowsLoopOp::verify() {
  if (getChunk() < 1)
    return emitOpError("expected a chunk of at least one row");
  auto yield = dyn_cast<seqpar::sp::YieldOp>(getBody().front().getTerminator());
  if (!yield)
    return emitOpError("expected the body to end with sp.yield");
  if (getBody().getNumArguments() != getInits().size() + 2)
    return emitOpError("expected two arguments beside the carried values");
  if (getInits().getTypes() != getResults().getTypes() || yield.getOperandTypes() != getResults().getTypes())
    return emitOpError("expected initial, yielded and resulting values of the same types");
  return success();
}
