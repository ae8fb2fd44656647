//===- CostModel.h - what an op of a model costs ----------------*- C++ -*-===//
#pragma once

#include "seqpar/Dialect/NN/NN.h"

namespace seqpar {

/// Floating-point operations that take as long as moving one byte. About that of one CPU core and
/// its share of the memory; an accelerator has more, but there products prevail all the same.
inline constexpr double kFlopsPerByte = 8;

/// Share of the positions that is masked in pre-training, on average.
inline constexpr double kMaskedShare = 0.15;

/// Forward and backward of one op of a model with static shapes, in floating-point operations.
///
///   linear       2 M N K, three times: the product, and those for both gradients
///   attention    4 B L^2 H, three and a half times: two products, then five
///   masked_rows  its region on the masked share of the positions
///   embedding    the rows read and written, thrice
///   any other    the bytes of operands and results, thrice: the backward reads what the forward
///   did
///                and the gradient, and writes a gradient
///
/// Bytes count kFlopsPerByte operations each. Parameters and inputs cost nothing.
double getTrainingCost(mlir::Operation *op);

} // namespace seqpar
