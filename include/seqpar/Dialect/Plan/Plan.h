//===- Plan.h - the plan dialect --------------------------------*- C++ -*-===//
#pragma once

#include "seqpar/Dialect/SP/SP.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/SymbolTable.h"

#include "seqpar/Dialect/Plan/PlanEnums.h.inc"

#include "seqpar/Dialect/Plan/PlanDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "seqpar/Dialect/Plan/PlanAttrs.h.inc"

#define GET_OP_CLASSES
#include "seqpar/Dialect/Plan/PlanOps.h.inc"

namespace seqpar::plan {

/// Makes the row kernel "cast", which rounds `value`, f32 of any rank from 1, to floats of 16 bits.
/// The result has the shape of `value`.
mlir::Value createCast(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, mlir::Type narrow);

} // namespace seqpar::plan
