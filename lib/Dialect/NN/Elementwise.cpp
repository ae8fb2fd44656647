//===- Elementwise.cpp - GeLU, tanh, sum, dropout ---------------------------------------------===//

#include "seqpar/Dialect/NN/Dropout.h"
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

static LogicalResult verifyDropout(Operation *op, const APFloat &rate, int64_t site) {
  double value = rate.convertToDouble();
  if (!isDropoutRate(value))
    return op->emitOpError() << "rate must be at least 0 and below 1 in single precision, but is "
                             << value;
  if (site < 0 || site > 0xffff)
    return op->emitOpError() << "site must be from 0 to 65535, but is " << site;
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

/// Where a dropout draws: the rows of a [samples, positions, features] value by sample and
/// position, those of a [samples, features] value by sample, at position 0.
static RowExpr drawWords(RowKernel &kernel, PlanLowering &lowering, ArrayRef<int64_t> shape,
                         int64_t site) {
  Type i32 = lowering.builder.getI32Type();
  auto step = [&](plan::InputKind kind) { return kernel.scalar(lowering.getInput(kind, {}, i32)); };
  auto row = [&](plan::InputKind kind) {
    return kernel.rowScalar(lowering.getInput(kind, shape.drop_back(), i32));
  };
  bool hasPositions = shape.size() == 3;
  return kernel.random(
      step(plan::InputKind::Seed), step(plan::InputKind::Step),
      kernel.scalar(lowering.getConstant(site)),
      row(hasPositions ? plan::InputKind::RowSamples : plan::InputKind::SampleNumbers),
      hasPositions ? row(plan::InputKind::Positions) : kernel.integer(0));
}

/// Forward and backward: what is dropped becomes 0, the rest is scaled. The numbers are those of
/// the runtime's Philox.h. An evaluation drops nothing: no word is below 0.
template <typename OpTy>
static LogicalResult lowerDropout(OpTy op, Value global, StringRef name, PlanLowering &lowering) {
  Value x = lowering.get(global);
  ArrayRef<int64_t> shape = cast<ShapedType>(x.getType()).getShape();
  if (lowering.inRowsLoop || (shape.size() != 2 && shape.size() != 3))
    return op.emitOpError(
        "is defined on [samples, positions, features] and [samples, features], and not inside of "
        "nn.masked_rows, whose rows have no position of their own");
  float rate = static_cast<float>(op.getRate().convertToDouble());
  RowKernel kernel = makeKernel(lowering, op, name, x);
  RowExpr training = kernel.scalar(
      lowering.getInput(plan::InputKind::Training, {}, lowering.builder.getI32Type()));
  RowExpr threshold =
      multiply(training, kernel.integer(static_cast<uint32_t>(double(rate) * 4294967296.0)));
  RowExpr scale = select(equal(training, kernel.integer(0)), kernel.constant(1.0),
                         kernel.constant(1.0f / (1.0f - rate)));
  RowExpr dropped = isBelow(drawWords(kernel, lowering, shape, op.getSite()), threshold);
  kernel.yieldRow(select(dropped, kernel.constant(0.0), kernel.row(x) * scale), op.getResult());
  kernel.finish();
  return success();
}

LogicalResult DropoutOp::lowerToPlan(PlanLowering &lowering) {
  return lowerDropout(*this, getX(), "dropout", lowering);
}

LogicalResult DropoutGradOp::lowerToPlan(PlanLowering &lowering) {
  return lowerDropout(*this, getDy(), "dropout_grad", lowering);
}
