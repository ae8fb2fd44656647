//===- SP.h - the sp dialect ------------------------------------*- C++ -*-===//
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "seqpar/Dialect/SP/SPEnums.h.inc"

#include "seqpar/Dialect/SP/SPDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "seqpar/Dialect/SP/SPAttrs.h.inc"

#define GET_OP_CLASSES
#include "seqpar/Dialect/SP/SPOps.h.inc"

namespace seqpar::sp {

/// The layout that a tensor type carries, or null.
LayoutAttr getLayout(mlir::Type type);

/// `type` with another layout (null: none).
mlir::RankedTensorType withLayout(mlir::RankedTensorType type, LayoutAttr layout);

/// "dp", "pp" or "sp".
llvm::StringRef getAxisName(Axis axis);

} // namespace seqpar::sp
