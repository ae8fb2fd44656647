//===- CrossEntropy.cpp - Cross entropy of rows
//---------------------------------------------------===//

#include "seqpar/Dialect/NN/NN.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

std::string CrossEntropyOp::getLayoutRule() { return "[b,v],[b]->[]"; }

LogicalResult CrossEntropyOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                            SmallVectorImpl<Value> &inputCotangents) {
  inputCotangents[0] = CrossEntropyGradOp::create(builder, getLoc(), getLogits().getType(),
                                                  getLogits(), getTargets(), resultCotangents[0]);
  return success();
}

std::string CrossEntropyGradOp::getLayoutRule() { return "[b,v],[b],[]->[b,v]"; }
