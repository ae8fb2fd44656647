//===- ReverseMode.h - Reverse-mode differentiation of a block --------------------------------===//

#ifndef SEQPAR_DIALECT_NN_REVERSEMODE_H
#define SEQPAR_DIALECT_NN_REVERSEMODE_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"

namespace seqpar::nn {

/// Contributions to the cotangent of each value: the gradient of the loss with respect to the value
/// is their sum. One contribution per use.
class Cotangents {
public:
  void add(mlir::Value value, mlir::Value contribution) {
    contributions[value].push_back(contribution);
  }

  /// Takes the contributions of a value out; empty when the loss does not depend on it.
  llvm::SmallVector<mlir::Value, 2> take(mlir::Value value);

  /// Takes the contributions out and returns their sum, built with nn.add at `builder`; null when
  /// there is none.
  mlir::Value takeSum(mlir::OpBuilder &builder, mlir::Value value);

private:
  llvm::DenseMap<mlir::Value, llvm::SmallVector<mlir::Value, 2>> contributions;
};

/// Builds at `builder` the backward of the ops in `forward` (in the order of the program), from the
/// cotangents of their results that are in `cotangents`, where it leaves those of the values that
/// `forward` uses but does not compute: parameters, inputs, captured values. An op whose results
/// the loss depends on must have DifferentiableOpInterface.
llvm::LogicalResult buildBackward(llvm::ArrayRef<mlir::Operation *> forward,
                                  mlir::OpBuilder &builder, Cotangents &cotangents);

} // namespace seqpar::nn

#endif
