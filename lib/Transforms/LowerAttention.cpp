//===- LowerAttention.cpp - attention over a split sequence ---------------===//
//
// Replaces nn.attention and nn.attention_grad by blocks of online softmax. With the strategy
//
// `ring` (Li et al. 2023, section 3.2): a rank starts with its own keys and values; those of the
// other ranks come by P - 1 shifts around the ring, each posted before the block that does not need
// it. Backward: K, V travel again, and with them the sums dK, dV that each visited rank adds to;
// what a rank's own queries give stays at home, so dK, dV too need P - 1 shifts. Per rank and layer
// forward 2, backward 4 units of (P - 1) * B * C * A elements.
//
//   %k1, %v1 = sp.ring_shift %k, %v
//   %o, %l, %s = sp.attention_block own initialize heads(h) (%q, %k, %v, %mask ...)
//   %r:5 = sp.ring_loop iter(%kk = %k1, %vv = %v1, %oo = %o, ...) {
//     %kn, %vn = sp.ring_shift %kk, %vv skip_last
//     %b:3 = sp.attention_block ring finish heads(h) (%q, %kk, %vv, %mask ...) state(%oo, ...)
//     sp.yield %kn, %vn, %b#0, %b#1, %b#2
//   }
//
// `all-gather`: K and V are gathered, one block sees all of them; backward scatters the summed dK, dV.
// The same bytes, but a rank holds all keys of the sequence: for checks and short sequences.
//
// Afterwards no nn.attention is left, and no value of L x L or L x (L / P) elements exists.
//
//===----------------------------------------------------------------------===//
#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Transforms/LayoutUtils.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/Builders.h"

namespace seqpar {
#define GEN_PASS_DEF_LOWERATTENTION
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

namespace {

/// Makes the ops for one attention at the builder's position.
struct AttentionLowering {
  OpBuilder &builder;
  Location loc;
  int64_t heads;
  float dropout;
  int64_t site;

  SmallVector<Value> block(sp::KeyBlock which, Value q, Value k, Value v, Value mask, ValueRange state,
                           TypeRange types, bool finish) {
    auto op = sp::AttentionBlockOp::create(builder, loc, types, q, k, v, mask, state, /*outs=*/ValueRange(),
                                           builder.getI64IntegerAttr(heads),
                                           sp::KeyBlockAttr::get(builder.getContext(), which),
                                           UnitAttr(), UnitAttr(),
                                           builder.getF32FloatAttr(dropout), builder.getI64IntegerAttr(site));
    op.setInitialize(state.empty());
    op.setFinish(finish);
    return op.getResults();
  }

  SmallVector<Value> gradBlock(sp::KeyBlock which, ValueRange inputs, ValueRange state, ValueRange accumulators,
                               TypeRange types) {
    auto op = sp::AttentionBlockGradOp::create(
        builder, loc, types, inputs[0], inputs[1], inputs[2], inputs[3], inputs[4], inputs[5], inputs[6], state,
        accumulators, /*outs=*/ValueRange(), builder.getI64IntegerAttr(heads),
        sp::KeyBlockAttr::get(builder.getContext(), which), /*initialize=*/UnitAttr(),
        /*accumulate=*/UnitAttr(), builder.getF32FloatAttr(dropout),
        builder.getI64IntegerAttr(site));
    op.setInitialize(state.empty());
    return op.getResults();
  }

  ValueRange shift(ValueRange values, bool skipLast) {
    return sp::RingShiftOp::create(builder, loc, values, skipLast).getResults();
  }

  /// A ring loop whose body `make` builds: from the carried values to those it yields.
  ValueRange loop(ValueRange inits, function_ref<SmallVector<Value>(ValueRange)> make) {
    auto op = sp::RingLoopOp::create(builder, loc, inits.getTypes(), inits);
    OpBuilder::InsertionGuard guard(builder);
    Block *body = builder.createBlock(&op.getBody(), {}, inits.getTypes(), SmallVector<Location>(inits.size(), loc));
    SmallVector<Value> yielded = make(ValueRange(body->getArguments()));
    sp::YieldOp::create(builder, loc, yielded);
    return op.getResults();
  }

  Value gather(Value value) {
    auto type = cast<RankedTensorType>(value.getType());
    sp::LayoutAttr layout = sp::getLayout(type);
    SmallVector<int32_t> splits(layout.getSplits());
    splits[1] = sp::LayoutAttr::kNone;
    auto whole = sp::LayoutAttr::get(type.getContext(), splits, layout.getPartial());
    return sp::AllGatherOp::create(builder, loc, sp::withLayout(type, whole), value, Value(),
                                   1, kSequence)
        .getResult();
  }

  Value scatter(Value value, Type type) {
    return sp::ReduceScatterOp::create(builder, loc, type, value, Value(), 1, kSequence)
        .getResult();
  }

  static constexpr int32_t kSequence[] = {static_cast<int32_t>(sp::Axis::SP)};
};

struct LowerAttention : seqpar::impl::LowerAttentionBase<LowerAttention> {
  using LowerAttentionBase::LowerAttentionBase;

  void runOnOperation() override {
    nn::StepOp step = getOperation();
    sp::GridAttr grid = getGrid(step);
    if (!grid)
      return signalPassFailure();
    if (strategy != "ring" && strategy != "all-gather") {
      step.emitOpError("expected attention strategy 'ring' or 'all-gather', found '") << strategy << "'";
      return signalPassFailure();
    }
    bool split = grid.getSp() > 1;
    SmallVector<Operation *> ops;
    step.walk([&](Operation *op) {
      if (isa<nn::AttentionOp, nn::AttentionGradOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      OpBuilder builder(op);
      if (auto attention = dyn_cast<nn::AttentionOp>(op))
        lowerForward(builder, attention, split);
      else
        lowerBackward(builder, cast<nn::AttentionGradOp>(op), split);
    }
  }

  void lowerForward(OpBuilder &builder, nn::AttentionOp op, bool split) {
    AttentionLowering make{builder, op.getLoc(), static_cast<int64_t>(op.getHeads()),
                           static_cast<float>(op.getRate().convertToDouble()), static_cast<int64_t>(op.getSite())};
    Value q = op.getQ(), k = op.getK(), v = op.getV(), mask = op.getPaddingMask();
    SmallVector<Type> types = {op.getResult().getType(), getStatisticsType(q.getType(), op.getHeads()),
                               getStatisticsType(q.getType(), op.getHeads())};
    SmallVector<Value> state;
    if (split && strategy == "all-gather") {
      state = make.block(sp::KeyBlock::Whole, q, make.gather(k), make.gather(v), mask, {}, types, /*finish=*/true);
    } else if (!split) {
      state = make.block(sp::KeyBlock::Own, q, k, v, mask, {}, types, /*finish=*/true);
    } else {
      SmallVector<Value> inits(make.shift({k, v}, /*skipLast=*/false));
      llvm::append_range(inits, make.block(sp::KeyBlock::Own, q, k, v, mask, {}, types, /*finish=*/false));
      ValueRange results = make.loop(inits, [&](ValueRange carried) {
        SmallVector<Value> next(make.shift(carried.take_front(2), /*skipLast=*/true));
        llvm::append_range(next, make.block(sp::KeyBlock::Ring, q, carried[0], carried[1], mask,
                                            carried.drop_front(2), types, /*finish=*/true));
        return next;
      });
      state.assign(results.begin() + 2, results.end());
    }
    op.getResult().replaceAllUsesWith(state[0]);
    if (op.getLse())
      op.getLse().replaceAllUsesWith(state[1]);
    op.erase();
  }

  void lowerBackward(OpBuilder &builder, nn::AttentionGradOp op, bool split) {
    AttentionLowering make{builder, op.getLoc(), static_cast<int64_t>(op.getHeads()),
                           static_cast<float>(op.getRate().convertToDouble()), static_cast<int64_t>(op.getSite())};
    Value k = op.getK(), v = op.getV();
    SmallVector<Value> inputs = {op.getQ(), k, v, op.getPaddingMask(), op.getOut(), op.getLse(), op.getDout()};
    SmallVector<Type> types = {op.getLse().getType(), op.getDq().getType(), k.getType(), v.getType()};
    SmallVector<Value> grads;
    if (split && strategy == "all-gather") {
      inputs[1] = make.gather(k);
      inputs[2] = make.gather(v);
      for (unsigned i : {2, 3}) // every rank holds its queries' share of all keys' gradients
        types[i] = getPartialType(inputs[1].getType());
      SmallVector<Value> whole = make.gradBlock(sp::KeyBlock::Whole, inputs, {}, {}, types);
      grads = {whole[1], make.scatter(whole[2], k.getType()), make.scatter(whole[3], v.getType())};
    } else if (!split) {
      SmallVector<Value> own = make.gradBlock(sp::KeyBlock::Own, inputs, {}, {}, types);
      grads.assign(own.begin() + 1, own.end());
    } else {
      grads = makeBackwardRing(make, inputs, types);
    }
    for (auto [result, grad] : llvm::zip(op->getResults(), grads))
      result.replaceAllUsesWith(grad);
    op.erase();
  }

  SmallVector<Value> makeBackwardRing(AttentionLowering &make, SmallVector<Value> inputs, ArrayRef<Type> types) {
    ValueRange shifted = make.shift({inputs[1], inputs[2]}, /*skipLast=*/false);
    SmallVector<Value> own = make.gradBlock(sp::KeyBlock::Own, inputs, {}, {}, types);
    Value noKeys = plan::EmptyOp::create(make.builder, make.loc, types[2]);
    Value noValues = plan::EmptyOp::create(make.builder, make.loc, types[3]);
    SmallVector<Value> inits = {shifted[0], shifted[1], own[0], own[1], noKeys, noValues};
    ValueRange results = make.loop(inits, [&](ValueRange carried) {
      SmallVector<Value> next(make.shift(carried.take_front(2), /*skipLast=*/true));
      SmallVector<Value> visited = inputs;
      visited[1] = carried[0];
      visited[2] = carried[1];
      SmallVector<Value> block =
          make.gradBlock(sp::KeyBlock::Ring, visited, carried.slice(2, 2), carried.slice(4, 2), types);
      next.push_back(block[0]);
      next.push_back(block[1]);
      llvm::append_range(next, make.shift({block[2], block[3]}, /*skipLast=*/false));
      return next;
    });
    SmallVector<Value> grads = {results[3]};
    for (unsigned i : {0, 1})
      grads.push_back(nn::AddOp::create(make.builder, make.loc, types[2 + i], own[2 + i], results[4 + i]));
    return grads;
  }

  /// [B, heads, L], split as the queries are.
  static RankedTensorType getStatisticsType(Type queries, int64_t heads) {
    auto type = cast<RankedTensorType>(queries);
    auto layout = sp::getLayout(type);
    auto statistics = sp::LayoutAttr::get(
        type.getContext(), {layout.getSplits()[0], sp::LayoutAttr::kNone, layout.getSplits()[1]}, {});
    return RankedTensorType::get({type.getDimSize(0), heads, type.getDimSize(1)}, type.getElementType(), statistics);
  }

  static Type getPartialType(Type gathered) {
    auto type = cast<RankedTensorType>(gathered);
    return sp::withLayout(type, sp::LayoutAttr::get(type.getContext(), sp::getLayout(type).getSplits(), sp::Axis::SP));
  }
};

} // namespace
