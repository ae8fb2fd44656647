//===- LayoutUtils.cpp - from layout rules to layouts ---------------------===//
#include "seqpar/Transforms/LayoutUtils.h"

using namespace mlir;
using namespace seqpar;

sp::GridAttr seqpar::getGrid(nn::StepOp step) {
  auto grid = step->getAttrOfType<sp::GridAttr>(kGridAttrName);
  if (!grid)
    step.emitOpError("has no grid: run assign-layouts first");
  return grid;
}

/// The axis that a factor is split over on this grid.
static std::optional<sp::Axis> getAxis(StringRef factor, sp::GridAttr grid) {
  std::optional<sp::Axis> axis;
  if (factor == "b")
    axis = sp::Axis::DP;
  else if (factor == "s" || factor == "t")
    axis = sp::Axis::SP;
  if (axis && grid.getSize(*axis) == 1)
    return std::nullopt;
  return axis;
}

static sp::LayoutAttr getLayout(MLIRContext *context, const LayoutRule::Factors &factors, sp::GridAttr grid,
                                ArrayRef<sp::Axis> summed) {
  SmallVector<int32_t> splits;
  for (const std::string &factor : factors) {
    std::optional<sp::Axis> axis = getAxis(factor, grid);
    splits.push_back(axis ? static_cast<int32_t>(*axis) : sp::LayoutAttr::kNone);
  }
  SmallVector<sp::Axis> partial;
  for (sp::Axis axis : summed)
    if (!llvm::is_contained(splits, static_cast<int32_t>(axis)))
      partial.push_back(axis);
  return sp::LayoutAttr::get(context, splits, partial);
}

FailureOr<OpLayouts> seqpar::getLayouts(LayoutOpInterface op, sp::GridAttr grid) {
  FailureOr<LayoutRule> rule = parseLayoutRule(op.getLayoutRule());
  if (failed(rule))
    return op->emitOpError("has a malformed layout rule '") << op.getLayoutRule() << "'";
  if (rule->operands.size() != op->getNumOperands() || rule->results.size() != op->getNumResults())
    return op->emitOpError("has a layout rule for ") << rule->operands.size() << " operands and "
                                                     << rule->results.size() << " results";
  SmallVector<sp::Axis> summed;
  for (sp::Axis axis : {sp::Axis::DP, sp::Axis::SP})
    for (const LayoutRule::Factors &factors : rule->operands)
      if (!llvm::is_contained(summed, axis) &&
          llvm::any_of(factors, [&](const std::string &factor) { return getAxis(factor, grid) == axis; }))
        summed.push_back(axis);
  OpLayouts layouts;
  for (const LayoutRule::Factors &factors : rule->operands)
    layouts.operands.push_back(getLayout(op->getContext(), factors, grid, {}));
  for (const LayoutRule::Factors &factors : rule->results)
    layouts.results.push_back(getLayout(op->getContext(), factors, grid, summed));
  return layouts;
}

bool seqpar::acceptsPartial(Operation *op, unsigned operand) {
  if (isa<nn::AccumulateOp>(op))
    return true;
  return isa<nn::AccumulateMetricOp>(op) && operand == 0;
}

SmallVector<LayoutOpInterface> seqpar::getShardedOps(nn::StepOp step) {
  SmallVector<LayoutOpInterface> ops;
  for (Region *region : {&step.getMicroBatch(), &step.getUpdate()})
    for (Operation &op : region->front())
      if (auto sharded = dyn_cast<LayoutOpInterface>(op))
        ops.push_back(sharded);
  return ops;
}
