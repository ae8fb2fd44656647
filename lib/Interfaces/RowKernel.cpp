//===- RowKernel.cpp - building the body of a row kernel ------------------===//
#include "seqpar/Interfaces/PlanLowering.h"

using namespace mlir;
using namespace seqpar;

//===----------------------------------------------------------------------===//
// RowKernel
//===----------------------------------------------------------------------===//

RowKernel::RowKernel(PlanLowering &lowering, Operation *source, StringRef name, int64_t rows,
                     int64_t columns)
    : lowering(lowering), loc(source->getLoc()), name(name), rows(rows), columns(columns),
      region(std::make_unique<Region>()), bodyBuilder(source->getContext()) {
  bodyBuilder.createBlock(region.get());
}

RowKernel::~RowKernel() = default;

static Type getElementType(Value operand) {
  return cast<ShapedType>(operand.getType()).getElementType();
}

RowExpr RowKernel::addInput(Value operand, plan::AccessKind kind, int64_t index) {
  auto access = plan::AccessAttr::get(bodyBuilder.getContext(), kind, index);
  for (auto [i, input] : llvm::enumerate(inputs))
    if (input == operand && inputAccess[i] == access)
      return RowExpr(*this, region->front().getArgument(i));
  bool isElement = kind == plan::AccessKind::RowScalar || kind == plan::AccessKind::Scalar;
  Type element = getElementType(operand);
  inputs.push_back(operand);
  inputAccess.push_back(access);
  Type inside = isElement ? element : Type(RankedTensorType::get({columns}, element));
  return RowExpr(*this, region->front().addArgument(inside, loc));
}

int64_t RowKernel::getInputNumber(RowExpr input) const {
  return cast<BlockArgument>(input.value).getArgNumber();
}

RowExpr RowKernel::gather(Value table, RowExpr index) {
  return addInput(table, plan::AccessKind::Gather, getInputNumber(index));
}

RowExpr RowKernel::constant(double value) {
  return RowExpr(*this,
                 arith::ConstantOp::create(bodyBuilder, loc,
                                           bodyBuilder.getF32FloatAttr(static_cast<float>(value))));
}

RowExpr RowKernel::integer(uint32_t value) {
  return RowExpr(
      *this, arith::ConstantOp::create(bodyBuilder, loc,
                                       bodyBuilder.getI32IntegerAttr(static_cast<int32_t>(value))));
}

RowExpr RowKernel::random(RowExpr seed, RowExpr step, RowExpr site, RowExpr sample,
                          RowExpr position) {
  auto type = RankedTensorType::get({columns}, bodyBuilder.getI32Type());
  return RowExpr(*this, plan::RowRandomOp::create(bodyBuilder, loc, type, seed.value, step.value,
                                                  site.value, sample.value, position.value));
}

RowExpr RowKernel::iota() {
  auto type = RankedTensorType::get({columns}, bodyBuilder.getI32Type());
  return RowExpr(*this, plan::RowIotaOp::create(bodyBuilder, loc, type));
}

void RowKernel::yieldRow(RowExpr value, Value global) {
  plan::AccessKind kind = value.isRow() ? plan::AccessKind::Row : plan::AccessKind::RowScalar;
  outputs.push_back({value, plan::AccessAttr::get(bodyBuilder.getContext(), kind, -1), Value(),
                     lowering.getLocalType(global.getType()), global});
}

void RowKernel::yieldSum(RowExpr value, Value global) {
  outputs.push_back({value,
                     plan::AccessAttr::get(bodyBuilder.getContext(), plan::AccessKind::SumRows, -1),
                     Value(), lowering.getLocalType(global.getType()), global});
}

void RowKernel::yieldScatter(RowExpr value, Value into, RowExpr index, Value global, bool add) {
  plan::AccessKind kind = add ? plan::AccessKind::ScatterAdd : plan::AccessKind::Scatter;
  outputs.push_back({value,
                     plan::AccessAttr::get(bodyBuilder.getContext(), kind, getInputNumber(index)),
                     into, cast<RankedTensorType>(into.getType()), global});
}

void RowKernel::store(RowExpr value, Value memory, plan::AccessKind kind) {
  outputs.push_back(
      {value, plan::AccessAttr::get(bodyBuilder.getContext(), kind, -1), memory, nullptr, Value()});
}

plan::RowsOp RowKernel::finish() {
  SmallVector<Value> outs, yielded;
  SmallVector<Type> types;
  SmallVector<Attribute> access;
  for (Output &output : outputs) {
    yielded.push_back(output.value.value);
    access.push_back(output.access);
    if (output.out)
      outs.push_back(output.out);
    if (output.type)
      types.push_back(output.type);
  }
  plan::RowYieldOp::create(bodyBuilder, loc, yielded);
  OpBuilder &builder = lowering.builder;
  auto op = plan::RowsOp::create(builder, loc, types, builder.getStringAttr(name),
                                 builder.getI64IntegerAttr(rows), inputs, outs,
                                 builder.getArrayAttr(inputAccess), builder.getArrayAttr(access),
                                 plan::CombineAttr::get(builder.getContext(), combine),
                                 lowering.inRowsLoop ? builder.getUnitAttr() : UnitAttr());
  op.getBody().takeBody(*region);
  unsigned result = 0;
  for (Output &output : outputs) {
    if (!output.type)
      continue;
    if (output.global)
      lowering.set(output.global, op.getResults()[result]);
    ++result;
  }
  return op;
}

//===----------------------------------------------------------------------===//
// RowExpr
//===----------------------------------------------------------------------===//

/// An element as a row of `like`'s extent, a row as it is.
static Value splat(RowExpr x, RowExpr like) {
  if (x.isRow() || !like.isRow())
    return x.value;
  auto type = cast<RankedTensorType>(like.value.getType()).clone(x.value.getType());
  OpBuilder &builder = x.kernel->getBuilder();
  if (auto constant = x.value.getDefiningOp<arith::ConstantOp>()) // stays visible as a constant
    return arith::ConstantOp::create(
        builder, x.kernel->getLoc(),
        DenseElementsAttr::get(cast<ShapedType>(type), Attribute(constant.getValue())));
  return tensor::SplatOp::create(builder, x.kernel->getLoc(), type, x.value, ValueRange());
}

template <typename Op> static RowExpr binary(RowExpr a, RowExpr b) {
  Value left = splat(a, b), right = splat(b, a);
  return RowExpr(*a.kernel, Op::create(a.kernel->getBuilder(), a.kernel->getLoc(), left, right));
}

template <typename Op> static RowExpr unary(RowExpr x) {
  return RowExpr(*x.kernel, Op::create(x.kernel->getBuilder(), x.kernel->getLoc(), x.value));
}

RowExpr seqpar::operator+(RowExpr a, RowExpr b) { return binary<arith::AddFOp>(a, b); }
RowExpr seqpar::operator-(RowExpr a, RowExpr b) { return binary<arith::SubFOp>(a, b); }
RowExpr seqpar::operator*(RowExpr a, RowExpr b) { return binary<arith::MulFOp>(a, b); }
RowExpr seqpar::operator/(RowExpr a, RowExpr b) { return binary<arith::DivFOp>(a, b); }
RowExpr seqpar::operator+(RowExpr a, double b) { return a + a.kernel->constant(b); }
RowExpr seqpar::operator+(double a, RowExpr b) { return b.kernel->constant(a) + b; }
RowExpr seqpar::operator-(double a, RowExpr b) { return b.kernel->constant(a) - b; }
RowExpr seqpar::operator*(double a, RowExpr b) { return b.kernel->constant(a) * b; }
RowExpr seqpar::operator/(double a, RowExpr b) { return b.kernel->constant(a) / b; }
RowExpr seqpar::exp(RowExpr x) { return unary<math::ExpOp>(x); }
RowExpr seqpar::log(RowExpr x) { return unary<math::LogOp>(x); }
RowExpr seqpar::tanh(RowExpr x) { return unary<math::TanhOp>(x); }
RowExpr seqpar::erf(RowExpr x) { return unary<math::ErfOp>(x); }
RowExpr seqpar::sqrt(RowExpr x) { return unary<math::SqrtOp>(x); }
RowExpr seqpar::min(RowExpr a, RowExpr b) { return binary<arith::MinimumFOp>(a, b); }

RowExpr seqpar::multiply(RowExpr a, RowExpr b) { return binary<arith::MulIOp>(a, b); }

static RowExpr compareIntegers(arith::CmpIPredicate predicate, RowExpr a, RowExpr b) {
  Value left = splat(a, b), right = splat(b, a);
  return RowExpr(*a.kernel, arith::CmpIOp::create(a.kernel->getBuilder(), a.kernel->getLoc(),
                                                  predicate, left, right));
}

RowExpr seqpar::equal(RowExpr a, RowExpr b) {
  return compareIntegers(arith::CmpIPredicate::eq, a, b);
}

RowExpr seqpar::isBelow(RowExpr a, RowExpr b) {
  return compareIntegers(arith::CmpIPredicate::ult, a, b);
}

RowExpr seqpar::notNegative(RowExpr a) {
  OpBuilder &builder = a.kernel->getBuilder();
  Value zero = arith::ConstantOp::create(builder, a.kernel->getLoc(), builder.getI32IntegerAttr(0));
  return compareIntegers(arith::CmpIPredicate::sge, a, RowExpr(*a.kernel, zero));
}

RowExpr seqpar::greater(RowExpr a, RowExpr b) {
  Value left = splat(a, b), right = splat(b, a);
  return RowExpr(*a.kernel, arith::CmpFOp::create(a.kernel->getBuilder(), a.kernel->getLoc(),
                                                  arith::CmpFPredicate::OGT, left, right));
}

RowExpr seqpar::select(RowExpr condition, RowExpr a, RowExpr b) {
  RowExpr like = condition.isRow() ? condition : (a.isRow() ? a : b);
  Value yes = splat(a, like), no = splat(b, like);
  return RowExpr(*a.kernel, arith::SelectOp::create(a.kernel->getBuilder(), a.kernel->getLoc(),
                                                    condition.value, yes, no));
}

static RowExpr reduce(RowExpr row, plan::ReduceKind kind) {
  Type element = cast<RankedTensorType>(row.value.getType()).getElementType();
  return RowExpr(*row.kernel,
                 plan::RowReduceOp::create(row.kernel->getBuilder(), row.kernel->getLoc(), element,
                                           kind, row.value));
}

RowExpr seqpar::sum(RowExpr row) { return reduce(row, plan::ReduceKind::Add); }
RowExpr seqpar::mean(RowExpr row) { return (1.0 / row.kernel->getColumns()) * sum(row); }
RowExpr seqpar::maximum(RowExpr row) { return reduce(row, plan::ReduceKind::Max); }

RowExpr seqpar::toDouble(RowExpr x) {
  OpBuilder &builder = x.kernel->getBuilder();
  return RowExpr(*x.kernel,
                 arith::ExtFOp::create(builder, x.kernel->getLoc(), builder.getF64Type(), x.value));
}

RowExpr seqpar::toFloat(RowExpr x) {
  OpBuilder &builder = x.kernel->getBuilder();
  return RowExpr(*x.kernel, arith::TruncFOp::create(builder, x.kernel->getLoc(),
                                                    builder.getF32Type(), x.value));
}
