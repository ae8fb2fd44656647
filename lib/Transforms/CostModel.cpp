//===- CostModel.cpp - what an op of a model costs ------------------------===//
#include "seqpar/Transforms/CostModel.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace seqpar;

/// Passes over the data of forward and backward together, of the forward's.
static constexpr double kPasses = 3, kAttentionPasses = 3.5;

static double getElements(Value value) {
  return static_cast<double>(cast<ShapedType>(value.getType()).getNumElements());
}

static double getBytes(ValueRange values) {
  double bytes = 0;
  for (Value value : values)
    bytes += getElements(value) * cast<ShapedType>(value.getType()).getElementTypeBitWidth() / 8;
  return bytes;
}

static double getMaskedRowsCost(nn::MaskedRowsOp op) {
  double chunk = 0;
  for (Operation &inner : op.getBody().front().without_terminator())
    chunk += getTrainingCost(&inner);
  auto x = cast<ShapedType>(op.getX().getType());
  double rows = kMaskedShare * static_cast<double>(x.getDimSize(0) * x.getDimSize(1));
  return chunk * rows /
         static_cast<double>(cast<ShapedType>(op.getBody().getArgument(0).getType()).getDimSize(0));
}

double seqpar::getTrainingCost(Operation *op) {
  return llvm::TypeSwitch<Operation *, double>(op)
      .Case<nn::ParameterOp, nn::InputOp, nn::LossOp>([](Operation *) { return 0.0; })
      .Case([](nn::LinearOp linear) {
        auto weight = cast<ShapedType>(linear.getWeight().getType());
        return kPasses * 2 * getElements(linear.getResult()) *
               static_cast<double>(weight.getDimSize(1));
      })
      .Case([](nn::AttentionOp attention) {
        auto length = cast<ShapedType>(attention.getK().getType()).getDimSize(1);
        return kAttentionPasses * 4 * getElements(attention.getQ()) * static_cast<double>(length);
      })
      .Case([](nn::MaskedRowsOp rows) { return getMaskedRowsCost(rows); })
      .Case([](nn::EmbeddingOp embedding) {
        return kPasses * kFlopsPerByte * 2 * getBytes(embedding.getResult());
      })
      .Default([](Operation *other) {
        return kPasses * kFlopsPerByte *
               (getBytes(other->getOperands()) + getBytes(other->getResults()));
      });
}
