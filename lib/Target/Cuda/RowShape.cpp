//===- RowShape.cpp - how threads share the rows of a kernel --------------===//
#include "RowShape.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::cuda;
using plan::AccessKind;

/// Columns of one thread that stay in registers: with more, kernels with many operands spill.
static constexpr int64_t kColumnsInRegisters = 8;
static constexpr int64_t kMaxThreads = 512, kMaxThreadsOfLongRows = 1024;
static constexpr int kRowsOfWarps = 8;

/// Threads of a large GPU that run at a time; grids of this many rounds even out the last one.
static constexpr int64_t kResidentThreads = 132 * 2048, kRounds = 4;

/// Parts whose sums the second launch adds: few enough for their traffic not to count, enough to
/// keep a large GPU busy.
static constexpr int64_t kThreadsOfParts = kResidentThreads / 2;

static int64_t roundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

int64_t cuda::getComputeBytes(Type element) {
  return std::max<int64_t>(4, element.getIntOrFloatBitWidth() / 8);
}

bool cuda::isStoredExactly(Type memory, Type element) {
  return int64_t(memory.getIntOrFloatBitWidth()) / 8 == getComputeBytes(element);
}

static Value getYielded(plan::RowsOp rows, unsigned output) {
  return rows.getBody().front().getTerminator()->getOperand(output);
}

RowShape::RowShape(plan::RowsOp rows, const Kernel &kernel, const RowPhases &phases)
    : columns(kernel.columns) {
  chooseWidth(kernel, phases);
  chooseThreads(phases);
  collectOutputs(rows, kernel);
  collectScratch(rows, kernel, phases);
  int64_t limit = sums.empty() ? kResidentThreads * kRounds : kThreadsOfParts;
  maxBlocks = int(limit / blockThreads());
}

/// 16 bytes of the narrowest operand that is read or written by columns. Where rows stay in
/// registers from phase to phase, no more than 4 columns: twice as many would spill.
void RowShape::chooseWidth(const Kernel &kernel, const RowPhases &phases) {
  bool isNarrow = llvm::any_of(kernel.operands, [&](const KernelOperand &operand) {
    return operand.columns > 1 && operand.type.getIntOrFloatBitWidth() == 16;
  });
  for (width = isNarrow && phases.getLastLevel() == 0 ? 8 : 4; columns % width != 0;)
    width /= 2;
}

void RowShape::chooseThreads(const RowPhases &phases) {
  int64_t loads = columns / width, perThread = std::max<int64_t>(1, kColumnsInRegisters / width);
  if (loads <= 32 * perThread) {
    vectors = int((loads + 31) / 32);
    rowsPerBlock = kRowsOfWarps;
    return;
  }
  inRegisters = loads <= kMaxThreads * perThread;
  if (inRegisters) {
    vectors = int((loads + 255) / 256 <= perThread ? (loads + 255) / 256 : perThread);
    threads = int(roundUp((loads + vectors - 1) / vectors, 32));
    return;
  }
  bool reduces = llvm::any_of(
      phases.getPhases(), [](const RowPhases::Phase &phase) { return !phase.reductions.empty(); });
  threads = int(std::min(reduces ? kMaxThreadsOfLongRows : kMaxThreads, roundUp(loads, 32)));
}

/// Aligned for any load.
int64_t RowShape::reservePart(int64_t elements, Type element) {
  int64_t offset = partBytes;
  partBytes += roundUp(elements * getComputeBytes(element), 16);
  return offset;
}

void RowShape::collectOutputs(plan::RowsOp rows, const Kernel &kernel) {
  size_t inputs = rows.getInputs().size();
  for (unsigned output = 0; output < rows.getNumOutputs(); ++output) {
    Value value = getYielded(rows, output);
    Type element = getElementTypeOrSelf(value.getType());
    AccessKind access = rows.getOutputAccess(output).getKind();
    if (access == AccessKind::SumRows) {
      RowSum sum{output, value};
      for (unsigned other = 0; !inRegisters && other < rows.getNumOutputs(); ++other)
        if (rows.getOutputAccess(other).getKind() == AccessKind::Row &&
            getYielded(rows, other) == value &&
            isStoredExactly(kernel.operands[inputs + other].type, element))
          sum.rowOutput = int(other);
      if (sum.rowOutput < 0)
        sum.offset = reservePart(RowPhases::isRow(value) ? columns : 1, element);
      sums.push_back(sum);
    }
    if (access == AccessKind::ScatterAdd) {
      RowScatter scatter{output};
      auto argument = dyn_cast<BlockArgument>(value);
      if (argument && rows.getInputAccess(argument.getArgNumber()).getKind() == AccessKind::Row) {
        scatter.source = int(argument.getArgNumber());
      } else {
        scatter.offset = rowBytes;
        rowBytes += roundUp(columns * getComputeBytes(element), 16);
      }
      scatters.push_back(scatter);
    }
  }
}

/// Registers hold what phases share, or an output's row does; otherwise the workspace.
void RowShape::collectScratch(plan::RowsOp rows, const Kernel &kernel, const RowPhases &phases) {
  size_t inputs = rows.getInputs().size();
  for (const RowPhases::Slot &slot : phases.getSlots()) {
    Type element = getElementTypeOrSelf(slot.value.getType());
    bool inOutput =
        slot.output >= 0 && isStoredExactly(kernel.operands[inputs + slot.output].type, element);
    if (!inRegisters && !inOutput)
      scratch.push_back({slot.value, reservePart(columns, element)});
  }
}
