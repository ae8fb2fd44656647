//===- Step.cpp - The training step: accumulation and update ----------------------------------===//

#include "seqpar/Dialect/NN/NN.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

void StepOp::build(OpBuilder &builder, OperationState &state, StringRef name) {
  state.addAttribute(getSymNameAttrName(state.name), builder.getStringAttr(name));
  state.addRegion()->emplaceBlock();
  state.addRegion()->emplaceBlock();
}

static Type getGradientType(AccumulateOp op) { return op.getContributions().front().getType(); }
static Type getGradientType(AdamWOp op) { return op.getGradient().getType(); }

/// Checks that `block` has for each parameter one OpT that names it, with a gradient of its shape.
template <typename OpT>
static LogicalResult checkOnePerParameter(Block &block, ArrayRef<ParameterOp> parameters) {
  llvm::MapVector<StringRef, OpT> ops;
  for (OpT op : block.getOps<OpT>())
    if (auto [entry, isNew] = ops.try_emplace(op.getParameterName(), op); !isNew) {
      InFlightDiagnostic error = op.emitOpError() << "is the second for parameter '"
                                                  << op.getParameterName() << "', expected one";
      error.attachNote(entry->second.getLoc()) << "the first";
      return error;
    }
  for (ParameterOp parameter : parameters) {
    StringRef name = parameter.getParameterName();
    OpT op = ops.lookup(name);
    if (!op)
      return parameter.emitOpError()
             << "'" << name << "' has no " << OpT::getOperationName() << ", expected one";
    if (failed(verifyCompatibleShape(getGradientType(op), parameter.getType())))
      return op.emitOpError() << "of parameter '" << name << "' must have its shape "
                              << parameter.getType() << ", but is " << getGradientType(op);
    ops.erase(name);
  }
  if (!ops.empty())
    return ops.front().second.emitOpError()
           << "names '" << ops.front().first << "', which is no parameter of this step";
  return success();
}

LogicalResult StepOp::verifyRegions() {
  Block &microBatch = getMicroBatch().front(), &update = getUpdate().front();
  auto parameters = llvm::to_vector(microBatch.getOps<ParameterOp>());
  if (failed(checkOnePerParameter<AccumulateOp>(microBatch, parameters)))
    return failure();
  return update.empty() ? success() : checkOnePerParameter<AdamWOp>(update, parameters);
}

LogicalResult AccumulateOp::verify() {
  if (getContributions().empty())
    return emitOpError() << "of parameter '" << getParameterName() << "' has no contribution";
  return success();
}

/// "[i,j],[i,j]" of parameters or gradients.
static std::string factorsOf(TypeRange types) {
  return llvm::join(llvm::map_range(types, parameterFactors), ",");
}

std::string AccumulateOp::getLayoutRule() { return factorsOf(getOperandTypes()) + "->"; }

std::string AccumulateMetricOp::getLayoutRule() { return "[],[]->"; }

std::string GradientOp::getLayoutRule() { return "->" + parameterFactors(getType()); }

std::string GlobalNormOp::getLayoutRule() {
  // Gradients of different shapes: each has factors of its own.
  std::string rule;
  for (auto [g, type] : llvm::enumerate(getOperandTypes())) {
    rule += g ? ",[" : "[";
    for (int64_t d = 0, rank = cast<ShapedType>(type).getRank(); d < rank; ++d)
      rule += (d ? "," : "") + ("g" + std::to_string(g) + "d" + std::to_string(d));
    rule += "]";
  }
  return rule + "->[]";
}

std::string AdamWOp::getLayoutRule() { return parameterFactors(getGradient().getType()) + ",[]->"; }

LogicalResult AccumulateOp::lowerToPlan(PlanLowering &lowering) {
  for (Value contribution : getContributions())
    if (Value local = lowering.get(contribution); isa<RankedTensorType>(local.getType()))
      plan::AccumulateOp::create(lowering.builder, getLoc(), local,
                                 lowering.getGradient(getParameterName()));
  return success();
}

LogicalResult AccumulateMetricOp::lowerToPlan(PlanLowering &lowering) {
  Value local = lowering.get(getValue());
  if (isa<RankedTensorType>(local.getType()))
    plan::AccumulateOp::create(lowering.builder, getLoc(), local,
                               lowering.getMetric(static_cast<int>(getMetric())));
  return success();
}
