//===- LayerNorm.cpp - Layer normalisation ----------------------------------------------------===//

#include "seqpar/Dialect/NN/NN.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

/// A row of equal values has variance 0.
static LogicalResult verifyEps(Operation *op, FloatAttr eps) {
  double value = eps.getValueAsDouble();
  return value > 0 ? success() : op->emitOpError() << "eps must be above 0, but is " << value;
}

LogicalResult LayerNormOp::verify() { return verifyEps(*this, getEpsAttr()); }

LogicalResult LayerNormGradOp::verify() { return verifyEps(*this, getEpsAttr()); }

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

/// (x - mean) / sqrt(variance + eps), and the factor 1 / sqrt(variance + eps).
static std::pair<RowExpr, RowExpr> normalize(RowExpr x, double eps) {
  RowExpr centered = x - mean(x);
  RowExpr factor = 1.0 / sqrt(mean(centered * centered) + eps);
  return {centered * factor, factor};
}

LogicalResult LayerNormOp::lowerToPlan(PlanLowering &lowering) {
  Value x = lowering.get(getX());
  RowKernel kernel(lowering, *this, "layer_norm", getRows(x), getColumns(x));
  RowExpr normalized = normalize(kernel.row(x), getEps().convertToDouble()).first;
  kernel.yieldRow(normalized * kernel.broadcast(lowering.get(getGamma())) +
                      kernel.broadcast(lowering.get(getBeta())),
                  getResult());
  kernel.finish();
  return success();
}

LogicalResult LayerNormGradOp::lowerToPlan(PlanLowering &lowering) {
  Value x = lowering.get(getX());
  RowKernel kernel(lowering, *this, "layer_norm_grad", getRows(x), getColumns(x));
  RowExpr dy = kernel.row(lowering.get(getDy()));
  auto [normalized, factor] = normalize(kernel.row(x), getEps().convertToDouble());
  RowExpr scaled = dy * kernel.broadcast(lowering.get(getGamma()));
  kernel.yieldRow(factor * (scaled - mean(scaled) - normalized * mean(scaled * normalized)),
                  getDx());
  kernel.yieldSum(dy * normalized, getDgamma());
  kernel.yieldSum(dy, getDbeta());
  kernel.finish();
  return success();
}
