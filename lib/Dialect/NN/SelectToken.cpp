//===- SelectToken.cpp - One position of each sample ------------------------------------------===//

#include "seqpar/Dialect/NN/NN.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

/// Checks that the sequence, when its length is known, has the position.
static LogicalResult verifyPosition(Operation *op, int64_t position, Type sequence) {
  int64_t length = cast<ShapedType>(sequence).getDimSize(1);
  if (position < 0 || (!ShapedType::isDynamic(length) && position >= length))
    return op->emitOpError() << "position " << position << " is not in " << sequence;
  return success();
}

std::string SelectTokenOp::getLayoutRule() { return "[b,s,h]->[b,h]"; }

LogicalResult SelectTokenOp::verify() {
  return verifyPosition(*this, getPosition(), getX().getType());
}

LogicalResult SelectTokenOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                           SmallVectorImpl<Value> &inputCotangents) {
  inputCotangents[0] = SelectTokenGradOp::create(builder, getLoc(), getX().getType(),
                                                 resultCotangents[0], getPositionAttr());
  return success();
}

std::string SelectTokenGradOp::getLayoutRule() { return "[b,h]->[b,s,h]"; }

LogicalResult SelectTokenGradOp::verify() {
  return verifyPosition(*this, getPosition(), getResult().getType());
}

/// The rank's row of the sequence's first token, negative where another rank holds it.
static FailureOr<Value> getFirstTokenRows(Operation *op, int64_t position, PlanLowering &lowering,
                                          int64_t samples) {
  if (position != 0)
    return op->emitOpError() << "is lowered for position 0 only, found " << position;
  return lowering.getInput(plan::InputKind::FirstTokenRows, {samples},
                           lowering.builder.getI32Type());
}

LogicalResult SelectTokenOp::lowerToPlan(PlanLowering &lowering) {
  Value x = lowering.get(getX());
  int64_t samples = cast<ShapedType>(x.getType()).getDimSize(0);
  FailureOr<Value> rows = getFirstTokenRows(*this, getPosition(), lowering, samples);
  if (failed(rows))
    return failure();
  RowKernel kernel(lowering, *this, "select_token", samples, getColumns(x));
  kernel.yieldRow(kernel.gather(x, kernel.rowScalar(*rows)), getResult());
  kernel.finish();
  return success();
}

LogicalResult SelectTokenGradOp::lowerToPlan(PlanLowering &lowering) {
  Value dy = lowering.get(getDy());
  int64_t samples = getRows(dy);
  FailureOr<Value> rows = getFirstTokenRows(*this, getPosition(), lowering, samples);
  if (failed(rows))
    return failure();
  Value zeros = plan::ZerosOp::create(lowering.builder, getLoc(), lowering.getLocalType(getType()));
  RowKernel kernel(lowering, *this, "select_token_grad", samples, getColumns(dy));
  kernel.yieldScatter(kernel.row(dy), zeros, kernel.rowScalar(*rows), getResult(), /*add=*/false);
  kernel.finish();
  return success();
}
