#ifndef SEQPAR_INTERFACES_DIFFERENTIABLEOPINTERFACE_TD
#define SEQPAR_INTERFACES_DIFFERENTIABLEOPINTERFACE_TD

include "mlir/IR/OpBase.td"

def DifferentiableOpInterface : OpInterface<"DifferentiableOpInterface"> {
  let cppNamespace = "::seqpar";
  let description = [{
    An op that knows its backward: given the gradients of the loss with respect to its results (their cotangents), it
    builds the ops that compute those with respect to its inputs. Pass `differentiate` calls it for the ops of a model
    in reverse order.
  }];
  let methods = [
    InterfaceMethod<[{
      The values whose cotangents `buildBackward` fills in, in this order: the operands, and for an op with a region
      also what the region captures.
    }], "::llvm::SmallVector<::mlir::Value>", "getDifferentiatedInputs", (ins), "", [{
      return ::llvm::SmallVector<::mlir::Value>($_op->getOperands());
    }]>,
    InterfaceMethod<[{
      Builds the backward at the builder's insertion point. `resultCotangents` has one entry per result, null where the
      loss does not depend on that result. `inputCotangents` comes with one null entry per differentiated input; an
      entry left null means that the loss cannot be differentiated with respect to it (ids, masks).
      The op may replace itself, in its place, by one with more results, and erase itself. On failure it has reported
      an error.
    }], "::llvm::LogicalResult", "buildBackward", (ins
      "::mlir::OpBuilder &":$builder,
      "::llvm::ArrayRef<::mlir::Value>":$resultCotangents,
      "::llvm::SmallVectorImpl<::mlir::Value> &":$inputCotangents)>
  ];
}

#endif
