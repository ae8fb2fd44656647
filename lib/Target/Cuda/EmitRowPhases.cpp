//===- EmitRowPhases.cpp - columns of a row kernel as CUDA C++ ------------===//
#include "EmitRows.h"

#include "seqpar/Target/CollectKernels.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::cuda;
using llvm::formatv;
using plan::AccessKind;

static std::string getTypeOf(Value value) {
  return getComputeType(getElementTypeOrSelf(value.getType()));
}

static bool isRandom(Operation *op) { return isa_and_nonnull<plan::RowRandomOp>(op); }

/// Known without a statement: constants, copies of a scalar, column numbers.
static bool isAlias(Value value) {
  return getConstantElement(value) ||
         isa_and_nonnull<tensor::SplatOp, plan::RowIotaOp>(value.getDefiningOp());
}

/// Values that a phase has for a vector of columns at a time, before it looks at single elements.
bool RowEmitter::isVector(Value value, unsigned phase) const {
  const RowPhases::Slot *slot = phases.getSlot(value);
  return isa<BlockArgument>(value) || isRandom(value.getDefiningOp()) ||
         (slot && phase > slot->firstPhase);
}

void RowEmitter::emitPhase(unsigned number) {
  const RowPhases::Phase &phase = phases.getPhases()[number];
  if (phase.isEmpty())
    return;
  arrays.clear();
  SmallVector<Value> loads = declareArrays(number);
  for (plan::RowReduceOp reduce : phase.reductions)
    text.line("{0} part_{1} = {2};", getComputeType(reduce.getType()), names[reduce.getResult()],
              getNeutral(reduce));
  openColumns(/*usesColumn=*/true);
  for (Value value : loads)
    emitLoad(value, number);
  // All of a row's loads are under way before the first store, which could be to what they read.
  if (shape.inRegisters && shape.vectors > 1 && !loads.empty()) {
    closeColumns();
    openColumns(usesColumn(number));
  }
  emitElements(number);
  emitStores(number);
  closeColumns();
  emitReductions(phase);
}

//===----------------------------------------------------------------------===//
// Loops over columns
//===----------------------------------------------------------------------===//

/// Whether elements or stores of a phase name the column.
bool RowEmitter::usesColumn(unsigned number) {
  return !listStores(number).empty() ||
         llvm::any_of(phases.getPhases()[number].rows, [](Value value) {
           return isa_and_nonnull<plan::RowIotaOp>(value.getDefiningOp());
         });
}

/// The thread's columns of a row: a scope only when they are one vector.
void RowEmitter::openColumns(bool usesColumn) {
  if (!shape.inRegisters) {
    text.open(formatv("for (int column = thread * {0}; column < {1}; column += {2}) {{",
                      shape.width, shape.columns, shape.stride())
                  .str());
    return;
  }
  if (shape.vectors > 1) {
    text.add("#pragma unroll");
    text.open(formatv("for (int v = 0; v < {0}; ++v) {{", shape.vectors).str());
    if (usesColumn || !shape.isExact())
      text.line("const int column = (v * {0} + thread) * {1};", shape.threads, shape.width);
  }
  if (!shape.isExact())
    text.open(formatv("if (column < {0}) {{", shape.columns).str());
  else if (shape.vectors == 1)
    text.open("{");
}

void RowEmitter::closeColumns() {
  if (shape.inRegisters && shape.vectors > 1 && !shape.isExact())
    text.close();
  text.close();
}

/// An array of all the thread's columns at the vector at hand.
std::string RowEmitter::getVector(const std::string &array) const {
  return shape.inRegisters && shape.vectors > 1 ? array + "[v]" : array;
}

void RowEmitter::declareArray(const std::string &type, const std::string &name) {
  std::string vectors;
  if (shape.inRegisters && shape.vectors > 1)
    vectors = formatv("[{0}]", shape.vectors);
  text.line("{0} {1}{2}[{3}];", type, name, vectors, shape.width);
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

/// Names the arrays of a phase and returns those that it has to load. In registers, arrays live as
/// long as the row and are loaded once; all inputs at once, before the row's first barrier.
SmallVector<Value> RowEmitter::declareArrays(unsigned number) {
  SmallVector<Value> loads;
  if (shape.inRegisters)
    for (const RowPhases::Phase &phase : phases.getPhases().drop_front(number))
      for (Value value : phase.rows)
        if (isa<BlockArgument>(value) && kept.insert(value).second) {
          declareArray(getTypeOf(value), names[value]);
          loads.push_back(value);
        }
  for (Value value : phases.getPhases()[number].rows) {
    const RowPhases::Slot *slot = phases.getSlot(value);
    bool keeps =
        shape.inRegisters && slot && !isRandom(value.getDefiningOp()) && !isa<BlockArgument>(value);
    std::string name = keeps ? "kept_" + names[value] : names[value];
    if (keeps && number == slot->firstPhase)
      declareArray(getTypeOf(value), name);
    if (!isVector(value, number))
      continue;
    arrays[value] = name;
    if (keeps || (shape.inRegisters && !kept.insert(value).second))
      continue;
    loads.push_back(value);
    if (shape.inRegisters)
      declareArray(getTypeOf(value), name);
  }
  return loads;
}

/// Inputs that are the same for all rows.
void RowEmitter::loadBroadcasts() {
  SmallVector<Value> loads;
  for (const RowPhases::Phase &phase : phases.getPhases())
    for (Value value : phase.rows) {
      auto argument = dyn_cast<BlockArgument>(value);
      if (argument && kernel.operands[argument.getArgNumber()].access == AccessKind::Broadcast &&
          kept.insert(value).second) {
        declareArray(getTypeOf(value), names[value]);
        loads.push_back(value);
      }
    }
  if (loads.empty())
    return;
  openColumns(/*usesColumn=*/true);
  for (Value value : loads)
    emitLoad(value, 0);
  closeColumns();
}

void RowEmitter::emitLoad(Value value, unsigned number) {
  std::string name = names[value];
  if (!shape.inRegisters)
    declareArray(getTypeOf(value), name);
  const RowPhases::Slot *slot = phases.getSlot(value);
  if (slot && number > slot->firstPhase && !shape.inRegisters) {
    text.line("load({0}, {1});", name, getSlotAddress(*slot));
  } else if (auto argument = dyn_cast<BlockArgument>(value)) {
    unsigned input = argument.getArgNumber();
    bool isGather = kernel.operands[input].access == AccessKind::Gather;
    text.line("load({0}, {1}{2});", getVector(name), getAddress(input),
              isGather ? formatv(", row_in{0} >= 0", input).str() : "");
  } else {
    auto random = value.getDefiningOp<plan::RowRandomOp>();
    text.line("draw({0}, column, {1}, {2}, {3}, {4}, {5});", getVector(name),
              getScalar(random.getSeed()), getScalar(random.getStep()), getScalar(random.getSite()),
              getScalar(random.getSample()), getScalar(random.getPosition()));
  }
}

/// Of the present columns of an operand's row.
std::string RowEmitter::getAddress(unsigned operand) const {
  std::string name = getOperandName(operand);
  switch (kernel.operands[operand].access) {
  case AccessKind::Row:
    return formatv("{0} + row * {1} + column", name, shape.columns);
  case AccessKind::Gather:
  case AccessKind::Scatter:
    return formatv("{0} + row_{0} * {1} + column", name, shape.columns);
  default:
    return name + " + column";
  }
}

/// Where a row too long for registers keeps a value between phases.
std::string RowEmitter::getSlotAddress(const RowPhases::Slot &slot) const {
  for (const ScratchRow &scratch : shape.scratch)
    if (scratch.value == slot.value)
      return "kept_" + names.lookup(slot.value) + " + column";
  return getAddress(unsigned(rows.getInputs().size()) + unsigned(slot.output));
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

const RowSum *RowEmitter::findSum(unsigned output) const {
  for (const RowSum &sum : shape.sums)
    if (sum.output == output)
      return &sum;
  return nullptr;
}

const RowScatter *RowEmitter::findScatter(unsigned output) const {
  for (const RowScatter &scatter : shape.scatters)
    if (scatter.output == output)
      return &scatter;
  return nullptr;
}

/// Element i of a row value, or a scalar.
std::string RowEmitter::getElement(Value value) const {
  if (!RowPhases::isRow(value) || getConstantElement(value))
    return getScalar(value);
  if (auto splat = value.getDefiningOp<tensor::SplatOp>())
    return getScalar(splat.getInput());
  if (isa_and_nonnull<plan::RowIotaOp>(value.getDefiningOp())) {
    std::string type = getTypeOf(value);
    return type == "unsigned" ? "unsigned(column + i)" : "(" + type + ")(column + i)";
  }
  auto array = arrays.find(value);
  return array == arrays.end() ? names.lookup(value) : getVector(array->second) + "[i]";
}

/// Stores of outputs and of values for later phases. Sums in registers need none.
SmallVector<RowEmitter::Store> RowEmitter::listStores(unsigned number) {
  SmallVector<Store> stores;
  unsigned inputs = rows.getInputs().size();
  if (!shape.inRegisters)
    for (const RowPhases::Slot &slot : phases.getSlots()) {
      bool isScratch = llvm::any_of(
          shape.scratch, [&](const ScratchRow &scratch) { return scratch.value == slot.value; });
      if (slot.firstPhase == number && (isScratch || !slot.isOutput))
        stores.push_back({slot.value, "for_" + names[slot.value], getSlotAddress(slot), ""});
    }
  for (unsigned output : phases.getPhases()[number].stores) {
    Store store{getYielded(output), formatv("y{0}", output).str(), getAddress(inputs + output), ""};
    if (getAccess(output) == AccessKind::Scatter)
      store.condition = formatv("row_out{0} >= 0", output);
    if (getAccess(output) == AccessKind::SumRows)
      continue;
    if (const RowScatter *scatter = findScatter(output)) {
      if (scatter->source >= 0)
        continue;
      store.address = formatv("reinterpret_cast<{0} *>(workspace + row * {1} + {2}) + column",
                              getTypeOf(store.value), shape.rowBytes, scatter->offset);
    }
    stores.push_back(store);
  }
  return stores;
}

/// Sums over rows that this phase adds to in memory: rows too long for registers.
SmallVector<unsigned> RowEmitter::listSumsInMemory(unsigned number) {
  SmallVector<unsigned> sums;
  for (unsigned output : phases.getPhases()[number].stores)
    if (const RowSum *sum = findSum(output); sum && !shape.inRegisters && sum->rowOutput < 0)
      sums.push_back(output);
  return sums;
}

/// What a phase does with one element, but for outputs: a line each.
SmallVector<std::string> RowEmitter::listComputations(unsigned number) {
  const RowPhases::Phase &phase = phases.getPhases()[number];
  SmallVector<std::string> lines;
  for (Value value : phase.rows)
    if (!isVector(value, number) && !isAlias(value)) {
      lines.push_back(
          formatv("const {0} {1} = {2};", getTypeOf(value), names[value],
                  getExpressionOf(value, [&](Value operand) { return getElement(operand); })));
      const RowPhases::Slot *slot = phases.getSlot(value);
      if (shape.inRegisters && slot && slot->firstPhase == number)
        lines.push_back(formatv("{0}[i] = {1};", getVector("kept_" + names[value]), names[value]));
    }
  for (plan::RowReduceOp reduce : phase.reductions) {
    std::string name = "part_" + names[reduce.getResult()], x = getElement(reduce.getInput());
    if (reduce.getKind() == plan::ReduceKind::Add)
      lines.push_back(formatv("{0} += {1};", name, x));
    else
      lines.push_back(formatv("{0} = {1}::combine({0}, {2});", name, getReduction(reduce), x));
  }
  return lines;
}

void RowEmitter::emitElements(unsigned number) {
  SmallVector<std::string> lines = listComputations(number);
  for (const Store &store : listStores(number))
    if (!arrays.contains(store.value)) {
      declareLocal(getTypeOf(store.value), store.array);
      lines.push_back(formatv("{0}[i] = {1};", store.array, getElement(store.value)));
    }
  for (unsigned output : listSumsInMemory(number)) {
    declareLocal(getTypeOf(getYielded(output)), formatv("sum{0}", output));
    text.line("load(sum{0}, parts{0} + column, row != part);", output);
  }
  for (unsigned output : phases.getPhases()[number].stores)
    if (const RowSum *sum = findSum(output); sum && sum->rowOutput < 0)
      lines.push_back(
          formatv("{0}[i] += {1};", getVector(formatv("sum{0}", output)), getElement(sum->value)));
  if (lines.empty())
    return;
  text.add("#pragma unroll");
  text.open(formatv("for (int i = 0; i < {0}; ++i) {{", shape.width).str());
  for (const std::string &line : lines)
    text.add(line);
  text.close();
}

void RowEmitter::declareLocal(const std::string &type, const std::string &name) {
  text.line("{0} {1}[{2}];", type, name, shape.width);
}

void RowEmitter::emitStores(unsigned number) {
  for (const Store &store : listStores(number)) {
    auto array = arrays.find(store.value);
    if (!store.condition.empty())
      text.line("if ({0})", store.condition);
    text.line("{0}store({1}, {2});", store.condition.empty() ? "" : "  ", store.address,
              array == arrays.end() ? store.array : getVector(array->second));
  }
  for (unsigned output : listSumsInMemory(number))
    text.line("store(parts{0} + column, sum{0});", output);
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

std::string RowEmitter::getReduction(plan::RowReduceOp reduce) const {
  if (reduce.getKind() == plan::ReduceKind::Add)
    return "Add";
  return isa<FloatType>(reduce.getType()) ? "Max" : "SignedMax";
}

std::string RowEmitter::getNeutral(plan::RowReduceOp reduce) {
  Type element = reduce.getType();
  if (reduce.getKind() == plan::ReduceKind::Add)
    return "0";
  if (auto floating = dyn_cast<FloatType>(element))
    return getConstantText(
        FloatAttr::get(floating, APFloat::getInf(floating.getFloatSemantics(), true)));
  return getConstantText(
      IntegerAttr::get(element, APInt::getSignedMinValue(element.getIntOrFloatBitWidth())));
}

void RowEmitter::emitReductions(const RowPhases::Phase &phase) {
  if (phase.reductions.empty())
    return;
  if (!shape.isWarp()) {
    for (plan::RowReduceOp reduce : phase.reductions)
      text.line("leavePart<{0}>(parts_{1}, part_{1});", getReduction(reduce),
                names[reduce.getResult()]);
    text.add("__syncthreads();");
  }
  for (plan::RowReduceOp reduce : phase.reductions) {
    std::string type = getComputeType(reduce.getType()), name = names[reduce.getResult()];
    if (shape.isWarp())
      text.line("const {0} {1} = reduceWarp<{2}>(part_{1});", type, name, getReduction(reduce));
    else
      text.line("const {0} {1} = reduceParts<{2}, {3}>(parts_{1}, {0}({4}));", type, name,
                getReduction(reduce), shape.threads / 32, getNeutral(reduce));
  }
}
