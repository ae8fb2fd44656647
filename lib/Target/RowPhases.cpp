//===- RowPhases.cpp - passes of a row kernel over its row ----------------===//
#include "seqpar/Target/RowPhases.h"

#include "seqpar/Target/CollectKernels.h"

using namespace mlir;
using namespace seqpar;

/// A value that costs more instructions than this to compute again is kept in memory, which costs
/// a store and a load.
static constexpr int64_t kCheap = 4;

/// Bytes of scratch memory of one kernel; it is on the stack.
static constexpr int64_t kMaxScratchBytes = 1 << 20;

/// Instructions of an op itself, in units of a multiplication's time.
static int64_t getOwnCost(Operation *op) {
  if (isa<tensor::SplatOp, arith::ConstantOp, plan::RowIotaOp>(op))
    return 0;
  if (isa<plan::RowRandomOp>(op))
    return 60;
  if (isa<math::TanhOp, math::ErfOp, math::LogOp>(op))
    return 30;
  if (isa<math::ExpOp>(op))
    return 15;
  if (isa<arith::DivFOp, math::SqrtOp, math::RsqrtOp, arith::DivSIOp, arith::DivUIOp,
          arith::RemSIOp, arith::RemUIOp, arith::MulUIExtendedOp, arith::MulSIExtendedOp>(op))
    return 6;
  return 1;
}

static plan::AccessKind getAccess(plan::RowsOp op, unsigned output) {
  return op.getOutputAccess(output).getKind();
}

static Value getYielded(plan::RowsOp op, unsigned output) {
  return op.getBody().front().getTerminator()->getOperand(output);
}

RowPhases::RowPhases(plan::RowsOp op) : op(op) {
  computeLevels();
  chooseExpensiveValues();
  // Storing an output late may make late phases read inputs, which may delay outputs further.
  for (unsigned lastInputPhase = distribute();; lastInputPhase = distribute()) {
    bool changed = false;
    for (auto [output, phase] : llvm::enumerate(storePhase))
      if (getAccess(op, output) == plan::AccessKind::Row && phase < lastInputPhase) {
        phase = lastInputPhase;
        changed = true;
      }
    if (changed)
      continue;
    assignOutputSlots(lastInputPhase);
    break;
  }
  fillPhases();
}

void RowPhases::computeLevels() {
  for (Operation &body : op.getBody().front().without_terminator()) {
    unsigned level = 0;
    for (Value operand : body.getOperands())
      level = std::max(level, levels.lookup(operand));
    if (isa<plan::RowReduceOp>(body))
      ++level;
    for (Value result : body.getResults())
      levels[result] = level;
    lastLevel = std::max(lastLevel, level);
  }
  for (unsigned i = 0; i < op.getNumOutputs(); ++i)
    storePhase.push_back(levels.lookup(getYielded(op, i)));
}

void RowPhases::chooseExpensiveValues() {
  DenseMap<Value, int64_t> costs; // of having the value in one more phase
  for (BlockArgument argument : op.getBody().getArguments())
    if (isRow(argument))
      costs[argument] =
          op.getInputAccess(argument.getArgNumber()).getKind() == plan::AccessKind::Gather ? 2 : 1;
  int64_t scratch = 0;
  for (Operation &body : op.getBody().front().without_terminator()) {
    int64_t cost = getOwnCost(&body);
    for (Value operand : body.getOperands())
      cost += costs.lookup(operand);
    for (Value result : body.getResults()) {
      if (!isRow(result))
        continue;
      auto type = cast<RankedTensorType>(result.getType());
      int64_t bytes = type.getNumElements() * type.getElementTypeBitWidth() / 8;
      bool canKeep = !type.getElementType().isInteger(1) && scratch + bytes <= kMaxScratchBytes;
      if (cost > kCheap && canKeep)
        expensive.insert(result);
      costs[result] = expensive.contains(result) ? 1 : cost;
    }
  }
}

void RowPhases::demand(Value value, unsigned phase) {
  if (!isRow(value) || getConstantElement(value))
    return;
  auto &phases = demanded[value];
  phases.resize(lastLevel + 1, false);
  phases[phase] = true;
}

/// Decides which row values each phase needs and which are kept. Returns the last phase that reads
/// a row of an input which an output may share.
unsigned RowPhases::distribute() {
  demanded.clear();
  slots.clear();
  Block &body = op.getBody().front();
  for (auto [output, phase] : llvm::enumerate(storePhase))
    demand(getYielded(op, output), phase);
  int64_t scratch = 0;
  for (Operation &inner : llvm::reverse(body.without_terminator())) {
    if (isa<plan::RowReduceOp>(inner))
      demand(inner.getOperand(0), levels.lookup(inner.getResult(0)) - 1);
    for (Value result : inner.getResults()) {
      auto needed = demanded.find(result);
      if (needed == demanded.end())
        continue;
      SmallVector<bool> in = needed->second;
      unsigned first = llvm::find(in, true) - in.begin();
      unsigned last = in.size() - 1 - (llvm::find(llvm::reverse(in), true) - in.rbegin());
      auto type = cast<RankedTensorType>(result.getType());
      int64_t bytes = type.getNumElements() * type.getElementTypeBitWidth() / 8;
      bool keep = first < last && expensive.contains(result) && scratch + bytes <= kMaxScratchBytes;
      if (keep) {
        slots.push_back({result, first, last});
        scratch += bytes;
      }
      for (unsigned phase = first; phase <= (keep ? first : last); ++phase)
        if (in[phase])
          for (Value operand : inner.getOperands())
            demand(operand, phase);
    }
  }
  unsigned lastInputPhase = 0;
  for (BlockArgument argument : body.getArguments()) {
    plan::AccessKind kind = op.getInputAccess(argument.getArgNumber()).getKind();
    auto needed = demanded.find(argument);
    if (needed != demanded.end() &&
        (kind == plan::AccessKind::Row || kind == plan::AccessKind::Gather))
      for (auto [phase, isNeeded] : llvm::enumerate(needed->second))
        if (isNeeded)
          lastInputPhase = std::max<unsigned>(lastInputPhase, phase);
  }
  return lastInputPhase;
}

/// A kept value may be an output itself, or wait in the row of an output: from when no input is read
/// any more (the output may share an input's buffer) to when the output itself is written.
void RowPhases::assignOutputSlots(unsigned lastInputPhase) {
  SmallVector<bool> taken(op.getNumOutputs(), false);
  auto assign = [&](Slot &slot, function_ref<bool(unsigned)> fits) {
    for (unsigned output = 0; output < op.getNumOutputs() && slot.output < 0; ++output)
      if (!taken[output] && getAccess(op, output) == plan::AccessKind::Row && fits(output)) {
        slot.output = output;
        taken[output] = true;
      }
  };
  for (Slot &slot : slots) {
    assign(slot, [&](unsigned output) {
      slot.isOutput = getYielded(op, output) == slot.value && storePhase[output] == slot.firstPhase;
      return slot.isOutput;
    });
    assign(slot, [&](unsigned output) {
      return getYielded(op, output).getType() == slot.value.getType() &&
             slot.firstPhase >= lastInputPhase && slot.lastPhase <= storePhase[output];
    });
  }
}

const RowPhases::Slot *RowPhases::getSlot(Value value) const {
  const Slot *slot = llvm::find_if(slots, [&](const Slot &s) { return s.value == value; });
  return slot == slots.end() ? nullptr : slot;
}

void RowPhases::fillPhases() {
  phases.resize(lastLevel + 1);
  Block &body = op.getBody().front();
  auto add = [&](Value value) {
    auto needed = demanded.find(value);
    if (needed == demanded.end())
      return;
    const Slot *slot = getSlot(value);
    Operation *producer = value.getDefiningOp();
    for (auto [number, isNeeded] : llvm::enumerate(needed->second))
      if (isNeeded) {
        phases[number].rows.insert(value);
        bool isLoad = !producer || (slot && number > slot->firstPhase);
        phases[number].cost += isLoad ? 1 : getOwnCost(producer);
      }
  };
  for (Value argument : body.getArguments())
    add(argument);
  for (Operation &inner : body.without_terminator()) {
    for (Value result : inner.getResults())
      add(result);
    if (auto reduce = dyn_cast<plan::RowReduceOp>(inner))
      phases[levels.lookup(reduce.getResult()) - 1].reductions.push_back(reduce);
  }
  for (auto [output, phase] : llvm::enumerate(storePhase))
    if (isRow(getYielded(op, output)))
      phases[phase].stores.push_back(output);
}
