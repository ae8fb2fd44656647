//===- Linear.cpp - Products with a weight
//--------------------------------------------------------===//

#include "seqpar/Dialect/NN/NN.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

/// "b" for rows of rank 2, "b,s" otherwise.
static std::string rowFactors(Value x) {
  return cast<ShapedType>(x.getType()).getRank() == 2 ? "b" : "b,s";
}

std::string LinearOp::getLayoutRule() {
  std::string rows = rowFactors(getX());
  return "[" + rows + ",k],[n,k]" + (getBias() ? ",[n]" : "") + "->[" + rows + ",n]";
}

LogicalResult LinearOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                      SmallVectorImpl<Value> &inputCotangents) {
  Value dy = resultCotangents[0];
  inputCotangents[0] =
      LinearGradInputOp::create(builder, getLoc(), getX().getType(), dy, getWeight());
  inputCotangents[1] =
      LinearGradWeightOp::create(builder, getLoc(), getWeight().getType(), dy, getX());
  if (getBias())
    inputCotangents[2] = SumRowsOp::create(builder, getLoc(), getBias().getType(), dy);
  return success();
}

std::string LinearGradInputOp::getLayoutRule() {
  std::string rows = rowFactors(getDy());
  return "[" + rows + ",n],[n,k]->[" + rows + ",k]";
}

std::string LinearGradWeightOp::getLayoutRule() {
  std::string rows = rowFactors(getDy());
  return "[" + rows + ",n],[" + rows + ",k]->[n,k]";
}

std::string SumRowsOp::getLayoutRule() { return "[" + rowFactors(getDy()) + ",n]->[n]"; }
