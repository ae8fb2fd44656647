//===- Linear.cpp - Products with a weight ----------------------------------------------------===//

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

/// The GEMM of rows: which extent shrinks in a chunk of masked rows.
static plan::ActiveRows getActiveRows(PlanLowering &lowering, plan::ActiveRows inChunk) {
  return lowering.inRowsLoop ? inChunk : plan::ActiveRows::None;
}

static Value createGemm(PlanLowering &lowering, Operation *op, Type result, Value a, Value b,
                        bool transposeA, bool transposeB, plan::ActiveRows active) {
  auto gemm =
      plan::GemmOp::create(lowering.builder, op->getLoc(), result, /*saved=*/Type(), a, b, /*bias=*/Value(),
                           /*out=*/Value(), /*saved_out=*/Value(), transposeA, transposeB, /*gelu=*/false,
                           plan::Combine::Overwrite, getActiveRows(lowering, active));
  return gemm.getResult();
}

LogicalResult LinearOp::lowerToPlan(PlanLowering &lowering) {
  Value product =
      createGemm(lowering, *this, lowering.getLocalType(getType()), lowering.get(getX()),
                 lowering.get(getWeight()), false, true, plan::ActiveRows::M);
  if (!getBias()) {
    lowering.set(getResult(), product);
    return success();
  }
  RowKernel kernel(lowering, *this, "bias", getRows(product), getColumns(product));
  kernel.yieldRow(kernel.row(product) + kernel.broadcast(lowering.get(getBias())), getResult());
  kernel.finish();
  return success();
}

LogicalResult LinearGradInputOp::lowerToPlan(PlanLowering &lowering) {
  lowering.set(getResult(),
               createGemm(lowering, *this, lowering.getLocalType(getType()), lowering.get(getDy()),
                          lowering.get(getWeight()), false, false, plan::ActiveRows::M));
  return success();
}

LogicalResult LinearGradWeightOp::lowerToPlan(PlanLowering &lowering) {
  lowering.set(getResult(),
               createGemm(lowering, *this, lowering.getLocalType(getType()), lowering.get(getDy()),
                          lowering.get(getX()), true, false, plan::ActiveRows::K));
  return success();
}

LogicalResult SumRowsOp::lowerToPlan(PlanLowering &lowering) {
  Value dy = lowering.get(getDy());
  RowKernel kernel(lowering, *this, "sum_rows", getRows(dy), getColumns(dy));
  kernel.yieldSum(kernel.row(dy), getResult());
  kernel.finish();
  return success();
}
