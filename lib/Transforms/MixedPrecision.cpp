//===- MixedPrecision.cpp - activations in 16 bits ------------------------===//
//
// Chooses the type that each value of a micro-batch is stored in. Arithmetic stays in fp32: row
// kernels widen what they read and round what they write, products add up in fp32.
//
//   %u = plan.gemm %x, %w transpose_b : tensor<2x8x4xf32>, memref<6x4xf32> -> tensor<2x8x6xf32>
//   %y = plan.rows "tanh" rows(16) ins(%u : tensor<2x8x6xf32>) ... -> tensor<2x8x6xf32> { ... }
// becomes, with bf16,
//   %n = plan.rows "cast" rows(6) ins(%w : memref<6x4xf32>) ... -> tensor<6x4xbf16> { ... }
//   %u = plan.gemm %x, %n transpose_b : tensor<2x8x4xbf16>, tensor<6x4xbf16> -> tensor<2x8x6xbf16>
//   %y = plan.rows "tanh" rows(16) ins(%u : tensor<2x8x6xbf16>) ... -> tensor<2x8x6xbf16> {
//     arith.extf, the kernel as it was, arith.truncf }
//
// These keep fp32, and with them all that has to have their type (loop-carried values, what a scatter
// updates, what a ring passes on):
//
// - contributions to gradients and metrics, and operands and results of sums over ranks;
// - statistics: one element a row, sums over rows;
// - sums that attention makes block by block: its running state in a ring, dq, dk and dv;
// - rows that a loss is computed from (the logits), and a product whose rows a kernel makes them of.
//
// Parameters, gradients and moments are memory of the step and stay as they are. Values that products,
// attention and other stages read have 16 bits: what is wider gets a "cast" kernel of its own, which
// fuse-rows merges with what reads the same rows. Runs before recompute-rows, which casts a weight again
// in the backward instead of keeping the copy.
//
// (Micikevicius et al. 2018, Mixed Precision Training. fp16 needs the loss scale of localize.)
//
//===----------------------------------------------------------------------===//
#include "BufferAccess.h"
#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/TypeSwitch.h"

namespace seqpar {
#define GEN_PASS_DEF_MIXEDPRECISION
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;
using plan::AccessKind;
using plan::RowsOp;

static bool isFp32Value(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getElementType().isF32();
}

static bool isRowOfMany(AccessKind kind) { return kind == AccessKind::Row || kind == AccessKind::Scatter; }

//===----------------------------------------------------------------------===//
// Which values keep fp32
//===----------------------------------------------------------------------===//

namespace {

class WideValues {
public:
  explicit WideValues(plan::MicroBatchOp microBatch) {
    microBatch.walk([&](Operation *op) { addOp(op); });
    while (spread()) {
    }
  }

  bool contains(Value value) const { return wide.contains(value); }

private:
  void add(Value value) {
    if (isFp32Value(value))
      wide.insert(value);
  }
  void add(ValueRange values) {
    for (Value value : values)
      add(value);
  }

  /// The two have one type.
  void tie(Value a, Value b) { ties.emplace_back(a, b); }
  void tie(ValueRange a, ValueRange b) {
    for (auto [x, y] : llvm::zip(a, b))
      tie(x, y);
  }

  void addOp(Operation *op) {
    llvm::TypeSwitch<Operation *>(op)
        .Case([&](plan::AccumulateOp accumulate) { addContribution(accumulate); })
        .Case<sp::AllReduceOp, sp::ReduceScatterOp>([&](auto sum) {
          add(sum->getOperands());
          add(sum->getResults());
        })
        .Case([&](sp::AllGatherOp gather) { tie(gather.getInput(), gather.getResult()); })
        .Case([&](sp::RingShiftOp shift) { tie(shift.getInputs(), shift.getResults()); })
        .Case([&](sp::RingLoopOp loop) { addLoop(loop, loop.getInits(), loop.getBody().getArguments()); })
        .Case([&](plan::RowsLoopOp loop) {
          addLoop(loop, loop.getInits(), loop.getBody().getArguments().drop_front(2));
        })
        .Case([&](sp::AttentionBlockOp block) { addAttention(block); })
        .Case([&](sp::AttentionBlockGradOp block) {
          add(block.getState());
          add(block.getAccumulators());
          add(block.getResults());
        })
        .Case([&](RowsOp rows) { addRows(rows); })
        .Case([&](plan::GemmOp gemm) { gemms.push_back(gemm); });
  }

  /// A loss is computed from rows that keep what a rounding would take from it.
  void addContribution(plan::AccumulateOp op) {
    add(op.getValue());
    auto loss = op.getValue().getDefiningOp<RowsOp>();
    if (!loss || !op.getAccumulator().getDefiningOp<plan::MetricOp>())
      return;
    for (auto [i, input] : llvm::enumerate(loss.getInputs()))
      if (loss.getInputAccess(i).getKind() == AccessKind::Row)
        add(input);
  }

  void addLoop(Operation *loop, ValueRange inits, Block::BlockArgListType arguments) {
    Operation *yield = loop->getRegion(0).front().getTerminator();
    for (auto [i, result] : llvm::enumerate(loop->getResults())) {
      tie(result, inits[i]);
      tie(result, arguments[i]);
      tie(result, yield->getOperand(i));
    }
  }

  /// Statistics, and the state that goes from block to block. One block alone writes its result at once.
  void addAttention(sp::AttentionBlockOp op) {
    add(op.getState());
    add(op.getResults().drop_front());
    if (!op.getInitialize() || !op.getFinish())
      add(op.getResults().front());
  }

  void addRows(RowsOp op) {
    unsigned updated = 0;
    for (auto [i, result] : llvm::enumerate(op.getResults())) {
      plan::AccessAttr access = op.getOutputAccess(i);
      if (access.isIndexed())
        tie(result, op.getOuts()[updated++]);
      if (!isRowOfMany(access.getKind()))
        add(result);
    }
    for (auto [i, input] : llvm::enumerate(op.getInputs()))
      if (op.getInputAccess(i).getKind() == AccessKind::RowScalar)
        add(input);
  }

  /// One round of spreading; false when nothing is new.
  bool spread() {
    size_t before = wide.size();
    for (auto [a, b] : ties) {
      if (wide.contains(a))
        add(b);
      if (wide.contains(b))
        add(a);
    }
    for (plan::GemmOp gemm : gemms)
      if (gemm.getResult() && makesWideRows(gemm.getResult()))
        add(gemm.getResult());
    return wide.size() != before;
  }

  /// Whether all that read the value are kernels that make wide rows.
  bool makesWideRows(Value value) const {
    return !value.use_empty() && llvm::all_of(value.getUsers(), [&](Operation *user) {
      auto rows = dyn_cast<RowsOp>(user);
      if (!rows)
        return false;
      bool any = false;
      for (auto [i, result] : llvm::enumerate(rows.getResults())) {
        if (!isRowOfMany(rows.getOutputAccess(i).getKind()))
          continue;
        if (!contains(result))
          return false;
        any = true;
      }
      return any;
    });
  }

  llvm::DenseSet<Value> wide;
  SmallVector<std::pair<Value, Value>> ties;
  SmallVector<plan::GemmOp> gemms;
};

//===----------------------------------------------------------------------===//
// The types
//===----------------------------------------------------------------------===//

/// Gives the values of one micro-batch their types.
class Narrowing {
public:
  Narrowing(plan::MicroBatchOp microBatch, FloatType narrow)
      : microBatch(microBatch), block(microBatch.getBody().front()), narrow(narrow) {}

  void run() {
    setTypes(WideValues(microBatch));
    SmallVector<Operation *> ops;
    microBatch.walk<WalkOrder::PreOrder>([&](Operation *op) { ops.push_back(op); });
    for (Operation *op : ops)
      llvm::TypeSwitch<Operation *>(op)
          .Case([&](RowsOp rows) { convertBody(rows); })
          .Case([&](plan::GemmOp gemm) { castOperands(gemm, {0, 1}); })
          .Case([&](sp::AttentionBlockOp block) { castOperands(block, {0, 1, 2}); })
          .Case([&](sp::AttentionBlockGradOp block) { castOperands(block, {0, 1, 2, 4, 6}); })
          .Case([&](sp::SendOp send) { castSent(send); });
  }

private:
  void setTypes(const WideValues &wide) {
    auto set = [&](Value value) {
      if (isFp32Value(value) && !wide.contains(value))
        value.setType(cast<RankedTensorType>(value.getType()).clone(narrow));
    };
    microBatch.walk([&](Operation *op) {
      for (Value result : op->getResults())
        if (!op->getParentOfType<RowsOp>())
          set(result);
      if (isa<sp::RingLoopOp, plan::RowsLoopOp>(op))
        for (Value argument : op->getRegion(0).getArguments())
          set(argument);
    });
  }

  /// Widens what the kernel reads, rounds what it writes.
  void convertBody(RowsOp op) {
    Block &body = op.getBody().front();
    auto builder = OpBuilder::atBlockBegin(&body);
    for (auto [i, argument] : llvm::enumerate(body.getArguments())) {
      auto row = dyn_cast<RankedTensorType>(argument.getType());
      if (!row || getElementTypeOrSelf(op.getInputs()[i]) != narrow)
        continue;
      argument.setType(row.clone(narrow));
      auto wide = arith::ExtFOp::create(builder, op.getLoc(), row, argument);
      argument.replaceAllUsesExcept(wide, wide);
    }
    Operation *yield = body.getTerminator();
    builder.setInsertionPoint(yield);
    for (auto [i, result] : llvm::enumerate(op.getResults()))
      if (getElementTypeOrSelf(result) == narrow)
        yield->setOperand(i, round(builder, op.getLoc(), yield->getOperand(i)));
    for (auto widened : llvm::make_early_inc_range(body.getOps<arith::ExtFOp>()))
      if (widened->use_empty())
        widened.erase();
  }

  Value round(OpBuilder &builder, Location loc, Value value) {
    if (auto widened = value.getDefiningOp<arith::ExtFOp>())
      return widened.getIn(); // moved, not computed with
    return arith::TruncFOp::create(builder, loc, cast<RankedTensorType>(value.getType()).clone(narrow), value);
  }

  void castOperands(Operation *op, ArrayRef<unsigned> numbers) {
    for (unsigned number : numbers)
      if (Value value = op->getOperand(number); getElementTypeOrSelf(value) != narrow)
        op->setOperand(number, getCast(value, op));
  }

  /// What the wait keeps alive is what is on its way.
  void castSent(sp::SendOp send) {
    Value wide = send.getInput();
    castOperands(send, {0});
    if (sp::WaitOp wait = findWaitOf(send))
      wait->replaceUsesOfWith(wide, send.getInput());
  }

  /// The value in 16 bits: made once, where all can see it.
  Value getCast(Value value, Operation *user) {
    Value &cast = casts[value];
    if (cast)
      return cast;
    OpBuilder builder(user);
    if (Operation *definition = value.getDefiningOp(); definition && microBatch->isProperAncestor(definition))
      builder.setInsertionPointAfter(definition);
    else if (auto argument = dyn_cast<BlockArgument>(value))
      builder.setInsertionPointToStart(argument.getOwner());
    else
      builder.setInsertionPoint(block.findAncestorOpInBlock(*user)); // declared memory
    return cast = plan::createCast(builder, user->getLoc(), value, narrow);
  }

  plan::MicroBatchOp microBatch;
  Block &block;
  FloatType narrow;
  llvm::DenseMap<Value, Value> casts;
};

struct MixedPrecision : seqpar::impl::MixedPrecisionBase<MixedPrecision> {
  using MixedPrecisionBase::MixedPrecisionBase;

  void runOnOperation() override {
    FloatType narrow;
    if (dtype == "bf16")
      narrow = BFloat16Type::get(&getContext());
    else if (dtype == "fp16")
      narrow = Float16Type::get(&getContext());
    if (!narrow) {
      getOperation().emitError("expected dtype 'bf16' or 'fp16', found '") << dtype << "'";
      return signalPassFailure();
    }
    getOperation()->walk([&](plan::MicroBatchOp microBatch) { Narrowing(microBatch, narrow).run(); });
  }
};

} // namespace
