//===- LayoutUtils.h - from layout rules to layouts -------------*- C++ -*-===//
//
// What the passes of phase `shard` share: the grid of a step and the layouts that an op's rule
// (LayoutOpInterface) asks of its operands and gives to its results.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/Dialect/NN/NN.h"
#include "seqpar/Dialect/SP/SP.h"

namespace seqpar {

/// Attribute of nn.step that holds the grid, set by `assign-layouts`.
inline constexpr llvm::StringLiteral kGridAttrName = "sp.grid";

/// The grid of a step; reports an error and returns null when it has none.
sp::GridAttr getGrid(nn::StepOp step);

/// Layouts of an op's operands and results on a grid. Axes with a single rank are not named.
struct OpLayouts {
  llvm::SmallVector<sp::LayoutAttr> operands, results;
};
llvm::FailureOr<OpLayouts> getLayouts(LayoutOpInterface op, sp::GridAttr grid);

/// Whether the op takes a value of which each rank holds a summand: sums go on summing.
bool acceptsPartial(mlir::Operation *op, unsigned operand);

/// All ops with a layout rule outside per-rank regions, in order: micro-batch, then update.
llvm::SmallVector<LayoutOpInterface> getShardedOps(nn::StepOp step);

} // namespace seqpar
