//===- Cut.cpp - Boundaries between pipeline stages and between forward and backward ----------===//

#include "seqpar/Dialect/NN/NN.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

std::string CutOp::getLayoutRule() {
  std::string factors = activationFactors(getResult().getType());
  return factors + "->" + factors;
}

LogicalResult CutOp::verify() {
  int64_t from = getFrom(), to = getTo();
  if (from < 0 || to < 0 || (to != from + 1 && from != to + 1))
    return emitOpError() << "must go from a stage to its neighbour, but goes from " << from
                         << " to " << to;
  return success();
}

LogicalResult CutOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                   SmallVectorImpl<Value> &inputCotangents) {
  inputCotangents[0] = CutOp::create(builder, getLoc(), getX().getType(), resultCotangents[0],
                                     getToAttr(), getFromAttr());
  return success();
}

LogicalResult CutOp::lowerToPlan(PlanLowering &) {
  return emitOpError("is left: run cut-stages before localize");
}

LogicalResult BackwardOp::lowerToPlan(PlanLowering &lowering) {
  plan::BackwardOp::create(lowering.builder, getLoc());
  return success();
}
