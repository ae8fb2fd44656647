//===- SelectToken.cpp - One position of each sample
//----------------------------------------------===//

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
