//===- EmitRows.cpp - one row kernel as CUDA C++ --------------------------===//
#include "EmitRows.h"

#include "seqpar/Target/CollectKernels.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::cuda;
using llvm::formatv;
using plan::AccessKind;

/// Threads of a multiprocessor that are to run at a time. The assembler then has 85 registers a
/// thread; left to itself it takes fewer and spills some.
static constexpr int kThreadsAtATime = 768;

RowEmitter::RowEmitter(Text &text, Kernel &kernel, plan::RowsOp rows)
    : text(text), kernel(kernel), rows(rows), phases(rows), shape(rows, kernel, phases) {
  nameValues();
}

void RowEmitter::nameValues() {
  for (BlockArgument argument : rows.getBody().getArguments())
    names[argument] =
        formatv("{0}{1}", RowPhases::isRow(argument) ? "x" : "s", argument.getArgNumber());
  unsigned number = 0;
  for (Operation &op : rows.getBody().front().without_terminator())
    for (Value result : op.getResults())
      if (!getConstantElement(result) && !isa<tensor::SplatOp, plan::RowIotaOp>(op))
        names[result] = formatv("v{0}", number++);
}

LogicalResult RowEmitter::emit() {
  kernel.cuda = {{}, shape.partBytes, shape.rowBytes};
  emitComment();
  if (hasRowFunction())
    emitRowFunction();
  if (!shape.sums.empty())
    emitSumsFunction();
  for (const RowScatter &scatter : shape.scatters)
    emitScatterFunction(scatter);
  return failure(failed);
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

/// The model's ops and their lines, and who does what.
void RowEmitter::emitComment() {
  auto [name, places] = StringRef(kernel.description).split(": ");
  text.blank();
  text.add(("// " + name).str());
  SmallVector<StringRef> lines;
  places.split(lines, ", ", -1, /*KeepEmpty=*/false);
  for (StringRef line : lines)
    text.add(("//   " + line).str());
  std::string columns = shape.columns == 1 ? "" : formatv(" of {0} columns", shape.columns).str();
  std::string owner =
      shape.isWarp() ? "a warp" : formatv("a block of {0} threads", shape.threads).str();
  text.line("// Each row{0} belongs to {1}.", columns, owner);
}

std::string RowEmitter::getOperandName(unsigned operand) const {
  unsigned inputs = rows.getInputs().size();
  return operand < inputs ? formatv("in{0}", operand).str()
                          : formatv("out{0}", operand - inputs).str();
}

void RowEmitter::openFunction(const std::string &symbol, int threads, bool hasWorkspace,
                              bool hasAccumulate) {
  SmallVector<std::string> parameters;
  for (auto [i, operand] : llvm::enumerate(kernel.operands)) {
    std::string type = getMemoryType(operand.type);
    if (type.empty()) {
      rows.emitOpError("has an operand of ") << operand.type << ", which CUDA kernels do not read";
      failed = true;
    }
    parameters.push_back(
        formatv("{0}{1} *{2}", operand.output ? "" : "const ", type, getOperandName(i)));
  }
  parameters.push_back("long long rows");
  if (hasWorkspace || hasAccumulate)
    parameters.push_back("unsigned char *workspace");
  if (hasAccumulate)
    parameters.push_back("int accumulate");
  text.line("extern \"C\" __global__ void __launch_bounds__({0}, {1})", threads,
            std::max(1, kThreadsAtATime / threads));
  std::string line = symbol + "(";
  for (auto [i, parameter] : llvm::enumerate(parameters)) {
    std::string next = parameter + (i + 1 < parameters.size() ? ", " : ") {");
    if (line.size() + next.size() > 100) {
      text.add(StringRef(line).rtrim());
      line = "    ";
    }
    line += next;
  }
  text.open(line);
}

/// Rows that only go to tables, as they are, need no function of their own.
bool RowEmitter::hasRowFunction() const {
  for (unsigned output = 0; output < rows.getNumOutputs(); ++output) {
    const RowScatter *scatter = findScatter(output);
    if (!scatter || scatter->source < 0)
      return true;
  }
  return false;
}

void RowEmitter::emitRowFunction() {
  kernel.cuda.launches.push_back(
      {kernel.symbol, shape.blockThreads(), shape.rowsPerBlock, shape.maxBlocks});
  openFunction(kernel.symbol, shape.blockThreads(), usesWorkspace(), false);
  emitBeforeRows();
  if (shape.isWarp())
    text.open(formatv("for (long long row = part; row < rows; row += gridDim.x * {0}ll) {{",
                      shape.rowsPerBlock)
                  .str());
  else
    text.open("for (long long row = part; row < rows; row += gridDim.x) {");
  emitRow();
  text.close();
  emitAfterRows();
  text.close();
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Scalars, sums and shared memory that live through all rows.
void RowEmitter::emitBeforeRows() {
  if (shape.isWarp()) {
    text.add("const int thread = threadIdx.x % 32;");
    text.line("const long long part = blockIdx.x * {0}ll + threadIdx.x / 32;", shape.rowsPerBlock);
  } else {
    text.add("const int thread = threadIdx.x;");
    text.add("const long long part = blockIdx.x;");
  }
  bool hasColumns = llvm::any_of(phases.getPhases(),
                                 [](const RowPhases::Phase &phase) { return !phase.isEmpty(); });
  if (shape.inRegisters && shape.vectors == 1 && hasColumns)
    text.line("const int column = thread * {0};", shape.width);
  for (BlockArgument argument : rows.getBody().getArguments())
    if (kernel.operands[argument.getArgNumber()].access == AccessKind::Scalar)
      text.line("const {0} {1} = {0}(*in{2});", getComputeType(argument.getType()), names[argument],
                argument.getArgNumber());
  declareSums();
  if (shape.inRegisters)
    loadBroadcasts();
  for (const ScratchRow &scratch : shape.scratch) {
    std::string type = getComputeType(getElementTypeOrSelf(scratch.value.getType()));
    text.line("{0} *const kept_{1} = {2};", type, names[scratch.value],
              getPartAddress(scratch.offset, type));
  }
  if (!shape.isWarp())
    for (const RowPhases::Phase &phase : phases.getPhases())
      for (plan::RowReduceOp reduce : phase.reductions)
        text.line("__shared__ {0} parts_{1}[{2}];", getComputeType(reduce.getType()),
                  names[reduce.getResult()], shape.threads / 32);
}

/// This part's sums over rows: in registers, or where they are in the workspace.
void RowEmitter::declareSums() {
  std::string vectors = shape.vectors > 1 ? formatv("[{0}]", shape.vectors).str() : "";
  for (const RowSum &sum : shape.sums) {
    std::string type = getComputeType(getElementTypeOrSelf(sum.value.getType()));
    if (sum.rowOutput >= 0)
      continue;
    if (!RowPhases::isRow(sum.value))
      text.line("{0} sum{1} = 0;", type, sum.output);
    else if (shape.inRegisters)
      text.line("{0} sum{1}{2}[{3}] = {{};", type, sum.output, vectors, shape.width);
    else
      text.line("{0} *const parts{1} = {2};", type, sum.output, getPartAddress(sum.offset, type));
  }
}

void RowEmitter::emitRow() {
  emitIndices();
  unsigned levels = 0;
  for (unsigned level = 0; level <= phases.getLastLevel(); ++level) {
    emitScalars(level);
    emitPhase(level);
    levels += !phases.getPhases()[level].reductions.empty();
  }
  emitScalarOutputs();
  // With more levels, the barrier of another one lies between a row's use and the next row's.
  if (levels == 1 && !shape.isWarp())
    text.add("__syncthreads(); // before the next row's parts replace these");
}

/// Scalars of the row, and rows of tables.
void RowEmitter::emitIndices() {
  for (BlockArgument argument : rows.getBody().getArguments())
    if (kernel.operands[argument.getArgNumber()].access == AccessKind::RowScalar)
      text.line("const {0} {1} = {0}(in{2}[row]);", getComputeType(argument.getType()),
                names[argument], argument.getArgNumber());
  for (auto [i, operand] : llvm::enumerate(kernel.operands))
    if (operand.index >= 0 && operand.access != AccessKind::ScatterAdd)
      text.line("const long long row_{0} = int(s{1}); // none when negative", getOperandName(i),
                operand.index);
}

/// Scalar ops that have all their operands before phase `level`.
void RowEmitter::emitScalars(unsigned level) {
  for (Operation &op : rows.getBody().front().without_terminator()) {
    for (Value result : op.getResults()) {
      if (RowPhases::isRow(result) || phases.getLevel(result) != level || result.use_empty() ||
          isa<plan::RowReduceOp>(op) || getConstantElement(result))
        continue;
      text.line("const {0} {1} = {2};", getComputeType(result.getType()), names[result],
                getExpressionOf(result, [&](Value value) { return getScalar(value); }));
    }
  }
}

std::string RowEmitter::getScalar(Value value) const {
  if (TypedAttr constant = getConstantElement(value))
    return getConstantText(constant);
  return names.lookup(value);
}

std::string RowEmitter::getExpressionOf(Value value, function_ref<std::string(Value)> get) {
  Operation *op = value.getDefiningOp();
  SmallVector<std::string> operands;
  for (Value operand : op->getOperands())
    operands.push_back(get(operand));
  std::string expression = getExpression(op, cast<OpResult>(value).getResultNumber(), operands);
  if (expression.empty()) {
    if (!failed)
      op->emitOpError("on these types is no op of CUDA row kernels");
    failed = true;
  }
  return expression;
}

/// Scalars that a row writes may replace some that its other threads read at its start.
void RowEmitter::emitScalarOutputs() {
  bool hasBarrier = false;
  for (const RowPhases::Phase &phase : phases.getPhases())
    hasBarrier |= !phase.reductions.empty();
  SmallVector<unsigned> written;
  for (unsigned output = 0; output < rows.getNumOutputs(); ++output) {
    Value value = getYielded(output);
    if (RowPhases::isRow(value))
      continue;
    if (getAccess(output) == AccessKind::SumRows)
      text.line("sum{0} += {1};", output, getScalar(value));
    else
      written.push_back(output);
  }
  if (written.empty())
    return;
  if (!hasBarrier)
    text.add(shape.isWarp() ? "__syncwarp();" : "__syncthreads();");
  text.open("if (thread == 0) {");
  for (unsigned output : written)
    text.line("out{0}[row] = {1}({2});", output, getMemoryType(getOutput(output).type),
              getScalar(getYielded(output)));
  text.close();
}

/// Each part leaves its sums in the workspace.
void RowEmitter::emitAfterRows() {
  bool hasRowSums = false;
  for (const RowSum &sum : shape.sums) {
    std::string type = getComputeType(getElementTypeOrSelf(sum.value.getType()));
    if (RowPhases::isRow(sum.value)) {
      hasRowSums |= shape.inRegisters;
      continue;
    }
    text.add("if (thread == 0)");
    text.line("  *{0} = sum{1};", getPartAddress(sum.offset, type), sum.output);
  }
  if (!hasRowSums)
    return;
  openColumns(/*usesColumn=*/true);
  for (const RowSum &sum : shape.sums)
    if (RowPhases::isRow(sum.value)) {
      std::string type = getComputeType(getElementTypeOrSelf(sum.value.getType()));
      text.line("store({0} + column, {1});", getPartAddress(sum.offset, type),
                getVector(formatv("sum{0}", sum.output)));
    }
  closeColumns();
}
