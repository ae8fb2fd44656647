//===- ReverseMode.cpp - Reverse-mode differentiation of a block ------------------------------===//

#include "seqpar/Dialect/NN/ReverseMode.h"

#include "seqpar/Dialect/NN/NN.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

SmallVector<Value, 2> Cotangents::take(Value value) {
  auto entry = contributions.find(value);
  if (entry == contributions.end())
    return {};
  SmallVector<Value, 2> taken = std::move(entry->second);
  contributions.erase(entry);
  return taken;
}

Value Cotangents::takeSum(OpBuilder &builder, Value value) {
  Value sum;
  for (Value contribution : take(value))
    sum = sum ? AddOp::create(builder, value.getLoc(), sum.getType(), sum, contribution)
              : contribution;
  return sum;
}

LogicalResult seqpar::nn::buildBackward(ArrayRef<Operation *> forward, OpBuilder &builder,
                                        Cotangents &cotangents) {
  for (Operation *op : llvm::reverse(forward)) {
    if (isa<ParameterOp, InputOp>(op))
      continue;
    SmallVector<Value> results;
    for (Value result : op->getResults())
      results.push_back(cotangents.takeSum(builder, result));
    if (llvm::none_of(results, [](Value cotangent) { return static_cast<bool>(cotangent); }))
      continue;
    auto differentiable = dyn_cast<DifferentiableOpInterface>(op);
    if (!differentiable)
      return op->emitOpError("has no backward, but the loss depends on it");
    SmallVector<Value> inputs = differentiable.getDifferentiatedInputs();
    SmallVector<Value> gradients(inputs.size());
    if (failed(differentiable.buildBackward(builder, results, gradients)))
      return failure();
    // The op may be gone now.
    for (auto [input, gradient] : llvm::zip_equal(inputs, gradients))
      if (gradient)
        cotangents.add(input, gradient);
  }
  return success();
}
