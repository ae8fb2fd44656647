//===- Embedding.cpp - Rows of a table --------------------------------------------------------===//

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

LogicalResult EmbeddingOp::lowerToPlan(PlanLowering &lowering) {
  Value table = lowering.get(getTable()), ids = lowering.get(getIds());
  RowKernel kernel(lowering, *this, "embedding", cast<ShapedType>(ids.getType()).getNumElements(),
                   getColumns(table));
  kernel.yieldRow(kernel.gather(table, kernel.rowScalar(ids)), getResult());
  kernel.finish();
  return success();
}

LogicalResult EmbeddingGradOp::lowerToPlan(PlanLowering &lowering) {
  Value dy = lowering.get(getDy());
  Value zeros = plan::ZerosOp::create(lowering.builder, getLoc(), lowering.getLocalType(getType()));
  RowKernel kernel(lowering, *this, "embedding_grad", getRows(dy), getColumns(dy));
  RowExpr id = kernel.rowScalar(lowering.get(getIds()));
  kernel.yieldScatter(kernel.row(dy), zeros, id, getResult(), /*add=*/true);
  kernel.finish();
  return success();
}
