//===- PlanLowering.cpp - declarations and chunks of one rank -------------===//
#include "seqpar/Interfaces/PlanLowering.h"

using namespace mlir;
using namespace seqpar;

#include "seqpar/Interfaces/PlanLoweringOpInterface.cpp.inc"

int64_t seqpar::getRows(Value value) {
  int64_t rows = 1;
  for (int64_t extent : cast<ShapedType>(value.getType()).getShape().drop_back())
    rows *= extent;
  return rows;
}

int64_t seqpar::getColumns(Value value) {
  return cast<ShapedType>(value.getType()).getShape().back();
}

Value PlanLowering::get(Value global) const {
  Value local = locals.lookup(global);
  assert(local && "an op is lowered before its operands");
  return local;
}

RankedTensorType PlanLowering::getLocalType(Type global) const {
  auto type = cast<RankedTensorType>(global);
  sp::LayoutAttr layout = sp::getLayout(type);
  SmallVector<int64_t> shape(type.getShape());
  if (layout)
    for (auto [extent, split] : llvm::zip(shape, layout.getSplits()))
      if (split != sp::LayoutAttr::kNone)
        extent = llvm::divideCeil(extent, grid.getSize(static_cast<sp::Axis>(split)));
  return RankedTensorType::get(shape, type.getElementType());
}

OpBuilder PlanLowering::declarationBuilder() const {
  // Before the regions that use them.
  plan::StageOp parent = stage;
  Operation *microBatch = *parent.getBody().getOps<plan::MicroBatchOp>().begin();
  return OpBuilder(microBatch);
}

Value PlanLowering::getInput(plan::InputKind kind, ArrayRef<int64_t> shape, Type elementType) {
  Value &input = inputs[static_cast<int>(kind)];
  if (!input) {
    OpBuilder at = declarationBuilder();
    input = plan::InputOp::create(at, stage.getLoc(), MemRefType::get(shape, elementType),
                                  plan::InputKindAttr::get(at.getContext(), kind), IntegerAttr(),
                                  IntegerAttr(), IntegerAttr());
  }
  return input;
}

Value PlanLowering::getConstant(int32_t value) {
  Value &constant = constants[value];
  if (!constant) {
    OpBuilder at = declarationBuilder();
    constant =
        plan::InputOp::create(at, stage.getLoc(), MemRefType::get({}, at.getI32Type()),
                              plan::InputKindAttr::get(at.getContext(), plan::InputKind::Constant),
                              at.getI32IntegerAttr(value), IntegerAttr(), IntegerAttr());
  }
  return constant;
}

Value PlanLowering::declareParameter(Location loc, StringRef name, plan::Initializer init,
                                     double deviation, bool decay, RankedTensorType type) {
  OpBuilder at = declarationBuilder();
  auto memory = MemRefType::get(type.getShape(), type.getElementType());
  auto value = plan::ParameterOp::create(
      at, loc, memory, at.getStringAttr(name), plan::InitializerAttr::get(at.getContext(), init),
      at.getF32FloatAttr(static_cast<float>(deviation)), decay ? at.getUnitAttr() : UnitAttr(),
      at.getDenseI32ArrayAttr({}), at.getDenseI32ArrayAttr({}), IntegerAttr());
  Value gradient = plan::GradientOp::create(at, loc, memory, at.getStringAttr(name), IntegerAttr());
  for (int64_t order : {1, 2})
    plan::MomentOp::create(at, loc, memory, at.getStringAttr(name), at.getI64IntegerAttr(order),
                           IntegerAttr());
  parameters[value.getName()] = {value, gradient};
  return value.getResult();
}

SmallVector<plan::ParameterOp> PlanLowering::getParameters() const {
  SmallVector<plan::ParameterOp> values;
  for (const auto &[name, declarations] : parameters)
    values.push_back(declarations.value);
  return values;
}

plan::MetricOp PlanLowering::declareMetric(Location loc, plan::MetricKind kind, Type elementType) {
  OpBuilder at = declarationBuilder();
  return plan::MetricOp::create(at, loc, MemRefType::get({}, elementType),
                                plan::MetricKindAttr::get(at.getContext(), kind),
                                at.getDenseI32ArrayAttr({}), IntegerAttr());
}
