//===- BodyText.h - ops of a row kernel's body as expressions ---*- C++ -*-===//
#pragma once

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"

#include <string>

namespace seqpar::cuda {

/// How threads hold an element: float for floats of at most 32 bits, `unsigned` for integers of 32,
/// whose sign is up to each op. Empty for types without one.
std::string getComputeType(mlir::Type element);

/// How memory holds it: "const" and "*" go around this.
std::string getMemoryType(mlir::Type element);

/// "0.5f", "3u", "true".
std::string getConstantText(mlir::TypedAttr constant);

/// Result `result` of an elementwise op on operands given as names or constants. Empty when the op
/// has no CUDA C++.
std::string getExpression(mlir::Operation *op, unsigned result,
                          llvm::ArrayRef<std::string> operands);

} // namespace seqpar::cuda
