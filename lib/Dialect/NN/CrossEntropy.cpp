//===- CrossEntropy.cpp - Cross entropy of rows -----------------------------------------------===//

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

LogicalResult CrossEntropyOp::lowerToPlan(PlanLowering &lowering) {
  Value logits = lowering.get(getLogits());
  RowKernel kernel(lowering, *this, "cross_entropy", getRows(logits), getColumns(logits));
  RowExpr x = kernel.row(logits), target = kernel.rowScalar(lowering.get(getTargets()));
  RowExpr zero = kernel.constant(0.0), largest = maximum(x);
  RowExpr logSum = largest + log(sum(exp(x - largest)));
  RowExpr chosen = sum(select(equal(kernel.iota(), target), x, zero));
  kernel.yieldSum(select(notNegative(target), logSum - chosen, zero), getResult());
  kernel.finish();
  return success();
}

LogicalResult CrossEntropyGradOp::lowerToPlan(PlanLowering &lowering) {
  Value logits = lowering.get(getLogits());
  RowKernel kernel(lowering, *this, "cross_entropy_grad", getRows(logits), getColumns(logits));
  RowExpr x = kernel.row(logits), target = kernel.rowScalar(lowering.get(getTargets()));
  RowExpr zero = kernel.constant(0.0), one = kernel.constant(1.0), largest = maximum(x);
  RowExpr weights = exp(x - largest);
  RowExpr seed = select(notNegative(target), kernel.scalar(lowering.get(getSeed())), zero);
  RowExpr hot = select(equal(kernel.iota(), target), one, zero);
  kernel.yieldRow((weights * (one / sum(weights)) - hot) * seed, getResult());
  kernel.finish();
  return success();
}
