//===- LayoutOpInterface.h - Ops whose tensors can be split over ranks ------------------------===//

#ifndef SEQPAR_INTERFACES_LAYOUTOPINTERFACE_H
#define SEQPAR_INTERFACES_LAYOUTOPINTERFACE_H

#include "mlir/IR/OpDefinition.h"

#include <string>

namespace seqpar {

/// A parsed layout rule: the factors of each dimension of each operand and result.
struct LayoutRule {
  using Factors = llvm::SmallVector<std::string, 4>;
  llvm::SmallVector<Factors, 4> operands, results;
};

/// Parses "[b,s,k],[n,k]->[b,s,n]". Fails on anything else.
llvm::FailureOr<LayoutRule> parseLayoutRule(llvm::StringRef text);

/// "[b,s,h]" for an activation of rank 3, "[b,h]" of rank 2, "[b]" of rank 1 and "[]" of a scalar.
std::string activationFactors(mlir::Type type);

/// "[i,j,k]" cut to the rank of the type: factors that are never split, for parameters and their
/// gradients.
std::string parameterFactors(mlir::Type type);

/// Checks ranks and extents of an op with LayoutOpInterface against its rule.
llvm::LogicalResult verifyLayoutRule(mlir::Operation *op);

} // namespace seqpar

#include "seqpar/Interfaces/LayoutOpInterface.h.inc"

#endif
