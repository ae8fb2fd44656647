//===- CollectKernels.h - distinct row kernels of a program -----*- C++ -*-===//
#pragma once

#include "seqpar/Target/KernelTable.h"

namespace seqpar {

/// The distinct kernels among the plan.rows below `root`, which must be in buffer form, numbered in
/// the order of their first use. Two plan.rows share a kernel when body, accesses, element types
/// and columns are equal; rows, buffers and combine do not matter. Symbols are `rows_NAME_NUMBER`.
/// A body that the back ends cannot compile is an error at the op's location.
mlir::FailureOr<KernelTable> collectKernels(mlir::Operation *root);

/// One plan.rows for each kernel of `table`: the first below `root`.
std::vector<plan::RowsOp> getKernelBodies(mlir::Operation *root, const KernelTable &table);

/// The value that all elements of a body's value have, when it is a constant defined in the body or
/// outside of it; null otherwise.
mlir::TypedAttr getConstantElement(mlir::Value value);

} // namespace seqpar
