//===- FuseRows.cpp - chains of row kernels become one --------------------===//
//
// Merges plan.rows ops that work on the same rows, so that a value that only the next op reads
// never reaches memory, and one that several read is read once:
//
//   %a = plan.rows "bias" ins(%g, %b) ...          (row result)
//   %x = plan.rows "add" ins(%a, %r) ...
//   %y = plan.rows "layer_norm" ins(%x, %gamma, %beta) ...
// becomes
//   %x, %y = plan.rows "bias_add_layer_norm" ins(%g, %b, %r, %gamma, %beta) ...
//
// A producer and a consumer are merged where one can move to the other; then ops that read the same
// row. A kernel that scatters with addition runs in one thread, so it is merged with its like only.
//
//===----------------------------------------------------------------------===//
#include "BufferAccess.h"
#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

namespace seqpar {
#define GEN_PASS_DEF_FUSEROWS
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;
using plan::AccessKind;
using plan::RowsOp;

static bool hasOutput(RowsOp op, AccessKind kind) {
  return llvm::any_of(llvm::seq(op.getNumOutputs()), [&](unsigned i) { return op.getOutputAccess(i).getKind() == kind; });
}

/// Value form with results, so that merging is about values and not about memory.
static bool isCandidate(RowsOp op) { return !op.getResults().empty(); }

static bool runAlike(RowsOp a, RowsOp b) {
  return a.getRows() == b.getRows() && a.getActiveRows() == b.getActiveRows() && a.getColumns() == b.getColumns() &&
         hasOutput(a, AccessKind::ScatterAdd) == hasOutput(b, AccessKind::ScatterAdd);
}

/// The op of `block` that is or holds `op`.
static Operation *getAncestor(Operation *op, Block *block) { return block->findAncestorOpInBlock(*op); }

/// Whether `op` could stand right before `point`, given that it stands before it now (its users) or
/// after it (its operands). `other` is merged with it and does not count.
static bool canSink(RowsOp op, Operation *point) {
  for (Operation *user : op->getUsers()) {
    Operation *ancestor = getAncestor(user, op->getBlock());
    if (ancestor != point && ancestor->isBeforeInBlock(point))
      return false;
  }
  return true;
}

static bool canHoist(RowsOp op, RowsOp point) {
  for (Value operand : op->getOperands()) {
    Operation *definition = operand.getDefiningOp();
    if (definition && definition != point && definition->getBlock() == op->getBlock() &&
        point->isBeforeInBlock(definition))
      return false;
  }
  return true;
}

/// Whether both belong to the same part of a micro-batch, forward or backward: other micro-batches may
/// run between the parts.
static bool inSamePart(RowsOp a, RowsOp b, plan::BackwardOp backward) {
  return !backward || a->isBeforeInBlock(backward) == b->isBeforeInBlock(backward);
}

namespace {

/// Makes the merged op of `first` and `second`, where `second` may read results of `first`.
class Merger {
public:
  Merger(RowsOp first, RowsOp second, Operation *point) : first(first), second(second), builder(point) {}

  RowsOp run() {
    collectInputs();
    makeBody();
    collectOutputs();
    Location loc = builder.getFusedLoc({first.getLoc(), second.getLoc()});
    auto merged = RowsOp::create(builder, loc, resultTypes, builder.getStringAttr(getName()), first.getRowsAttr(),
                                 inputs, outs, builder.getArrayAttr(inputAccess),
                                 builder.getArrayAttr(outputAccess), first.getCombineAttr(), first.getActiveRowsAttr());
    OpBuilder inside(builder.getContext());
    inside.setInsertionPointToEnd(&region.front());
    plan::RowYieldOp::create(inside, loc, yielded);
    eraseDeadRoundings(region.front());
    merged.getBody().takeBody(region);
    for (auto [old, result] : llvm::zip(replaced, merged.getResults()))
      old.replaceAllUsesWith(result);
    second.erase();
    first.erase();
    return merged;
  }

private:

  /// Each operand and access once; row numbers first, for the gathers that name them.
  void collectInputs() {
    for (bool indexed : {false, true})
      for (RowsOp op : {first, second})
        for (unsigned i = 0; i < op.getInputs().size(); ++i)
          if (op.getInputAccess(i).isIndexed() == indexed && !isInternal(op, i))
            addInput(op, i);
  }

  bool isInternal(RowsOp op, unsigned input) {
    return op == second && op.getInputs()[input].getDefiningOp() == first.getOperation();
  }

  void addInput(RowsOp op, unsigned i) {
    plan::AccessAttr access = op.getInputAccess(i);
    if (access.isIndexed())
      access = plan::AccessAttr::get(access.getContext(), access.getKind(), numbers.lookup({op, access.getIndex()}));
    Value operand = op.getInputs()[i];
    for (unsigned j = 0; j < inputAccess.size(); ++j)
      if (inputs[j] == operand && inputAccess[j] == access) {
        numbers[{op, i}] = j;
        return;
      }
    numbers[{op, i}] = inputAccess.size();
    inputs.push_back(operand);
    inputAccess.push_back(access);
  }

  void makeBody() {
    Block *body = &region.emplaceBlock();
    for (RowsOp op : {first, second})
      for (auto [i, argument] : llvm::enumerate(op.getBody().getArguments()))
        if (!isInternal(op, i) && numbers.lookup({op, i}) == body->getNumArguments())
          body->addArgument(argument.getType(), argument.getLoc());
    // Indexed inputs come last, whichever op they are of.
    while (body->getNumArguments() < inputAccess.size())
      body->addArgument(getInsideType(body->getNumArguments()), first.getLoc());
    OpBuilder inside(builder.getContext());
    inside.setInsertionPointToEnd(body);
    for (RowsOp op : {first, second}) {
      Block &old = op.getBody().front();
      for (auto [i, argument] : llvm::enumerate(old.getArguments()))
        mapping.map(argument, isInternal(op, i) ? getYielded(op.getInputs()[i])
                                                : Value(body->getArgument(numbers.lookup({op, i}))));
      for (Operation &inner : old.without_terminator())
        if (Value known = findUnrounded(inner))
          mapping.map(inner.getResult(0), known);
        else
          inside.clone(inner, mapping);
    }
  }

  /// What `second` widens of what `first` has rounded, before the rounding: within a kernel there is
  /// none. Null for any other op.
  Value findUnrounded(Operation &inner) {
    auto widen = dyn_cast<arith::ExtFOp>(inner);
    auto rounded = widen ? mapping.lookupOrDefault(widen.getIn()).getDefiningOp<arith::TruncFOp>() : nullptr;
    return rounded && rounded.getIn().getType() == widen.getType() ? rounded.getIn() : Value();
  }

  /// Roundings of values that are not stored any more.
  static void eraseDeadRoundings(Block &body) {
    for (auto round : llvm::make_early_inc_range(body.getOps<arith::TruncFOp>()))
      if (round->use_empty())
        round.erase();
  }

  Type getInsideType(unsigned number) {
    for (RowsOp op : {first, second})
      for (unsigned i = 0; i < op.getInputs().size(); ++i)
        if (!isInternal(op, i) && numbers.lookup({op, i}) == number)
          return op.getBody().getArgument(i).getType();
    llvm_unreachable("every merged input comes from one of the ops");
  }

  /// What the merged body has for a result of `first`.
  Value getYielded(Value result) {
    auto yield = cast<plan::RowYieldOp>(first.getBody().front().getTerminator());
    return mapping.lookup(yield.getOperand(cast<OpResult>(result).getResultNumber()));
  }

  void collectOutputs() {
    for (RowsOp op : {first, second}) {
      auto yield = cast<plan::RowYieldOp>(op.getBody().front().getTerminator());
      unsigned out = 0;
      for (unsigned i = 0; i < op.getNumOutputs(); ++i) {
        plan::AccessAttr access = op.getOutputAccess(i);
        Value updated = access.isIndexed() ? op.getOuts()[out++] : Value();
        Value result = op.getResults()[i];
        bool stays = llvm::any_of(result.getUsers(), [&](Operation *user) { return user != second; });
        if (!stays)
          continue;
        if (access.isIndexed()) {
          outs.push_back(updated);
          access = plan::AccessAttr::get(access.getContext(), access.getKind(), numbers.lookup({op, access.getIndex()}));
        }
        outputAccess.push_back(access);
        yielded.push_back(mapping.lookup(yield.getOperand(i)));
        resultTypes.push_back(result.getType());
        replaced.push_back(result);
      }
    }
  }

  /// The parts in order, each once.
  std::string getName() {
    llvm::SetVector<StringRef> parts;
    for (RowsOp op : {first, second}) {
      SmallVector<StringRef> names;
      op.getName().split(names, '+');
      parts.insert(names.begin(), names.end());
    }
    return llvm::join(parts, "+");
  }

  RowsOp first, second;
  OpBuilder builder;
  Region region;
  IRMapping mapping;
  llvm::DenseMap<std::pair<Operation *, int64_t>, unsigned> numbers;
  llvm::SmallVector<Value> inputs;
  SmallVector<Attribute> inputAccess, outputAccess;
  SmallVector<Value> outs, yielded, replaced;
  SmallVector<Type> resultTypes;
};

struct FuseRows : seqpar::impl::FuseRowsBase<FuseRows> {
  void runOnOperation() override {
    SmallVector<Block *> blocks;
    getOperation()->walk([&](plan::MicroBatchOp microBatch) {
      blocks.push_back(&microBatch.getBody().front());
      microBatch.walk([&](Operation *op) {
        if (isa<sp::RingLoopOp, plan::RowsLoopOp>(op))
          blocks.push_back(&op->getRegion(0).front());
      });
    });
    for (Block *block : blocks) {
      while (fuseProducers(*block) || fuseSiblings(*block)) {
      }
    }
  }

  /// Merges one producer into its consumer; false when there is none left.
  bool fuseProducers(Block &block) {
    bool any = false;
    plan::BackwardOp backward = findBackward(block);
    for (Operation *op = block.empty() ? nullptr : &block.front(); op; op = op->getNextNode()) {
      auto consumer = dyn_cast<RowsOp>(op);
      if (!consumer || !isCandidate(consumer))
        continue;
      for (unsigned i = 0; i < consumer.getInputs().size(); ++i) {
        auto producer = consumer.getInputs()[i].getDefiningOp<RowsOp>();
        if (!producer || producer->getBlock() != &block || !readsAsWritten(producer, consumer) ||
            !runAlike(producer, consumer) || !inSamePart(producer, consumer, backward))
          continue;
        bool sink = canSink(producer, consumer);
        if (!sink && !canHoist(consumer, producer))
          continue;
        Operation *point = sink ? consumer.getOperation() : producer.getOperation();
        op = Merger(producer, consumer, point).run();
        any = true;
        break;
      }
    }
    return any;
  }

  /// Every use of the producer's results by the consumer is of the same row.
  static bool readsAsWritten(RowsOp producer, RowsOp consumer) {
    for (OpOperand &operand : consumer->getOpOperands()) {
      if (operand.get().getDefiningOp() != producer.getOperation())
        continue;
      unsigned number = operand.getOperandNumber();
      if (number >= consumer.getInputs().size())
        return false;
      AccessKind written =
          producer.getOutputAccess(cast<OpResult>(operand.get()).getResultNumber()).getKind();
      AccessKind read = consumer.getInputAccess(number).getKind();
      if (read != written || (read != AccessKind::Row && read != AccessKind::RowScalar))
        return false;
    }
    return true;
  }

  bool fuseSiblings(Block &block) {
    plan::BackwardOp backward = findBackward(block);
    for (auto first : block.getOps<RowsOp>()) {
      if (!isCandidate(first))
        continue;
      for (unsigned i = 0; i < first.getInputs().size(); ++i) {
        Value shared = first.getInputs()[i];
        if (first.getInputAccess(i).getKind() != AccessKind::Row || !isa<RankedTensorType>(shared.getType()))
          continue;
        for (Operation *user : shared.getUsers()) {
          auto second = dyn_cast<RowsOp>(user);
          if (!second || second == first || second->getBlock() != &block || !isCandidate(second) ||
              !first->isBeforeInBlock(second) || !runAlike(first, second) || !readsAsWritten(first, second) ||
              !inSamePart(first, second, backward))
            continue;
          bool sink = canSink(first, second);
          if (!sink && !canHoist(second, first))
            continue;
          Merger(first, second, sink ? second.getOperation() : first.getOperation()).run();
          return true;
        }
      }
    }
    return false;
  }
};

} // namespace
