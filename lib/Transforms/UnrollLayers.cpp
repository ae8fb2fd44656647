//===- UnrollLayers.cpp - Write out the layers of nn.repeat -----------------------------------===//
//
// Copies the body of each nn.repeat, innermost first, once for each layer, each copy taking the
// results of the one before. Then numbers the sites of dropout: with rate 0 nothing is drawn and
// none is given.
//
//===------------------------------------------------------------------------------------------===//

#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

namespace seqpar {
#define GEN_PASS_DEF_UNROLLLAYERS
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

/// Puts the layer's part in front of the name of a parameter; other ops have no name.
static void completeNames(RepeatOp repeat, int64_t layer, Operation *copy) {
  auto parameter = dyn_cast<ParameterOp>(copy);
  if (!parameter)
    return;
  parameter.setParameterName(
      (repeat.getPrefix() + Twine(layer) + "." + parameter.getParameterName()).str());
}

static void unroll(RepeatOp repeat) {
  OpBuilder builder(repeat);
  Block &body = repeat.getBody().front();
  SmallVector<Value> carried(repeat.getInitial());
  for (int64_t layer = 0, count = repeat.getCount(); layer < count; ++layer) {
    IRMapping mapping;
    mapping.map(body.getArguments(), carried);
    for (Operation &op : body.without_terminator())
      completeNames(repeat, layer, builder.clone(op, mapping));
    for (auto [value, yielded] : llvm::zip_equal(carried, body.getTerminator()->getOperands()))
      value = mapping.lookupOrDefault(yielded);
  }
  repeat.replaceAllUsesWith(carried);
  repeat.erase();
}

namespace {

struct UnrollLayers : seqpar::impl::UnrollLayersBase<UnrollLayers> {
  void runOnOperation() override {
    getOperation().walk([](RepeatOp repeat) { unroll(repeat); });
    for (ModelOp model : getOperation().getOps<ModelOp>())
      numberSites(model);
  }

private:
  void numberSites(ModelOp model) {
    int64_t sites = 0;
    model.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (auto dropout = dyn_cast<DropoutOp>(op))
        dropout.setSite(++sites);
      else if (auto attention = dyn_cast<AttentionOp>(op);
               attention && !attention.getRate().isZero())
        attention.setSite(++sites);
    });
  }
};

} // namespace
