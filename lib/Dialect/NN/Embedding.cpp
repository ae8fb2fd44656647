//===- Embedding.cpp - Rows of a table
//------------------------------------------------------------===//

#include "seqpar/Dialect/NN/NN.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

std::string EmbeddingOp::getLayoutRule() { return "[b,s],[v,h]->[b,s,h]"; }

LogicalResult EmbeddingOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                         SmallVectorImpl<Value> &inputCotangents) {
  inputCotangents[1] = EmbeddingGradOp::create(builder, getLoc(), getTable().getType(),
                                               resultCotangents[0], getIds());
  return success();
}

std::string EmbeddingGradOp::getLayoutRule() { return "[b,s,h],[b,s]->[v,h]"; }
