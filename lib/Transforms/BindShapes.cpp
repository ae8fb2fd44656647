//===- BindShapes.cpp - Bind batch, sequence length, chunk and dropout rate -------------------===//
//
// Walks the model and gives every value its static type. Which dimension a `?` is follows from
// where it is: in an activation or an input of dimension [B, L, ...] from its place; what
// nn.select_token returns and what is computed from it has no position, so its only `?` is the
// batch. The region of nn.masked_rows has rows of one chunk instead.
//
//===------------------------------------------------------------------------------------------===//

#include "seqpar/Dialect/NN/Dropout.h"
#include "seqpar/Transforms/Passes.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

namespace seqpar {
#define GEN_PASS_DEF_BINDSHAPES
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

namespace {

struct BindShapes : seqpar::impl::BindShapesBase<BindShapes> {
  using BindShapesBase::BindShapesBase;

  void runOnOperation() override {
    if (failed(checkOptions()))
      return signalPassFailure();
    for (ModelOp model : getOperation().getOps<ModelOp>()) {
      bindBlock(model.getBody().front(), batch);
      bindDropout(model);
      if (failed(checkPositions(model)) || failed(checkStatic(model)))
        return signalPassFailure();
    }
  }

private:
  LogicalResult checkOptions() {
    auto atLeastOne = [&](StringRef option, int64_t value) -> LogicalResult {
      if (value >= 1 && value <= INT32_MAX)
        return success();
      return emitError(getOperation().getLoc())
             << "bind-shapes: " << option << " must be from 1 to " << INT32_MAX << ", but is "
             << value;
    };
    if (failed(atLeastOne("batch", batch)) || failed(atLeastOne("seq-length", seqLength)) ||
        failed(atLeastOne("chunk", chunk)))
      return failure();
    if (!isDropoutRate(dropout))
      return emitError(getOperation().getLoc())
             << "bind-shapes: dropout must be at least 0 and below 1 in single precision, but is "
             << double(dropout);
    return success();
  }

  /// Gives `value` a static type: its first dimension is `rows`, the second the sequence length.
  void bind(Value value, int64_t rows) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type || type.hasStaticShape())
      return;
    SmallVector<int64_t> shape(type.getShape());
    const int64_t extents[] = {rows, seqLength};
    for (size_t i = 0; i < std::min(shape.size(), std::size(extents)); ++i)
      if (ShapedType::isDynamic(shape[i]))
        shape[i] = extents[i];
    value.setType(type.clone(shape));
  }

  void bindBlock(Block &block, int64_t rows) {
    for (BlockArgument argument : block.getArguments())
      bind(argument, rows);
    for (Operation &op : block) {
      for (Value result : op.getResults())
        bind(result, rows);
      if (auto maskedRows = dyn_cast<MaskedRowsOp>(op)) {
        if (!maskedRows.getChunk())
          maskedRows.setChunk(std::min<int64_t>(chunk, batch * seqLength));
        bindBlock(maskedRows.getBody().front(), *maskedRows.getChunk());
      } else if (auto repeat = dyn_cast<RepeatOp>(op)) {
        bindBlock(repeat.getBody().front(), rows);
      }
    }
  }

  void bindDropout(ModelOp model) {
    model.walk([&](Operation *op) {
      if (auto attention = dyn_cast<AttentionOp>(op)) {
        attention.setRate(APFloat(double(dropout)));
      } else if (auto dropoutOp = dyn_cast<DropoutOp>(op)) {
        if (dropout != 0.0) {
          dropoutOp.setRate(APFloat(double(dropout)));
        } else {
          dropoutOp.getResult().replaceAllUsesWith(dropoutOp.getX());
          dropoutOp.erase();
        }
      }
    });
  }

  /// Embeddings of positions need a row for each.
  LogicalResult checkPositions(ModelOp model) {
    WalkResult result = model.walk([&](EmbeddingOp op) {
      auto input = op.getIds().getDefiningOp<InputOp>();
      int64_t rows = cast<ShapedType>(op.getTable().getType()).getDimSize(0);
      if (!input || input.getKind() != InputKind::Positions || rows >= seqLength)
        return WalkResult::advance();
      op.emitOpError() << "has a table of " << rows
                       << " positions, which is less than the sequence length "
                       << int64_t(seqLength)
                       << ": use a shorter sequence or a model with a larger maximum";
      return WalkResult::interrupt();
    });
    return failure(result.wasInterrupted());
  }

  LogicalResult checkStatic(ModelOp model) {
    WalkResult result = model.walk([](Operation *op) {
      for (Type type : op->getResultTypes()) {
        auto shaped = cast<ShapedType>(type);
        if (shaped.hasStaticShape() && hasSaneSize(shaped))
          continue;
        if (shaped.hasStaticShape())
          op->emitOpError() << "has a result of type " << type
                            << ", but a tensor may have 1 to 2^40 elements: use a smaller batch or "
                               "sequence length";
        else
          op->emitOpError() << "has a result of type " << type
                            << ", in which only the first two dimensions may be '?'";
        return WalkResult::interrupt();
      }
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }
};

} // namespace
