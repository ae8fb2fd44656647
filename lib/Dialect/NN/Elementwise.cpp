//===- Elementwise.cpp - GeLU, tanh, sum, dropout ---------------------------------------------===//

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

//===- GeLU -----------------------------------------------------------------------------------===//

std::string GeluOp::getLayoutRule() { return elementwiseRule(*this); }

LogicalResult GeluOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                    SmallVectorImpl<Value> &inputCotangents) {
  inputCotangents[0] = GeluGradOp::create(builder, getLoc(), getX().getType(), resultCotangents[0],
                                          getX(), getForm());
  return success();
}

std::string GeluGradOp::getLayoutRule() { return elementwiseRule(*this); }

//===- Tanh -----------------------------------------------------------------------------------===//

std::string TanhOp::getLayoutRule() { return elementwiseRule(*this); }

LogicalResult TanhOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                    SmallVectorImpl<Value> &inputCotangents) {
  inputCotangents[0] =
      TanhGradOp::create(builder, getLoc(), getX().getType(), resultCotangents[0], getResult());
  return success();
}

std::string TanhGradOp::getLayoutRule() { return elementwiseRule(*this); }

//===- Sum ------------------------------------------------------------------------------------===//

std::string AddOp::getLayoutRule() { return elementwiseRule(*this); }

LogicalResult AddOp::buildBackward(OpBuilder &, ArrayRef<Value> resultCotangents,
                                   SmallVectorImpl<Value> &inputCotangents) {
  inputCotangents.assign(2, resultCotangents[0]);
  return success();
}

//===- Dropout --------------------------------------------------------------------------------===//

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

//===- Lowering -------------------------------------------------------------------------------===//

/// A kernel whose rows are those of `value`.
static RowKernel makeKernel(PlanLowering &lowering, Operation *op, StringRef name, Value value) {
  return RowKernel(lowering, op, name, getRows(value), getColumns(value));
}

/// sqrt(2 / pi) * (x + 0.044715 x^3), the argument of the tanh form.
static RowExpr geluArgument(RowExpr x) { return 0.7978845608028654 * (x + 0.044715 * (x * x * x)); }

static RowExpr gelu(RowExpr x, GeluForm form) {
  RowExpr half = 0.5 * x;
  return form == GeluForm::Tanh ? half * (1.0 + tanh(geluArgument(x)))
                                : half * (1.0 + erf(0.7071067811865476 * x));
}

static RowExpr geluGrad(RowExpr x, GeluForm form) {
  if (form == GeluForm::Erf) {
    RowExpr density = 0.3989422804014327 * exp(-0.5 * (x * x));
    return 0.5 * (1.0 + erf(0.7071067811865476 * x)) + x * density;
  }
  RowExpr t = tanh(geluArgument(x));
  RowExpr slope = 0.7978845608028654 * (1.0 + 0.134145 * (x * x));
  return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * slope;
}

LogicalResult GeluOp::lowerToPlan(PlanLowering &lowering) {
  Value x = lowering.get(getX());
  RowKernel kernel = makeKernel(lowering, *this, "gelu", x);
  kernel.yieldRow(gelu(kernel.row(x), getForm()), getResult());
  kernel.finish();
  return success();
}

LogicalResult GeluGradOp::lowerToPlan(PlanLowering &lowering) {
  Value x = lowering.get(getX());
  RowKernel kernel = makeKernel(lowering, *this, "gelu_grad", x);
  kernel.yieldRow(kernel.row(lowering.get(getDy())) * geluGrad(kernel.row(x), getForm()),
                  getResult());
  kernel.finish();
  return success();
}

LogicalResult TanhOp::lowerToPlan(PlanLowering &lowering) {
  Value x = lowering.get(getX());
  RowKernel kernel = makeKernel(lowering, *this, "tanh", x);
  kernel.yieldRow(tanh(kernel.row(x)), getResult());
  kernel.finish();
  return success();
}

LogicalResult TanhGradOp::lowerToPlan(PlanLowering &lowering) {
  Value y = lowering.get(getY());
  RowKernel kernel = makeKernel(lowering, *this, "tanh_grad", y);
  RowExpr value = kernel.row(y);
  kernel.yieldRow(kernel.row(lowering.get(getDy())) * (1.0 - value * value), getResult());
  kernel.finish();
  return success();
}

LogicalResult AddOp::lowerToPlan(PlanLowering &lowering) {
  Value a = lowering.get(getA());
  RowKernel kernel = makeKernel(lowering, *this, "add", a);
  kernel.yieldRow(kernel.row(a) + kernel.row(lowering.get(getB())), getResult());
  kernel.finish();
  return success();
}

LogicalResult DropoutOp::lowerToPlan(PlanLowering &) {
  return emitOpError("with a rate above 0 has no lowering to a rank's plan");
}

LogicalResult DropoutGradOp::lowerToPlan(PlanLowering &) {
  return emitOpError("with a rate above 0 has no lowering to a rank's plan");
}
