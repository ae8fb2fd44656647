//===- Elementwise.cpp - GeLU, tanh, sum, dropout
//-------------------------------------------------===//

#include "seqpar/Dialect/NN/NN.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

/// The rule of an op all of whose operands and whose one result have one shape.
static std::string elementwiseRule(Operation *op) {
  std::string factors = activationFactors(op->getResult(0).getType()), rule = factors;
  for (unsigned i = 1; i < op->getNumOperands(); ++i)
    rule += "," + factors;
  return rule + "->" + factors;
}

/// A rate is a probability below 1.
static LogicalResult verifyDropout(Operation *op, const APFloat &rate, int64_t site) {
  double value = rate.convertToDouble();
  if (!(value >= 0 && value < 1))
    return op->emitOpError() << "rate must be at least 0 and below 1, but is " << value;
  if (site < 0)
    return op->emitOpError() << "site must be at least 0, but is " << site;
  return success();
}

//===- GeLU
//--------------------------------------------------------------------------------------===//

std::string GeluOp::getLayoutRule() { return elementwiseRule(*this); }

LogicalResult GeluOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                    SmallVectorImpl<Value> &inputCotangents) {
  inputCotangents[0] = GeluGradOp::create(builder, getLoc(), getX().getType(), resultCotangents[0],
                                          getX(), getForm());
  return success();
}

std::string GeluGradOp::getLayoutRule() { return elementwiseRule(*this); }

//===- Tanh
//--------------------------------------------------------------------------------------===//

std::string TanhOp::getLayoutRule() { return elementwiseRule(*this); }

LogicalResult TanhOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                    SmallVectorImpl<Value> &inputCotangents) {
  inputCotangents[0] =
      TanhGradOp::create(builder, getLoc(), getX().getType(), resultCotangents[0], getResult());
  return success();
}

std::string TanhGradOp::getLayoutRule() { return elementwiseRule(*this); }

//===- Sum
//---------------------------------------------------------------------------------------===//

std::string AddOp::getLayoutRule() { return elementwiseRule(*this); }

LogicalResult AddOp::buildBackward(OpBuilder &, ArrayRef<Value> resultCotangents,
                                   SmallVectorImpl<Value> &inputCotangents) {
  inputCotangents.assign(2, resultCotangents[0]);
  return success();
}

//===- Dropout
//-----------------------------------------------------------------------------------===//

std::string DropoutOp::getLayoutRule() { return elementwiseRule(*this); }

LogicalResult DropoutOp::verify() { return verifyDropout(*this, getRate(), getSite()); }

LogicalResult DropoutOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                       SmallVectorImpl<Value> &inputCotangents) {
  inputCotangents[0] = DropoutGradOp::create(builder, getLoc(), getX().getType(),
                                             resultCotangents[0], getRateAttr(), getSiteAttr());
  return success();
}

std::string DropoutGradOp::getLayoutRule() { return elementwiseRule(*this); }

LogicalResult DropoutGradOp::verify() { return verifyDropout(*this, getRate(), getSite()); }
