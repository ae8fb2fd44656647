//===- NN.h - Dialect nn: a model and its training step ---------------------------------------===//

#ifndef SEQPAR_DIALECT_NN_NN_H
#define SEQPAR_DIALECT_NN_NN_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "seqpar/Interfaces/DifferentiableOpInterface.h"
#include "seqpar/Interfaces/LayoutOpInterface.h"
#include "seqpar/Interfaces/PlanLowering.h"

namespace seqpar::nn {

/// Largest number of elements of a tensor: products of extents and sizes in bytes stay far from
/// overflow.
constexpr int64_t maxElements = int64_t(1) << 40;

/// Whether a static shape has at least one and at most maxElements elements.
bool hasSaneSize(mlir::ShapedType type);

} // namespace seqpar::nn

#include "seqpar/Dialect/NN/NNDialect.h.inc"
#include "seqpar/Dialect/NN/NNEnums.h.inc"

#define GET_OP_CLASSES
#include "seqpar/Dialect/NN/NNOps.h.inc"

#endif
