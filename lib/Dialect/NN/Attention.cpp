//===- Attention.cpp - Multi-head attention ---------------------------------------------------===//

#include "seqpar/Dialect/NN/Dropout.h"
#include "seqpar/Dialect/NN/NN.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

/// Checks heads, rate and the extent of the log-sum-exp, of the forward or the backward.
template <typename OpT> static LogicalResult verifyAttention(OpT op, Value lse) {
  int64_t heads = op.getHeads(), site = op.getSite();
  double rate = op.getRate().convertToDouble();
  int64_t hidden = cast<ShapedType>(op.getQ().getType()).getShape().back();
  if (heads < 1 || (!ShapedType::isDynamic(hidden) && hidden % heads != 0))
    return op.emitOpError() << "the number of heads must divide the hidden size " << hidden
                            << ", but is " << heads;
  if (!isDropoutRate(rate) || site < 0)
    return op.emitOpError() << "rate must be at least 0 and below 1 in single precision and site "
                               "at least 0, but are "
                            << rate << " and " << site;
  if (lse && cast<ShapedType>(lse.getType()).getDimSize(1) != heads)
    return op.emitOpError() << "the log-sum-exp must have extent " << heads
                            << " (heads) in dimension 1, but is " << lse.getType();
  return success();
}

// The mask keeps all key positions (factor u) on every rank, whatever becomes of keys and values.
std::string AttentionOp::getLayoutRule() {
  return std::string("[b,s,h],[b,t,h],[b,t,h],[b,u]->[b,s,h]") + (getLse() ? ",[b,n,s]" : "");
}

LogicalResult AttentionOp::verify() { return verifyAttention(*this, getLse()); }

LogicalResult AttentionOp::buildBackward(OpBuilder &builder, ArrayRef<Value> resultCotangents,
                                         SmallVectorImpl<Value> &inputCotangents) {
  if (resultCotangents.size() > 1 && resultCotangents[1])
    return emitOpError("has no backward for its log-sum-exp");
  AttentionOp forward = *this;
  if (!getLse()) {
    OpBuilder here(*this);
    auto q = cast<RankedTensorType>(getQ().getType());
    auto lse = RankedTensorType::get(
        {q.getDimSize(0), static_cast<int64_t>(getHeads()), q.getDimSize(1)}, q.getElementType());
    forward = AttentionOp::create(here, getLoc(), TypeRange{getResult().getType(), lse},
                                  getOperands(), (*this)->getAttrs());
    getResult().replaceAllUsesWith(forward.getResult());
  }
  auto grad = AttentionGradOp::create(builder, getLoc(), getQ().getType(), getK().getType(),
                                      getV().getType(), resultCotangents[0], getQ(), getK(), getV(),
                                      getPaddingMask(), forward.getResult(), forward.getLse(),
                                      getHeadsAttr(), getRateAttr(), getSiteAttr());
  llvm::copy(grad.getResults(), inputCotangents.begin());
  if (forward != *this)
    erase();
  return success();
}

std::string AttentionGradOp::getLayoutRule() {
  return "[b,s,h],[b,s,h],[b,t,h],[b,t,h],[b,u],[b,s,h],[b,n,s]->[b,s,h],[b,t,h],[b,t,h]";
}

LogicalResult AttentionGradOp::verify() { return verifyAttention(*this, getLse()); }
