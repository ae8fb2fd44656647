//===- MaskedRows.cpp - Computation on the masked positions only ------------------------------===//

#include "seqpar/Dialect/NN/NN.h"
#include "seqpar/Dialect/NN/ReverseMode.h"

#include "mlir/IR/Dominance.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

SmallVector<Value> MaskedRowsOp::getCaptures() {
  llvm::SetVector<Value> captures;
  getUsedValuesDefinedAbove(getBody(), captures);
  return captures.takeVector();
}

bool MaskedRowsOp::isScattered(unsigned i) {
  // The layout rule's check asks before the region is verified.
  if (getBody().empty() || getBody().front().empty())
    return false;
  auto yield = dyn_cast<YieldOp>(getBody().front().back());
  if (!yield || i >= yield.getNumOperands())
    return false;
  return cast<ShapedType>(getResult(i).getType()).getRank() ==
         cast<ShapedType>(yield.getOperand(i).getType()).getRank() + 1;
}

/// "[r2d0,r2d1]": factors of result i alone, for a sum over chunks.
static std::string sumFactors(unsigned i, Type type) {
  std::string factors;
  for (int64_t d = 0, rank = cast<ShapedType>(type).getRank(); d < rank; ++d)
    factors += (d ? ",r" : "r") + std::to_string(i) + "d" + std::to_string(d);
  return "[" + factors + "]";
}

std::string MaskedRowsOp::getLayoutRule() {
  std::string rule = "[b,s,h],[b,s],[b,s]->";
  for (auto [i, type] : llvm::enumerate(getResultTypes()))
    rule += (i ? "," : "") + (isScattered(i) ? "[b,s,h]" : sumFactors(i, type));
  return rule;
}

/// Checks the region's arguments: the rows and the labels of a chunk.
static LogicalResult verifyArguments(MaskedRowsOp op) {
  int64_t chunk = op.getChunk().value_or(ShapedType::kDynamic);
  int64_t hidden = cast<ShapedType>(op.getX().getType()).getDimSize(2);
  Builder builder(op.getContext());
  Type expected[] = {RankedTensorType::get({chunk, hidden}, builder.getF32Type()),
                     RankedTensorType::get({chunk}, builder.getI32Type())};
  Block &block = op.getBody().front();
  bool fits = block.getNumArguments() == 2;
  for (unsigned i = 0; fits && i < 2; ++i) {
    auto type = dyn_cast<RankedTensorType>(block.getArgument(i).getType());
    fits = type && succeeded(verifyCompatibleShape(type, expected[i])) &&
           type.getElementType() == cast<ShapedType>(expected[i]).getElementType();
  }
  if (!fits)
    return op.emitOpError() << "region must have the arguments (" << expected[0] << ", "
                            << expected[1] << ")";
  return success();
}

LogicalResult MaskedRowsOp::verifyRegions() {
  if (getChunk() && *getChunk() < 1)
    return emitOpError() << "chunk must be at least 1, but is " << *getChunk();
  if (failed(verifyArguments(*this)))
    return failure();
  auto yield = dyn_cast<YieldOp>(getBody().front().back());
  if (!yield)
    return emitOpError("must end in nn.yield");
  if (yield.getNumOperands() != getNumResults())
    return emitOpError() << "has " << getNumResults() << " results, but yields "
                         << yield.getNumOperands() << " values";
  Type rows = getBody().getArgument(0).getType();
  for (auto [i, result, value] : llvm::enumerate(getResultTypes(), yield.getOperandTypes())) {
    bool fits = isScattered(i) ? succeeded(verifyCompatibleShape(result, getX().getType())) &&
                                     succeeded(verifyCompatibleShape(value, rows))
                               : succeeded(verifyCompatibleShape(result, value));
    if (!fits)
      return emitOpError() << "result " << i << " is " << result << ", but yields " << value
                           << ": expected " << value << " (a sum over chunks), or rows of "
                           << getX().getType();
  }
  for (Operation &op : getBody().front())
    if (isa<ParameterOp, InputOp>(op))
      return op.emitOpError("must be above nn.masked_rows, which runs once for each chunk");
  return success();
}

SmallVector<Value> MaskedRowsOp::getDifferentiatedInputs() {
  SmallVector<Value> inputs(getOperands());
  llvm::append_range(inputs, getCaptures());
  return inputs;
}

/// Adds the backward to the region: its seed is known before the op runs, so that each chunk is
/// forgotten once it is done.
LogicalResult MaskedRowsOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                          SmallVectorImpl<Value> &inputCotangents) {
  Value seed = resultCotangents[0];
  if (getNumResults() != 1)
    return emitOpError() << "can be differentiated with one result, the sum of the losses, but has "
                         << getNumResults();
  if (!DominanceInfo((*this)->getParentOp()).dominates(seed, *this))
    return emitOpError("can be differentiated only when its result is the loss that nn.loss takes");
  // The gradient of a capture is summed over chunks, and later over ranks: right only for what all
  // rows share.
  for (Value capture : getCaptures())
    if (!capture.getDefiningOp<ParameterOp>() &&
        cast<ShapedType>(capture.getType()).getRank() != 0) {
      InFlightDiagnostic error =
          emitOpError("can be differentiated only when it uses no other values from above than "
                      "parameters and scalars");
      error.attachNote(capture.getLoc()) << "it uses this value of type " << capture.getType();
      return error;
    }

  Block &block = getBody().front();
  auto yield = cast<YieldOp>(block.getTerminator());
  SmallVector<Value> inputs = getDifferentiatedInputs();
  inputs[0] = block.getArgument(0); // the rows stand for x
  SmallVector<Operation *> forward;
  for (Operation &op : block.without_terminator())
    forward.push_back(&op);
  Cotangents cotangents;
  cotangents.add(yield.getOperand(0), seed);
  OpBuilder inner(yield);
  if (failed(nn::buildBackward(forward, inner, cotangents)))
    return failure();

  SmallVector<Value> yielded{yield.getOperand(0)};
  SmallVector<Type> types{getResult(0).getType()};
  SmallVector<unsigned> resultOf(inputs.size(), 0); // 0: none
  for (auto [i, input] : llvm::enumerate(inputs))
    if (Value gradient = cotangents.takeSum(inner, input)) {
      resultOf[i] = yielded.size();
      yielded.push_back(gradient);
      types.push_back(i == 0 ? getX().getType() : input.getType());
    }
  yield->setOperands(yielded);
  OpBuilder here(*this);
  auto both = MaskedRowsOp::create(here, getLoc(), types, getX(), getLossMask(), getLabels(),
                                   getChunkAttr());
  both.getBody().takeBody(getBody());
  for (auto [i, result] : llvm::enumerate(resultOf))
    if (result)
      inputCotangents[i] = both.getResult(result);
  getResult(0).replaceAllUsesWith(both.getResult(0));
  erase();
  return success();
}

//===- Lowering -------------------------------------------------------------------------------===//

/// Where a sum over chunks goes: the gradient or metric that it is a contribution to. Only that use
/// is possible, since the sum is made there.
static FailureOr<Value> getAccumulator(MaskedRowsOp op, OpResult sum, PlanLowering &lowering) {
  if (sum.hasOneUse()) {
    Operation *user = *sum.user_begin();
    if (auto accumulate = dyn_cast<AccumulateOp>(user))
      return lowering.getGradient(accumulate.getParameterName());
    if (auto metric = dyn_cast<AccumulateMetricOp>(user); metric && metric.getValue() == sum)
      return lowering.getMetric(static_cast<int>(metric.getMetric()));
  }
  return op.emitOpError() << "result " << sum.getResultNumber()
                          << " is a sum over chunks: expected its one use to accumulate it";
}

/// The rows of a chunk, and what was given to them, at their places in `into`.
static Value scatterRows(MaskedRowsOp op, PlanLowering &lowering, Value rows, Value numbers,
                         Value into, Value global) {
  RowKernel kernel(lowering, op, "scatter_rows", getRows(rows), getColumns(rows));
  kernel.yieldScatter(kernel.row(rows), into, kernel.rowScalar(numbers), global, /*add=*/false);
  return kernel.finish().getResults()[0];
}

static void gatherRows(MaskedRowsOp op, PlanLowering &lowering, Value numbers) {
  Value x = lowering.get(op.getX());
  BlockArgument rows = op.getBody().getArgument(0);
  RowKernel kernel(lowering, op, "gather_rows", cast<ShapedType>(rows.getType()).getDimSize(0),
                   getColumns(x));
  kernel.yieldRow(kernel.gather(x, kernel.rowScalar(numbers)), rows);
  kernel.finish();
}

LogicalResult MaskedRowsOp::lowerToPlan(PlanLowering &lowering) {
  OpBuilder &builder = lowering.builder;
  RankedTensorType xType = lowering.getLocalType(getX().getType());
  int64_t positions = xType.getDimSize(0) * xType.getDimSize(1);
  Value numbers = lowering.getInput(plan::InputKind::MaskedRows, {positions}, builder.getI32Type());
  Value labels =
      lowering.getInput(plan::InputKind::MaskedLabels, {positions}, builder.getI32Type());
  SmallVector<Value> inits;
  for (unsigned i = 0; i < getNumResults(); ++i)
    if (isScattered(i))
      inits.push_back(plan::ZerosOp::create(builder, getLoc(), xType));

  ValueRange carried(inits);
  auto loop =
      plan::RowsLoopOp::create(builder, getLoc(), carried.getTypes(),
                               builder.getI64IntegerAttr(*getChunk()), numbers, labels, carried);
  OpBuilder::InsertionGuard guard(builder);
  auto chunkType = MemRefType::get({static_cast<int64_t>(*getChunk())}, builder.getI32Type());
  SmallVector<Type> types = {chunkType, chunkType};
  llvm::append_range(types, carried.getTypes());
  Block *body = builder.createBlock(&loop.getBody(), {}, types,
                                    SmallVector<Location>(types.size(), getLoc()));
  lowering.inRowsLoop = true;
  gatherRows(*this, lowering, body->getArgument(0));
  lowering.set(getBody().getArgument(1), body->getArgument(1));
  Block &chunk = getBody().front();
  for (Operation &op : chunk.without_terminator())
    if (failed(lowering.lowerOp(&op)))
      return failure();

  SmallVector<Value> yielded;
  unsigned next = 0;
  for (auto [i, value] : llvm::enumerate(chunk.getTerminator()->getOperands())) {
    Value local = lowering.get(value);
    if (isScattered(i)) {
      Value into = body->getArgument(2 + next);
      yielded.push_back(scatterRows(*this, lowering, local, body->getArgument(0), into, Value()));
      lowering.set(getResult(i), loop.getResult(next++));
      continue;
    }
    FailureOr<Value> accumulator = getAccumulator(*this, (*this)->getOpResult(i), lowering);
    if (failed(accumulator))
      return failure();
    plan::AccumulateOp::create(builder, getLoc(), local, *accumulator);
    lowering.set(getResult(i), *accumulator); // memory: nothing is left to accumulate
  }
  sp::YieldOp::create(builder, getLoc(), yielded);
  lowering.inRowsLoop = false;
  return success();
}
