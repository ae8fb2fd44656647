//===- LayerNorm.cpp - Layer normalisation
//--------------------------------------------------------===//

#include "seqpar/Dialect/NN/NN.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

std::string LayerNormOp::getLayoutRule() {
  std::string x = activationFactors(getX().getType());
  return x + ",[h],[h]->" + x;
}

LogicalResult LayerNormOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                         SmallVectorImpl<Value> &inputCotangents) {
  auto grad = LayerNormGradOp::create(builder, getLoc(), getX().getType(), getGamma().getType(),
                                      getBeta().getType(), resultCotangents[0], getX(), getGamma(),
                                      getEpsAttr());
  llvm::copy(grad.getResults(), inputCotangents.begin());
  return success();
}

std::string LayerNormGradOp::getLayoutRule() {
  std::string x = activationFactors(getX().getType());
  return x + "," + x + ",[h]->" + x + ",[h],[h]";
}
