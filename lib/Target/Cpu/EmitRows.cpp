//===- EmitRows.cpp - one row kernel as a function of vectors -------------===//
#include "EmitRows.h"

#include "seqpar/Target/CollectKernels.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::cpu;
using plan::AccessKind;

RowEmitter::RowEmitter(OpBuilder &builder, const Kernel &kernel, plan::RowsOp rows)
    : b(rows.getLoc(), builder), kernel(kernel), rows(rows), phases(rows), columns(kernel.columns),
      pointerType(LLVM::LLVMPointerType::get(builder.getContext())) {}

void RowEmitter::emit() {
  Type i64 = b.getI64Type();
  auto function =
      func::FuncOp::create(b, kernel.symbol, b.getFunctionType({pointerType, i64, i64}, {}));
  OpBuilder::InsertionGuard guard(b);
  Block *entry = function.addEntryBlock();
  b.setInsertionPointToStart(entry);
  loadOperands();
  allocateScratch();
  Value one = makeInteger(1);
  auto loop = scf::ForOp::create(b, entry->getArgument(1), entry->getArgument(2), one);
  func::ReturnOp::create(b);
  b.setInsertionPointToStart(loop.getBody());
  emitRow(loop.getInductionVar());
}

void RowEmitter::loadOperands() {
  Value array = b.getInsertionBlock()->getArgument(0);
  for (size_t i = 0; i < kernel.operands.size(); ++i)
    pointers.push_back(LLVM::LoadOp::create(
        b, pointerType,
        LLVM::GEPOp::create(b, pointerType, pointerType, array, ArrayRef<LLVM::GEPArg>{int32_t(i)}),
        8));
  for (auto [i, argument] : llvm::enumerate(rows.getBody().getArguments()))
    if (kernel.operands[i].access == AccessKind::Scalar)
      uniform[argument] = load(argument.getType(), pointers[i]);
}

void RowEmitter::allocateScratch() {
  for (const RowPhases::Slot &slot : phases.getSlots()) {
    if (slot.output >= 0)
      continue;
    Type element = cast<RankedTensorType>(slot.value.getType()).getElementType();
    scratch[slot.value] =
        LLVM::AllocaOp::create(b, pointerType, element, makeInteger(columns), /*alignment=*/64);
  }
}

void RowEmitter::emitRow(Value row) {
  locateRows(row);
  for (unsigned level = 0; level <= phases.getLastLevel(); ++level) {
    emitScalars(level);
    emitPhase(level);
  }
  storeScalars();
}

//===----------------------------------------------------------------------===//
// Scalars of a row
//===----------------------------------------------------------------------===//

/// Points at the row of each operand and loads the scalars that belong to it.
void RowEmitter::locateRows(Value row) {
  scalars = uniform;
  rowPointers = pointers;
  Value offset = arith::MulIOp::create(b, row, makeInteger(columns));
  for (auto [i, operand] : llvm::enumerate(kernel.operands)) {
    if (operand.access == AccessKind::Row)
      rowPointers[i] = makePointer(operand.type, pointers[i], offset);
    if (operand.access == AccessKind::RowScalar)
      rowPointers[i] = makePointer(operand.type, pointers[i], row);
    if (operand.access == AccessKind::RowScalar && !operand.output)
      scalars[rows.getBody().getArgument(i)] = load(operand.type, rowPointers[i]);
  }
  for (auto [i, operand] : llvm::enumerate(kernel.operands)) {
    if (operand.index < 0)
      continue;
    Value index = scalars.lookup(rows.getBody().getArgument(operand.index));
    Value zero = makeInteger(0);
    index = arith::ExtSIOp::create(b, b.getI64Type(), index);
    isPresent[i] = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, index, zero);
    // Row 0 stands in for a negative number, so that a gather can load without a branch.
    index = arith::MaxSIOp::create(b, index, zero);
    Value start = arith::MulIOp::create(b, index, makeInteger(columns));
    rowPointers[i] = makePointer(operand.type, pointers[i], start);
  }
}

/// Scalar ops that have all their operands before phase `level`.
void RowEmitter::emitScalars(unsigned level) {
  for (Operation &op : rows.getBody().front().without_terminator()) {
    if (op.getNumResults() == 0 || RowPhases::isRow(op.getResult(0)) ||
        phases.getLevel(op.getResult(0)) != level || isa<plan::RowReduceOp>(op))
      continue;
    IRMapping mapping;
    for (Value operand : op.getOperands())
      mapping.map(operand, getScalar(operand));
    Operation *copy = b.clone(op, mapping);
    for (auto [from, to] : llvm::zip(op.getResults(), copy->getResults()))
      scalars[from] = to;
  }
}

void RowEmitter::storeScalars() {
  Operation *yield = rows.getBody().front().getTerminator();
  for (auto [output, value] : llvm::enumerate(yield->getOperands())) {
    if (RowPhases::isRow(value))
      continue;
    Value scalar = getScalar(value);
    if (rows.getOutputAccess(output).getKind() == AccessKind::SumRows)
      scalar = add(load(scalar.getType(), getOutputPointer(output)), scalar);
    store(scalar, getOutputPointer(output));
  }
}

//===----------------------------------------------------------------------===//
// Columns
//===----------------------------------------------------------------------===//

/// Vectors that one iteration handles: several independent accumulators hide the latency of a
/// reduction's additions and keep its rounding small; other phases gain nothing.
static unsigned chooseCopies(const RowPhases::Phase &phase) {
  if (phase.reductions.empty() || phase.cost > 40)
    return 1;
  return phase.reductions.size() == 1 && phase.cost <= 10 ? 4 : 2;
}

void RowEmitter::emitPhase(unsigned number) {
  const RowPhases::Phase &phase = phases.getPhases()[number];
  if (phase.isEmpty())
    return;
  SmallVector<plan::RowReduceOp> reduceOps = phase.reductions;
  size_t reductions = reduceOps.size();
  int64_t vectors = columns / kVectorColumns, tail = columns % kVectorColumns;
  unsigned copies = std::clamp<int64_t>(vectors, 1, chooseCopies(phase));

  Accumulators accumulators;
  for (unsigned copy = 0; vectors > 0 && copy < copies; ++copy)
    for (plan::RowReduceOp reduce : phase.reductions)
      accumulators.push_back(makeNeutral(reduce, kVectorColumns));
  accumulators = emitVectorLoop(number, vectors, copies, accumulators);
  MutableArrayRef<Value> all = accumulators;
  for (int64_t vector = vectors / copies * copies; vector < vectors; ++vector)
    emitColumns(number, makeInteger(vector * kVectorColumns), kVectorColumns,
                all.slice(vector % copies * reductions, reductions));
  Accumulators tails;
  if (tail > 0) {
    for (plan::RowReduceOp reduce : phase.reductions)
      tails.push_back(makeNeutral(reduce, tail));
    emitColumns(number, makeInteger(vectors * kVectorColumns), tail, tails);
  }
  for (auto [i, reduce] : llvm::enumerate(reduceOps)) {
    Value result;
    for (size_t copy = 0; copy * reductions < all.size(); ++copy) {
      Value part = all[copy * reductions + i];
      result = result ? combine(reduce.getKind(), result, part) : part;
    }
    if (result)
      result = reduceVector(reduce.getKind(), result);
    if (tail > 0) {
      Value part = reduceVector(reduce.getKind(), tails[i]);
      result = result ? combine(reduce.getKind(), result, part) : part;
    }
    scalars[reduce.getResult()] = result;
  }
}

RowEmitter::Accumulators RowEmitter::emitVectorLoop(unsigned phase, int64_t vectors,
                                                    unsigned copies, ValueRange accumulators) {
  int64_t iterations = vectors / copies;
  if (iterations == 0)
    return llvm::to_vector(accumulators);
  int64_t step = copies * kVectorColumns;
  auto loop = scf::ForOp::create(b, makeInteger(0), makeInteger(iterations * step),
                                 makeInteger(step), accumulators);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Accumulators inside(loop.getRegionIterArgs().begin(), loop.getRegionIterArgs().end());
  size_t reductions = phases.getPhases()[phase].reductions.size();
  for (unsigned copy = 0; copy < copies; ++copy) {
    Value column = loop.getInductionVar();
    if (copy > 0)
      column = arith::AddIOp::create(b, column, makeInteger(copy * kVectorColumns));
    emitColumns(phase, column, kVectorColumns,
                MutableArrayRef<Value>(inside).slice(copy * reductions, reductions));
  }
  if (!inside.empty())
    scf::YieldOp::create(b, inside);
  return Accumulators(loop.getResults());
}

/// All of a phase for `width` columns: every load comes before the first store to an output that
/// may share an input's buffer.
void RowEmitter::emitColumns(unsigned number, Value column, int64_t width,
                             MutableArrayRef<Value> accumulators) {
  const RowPhases::Phase &phase = phases.getPhases()[number];
  Vectors vectors{column, width};
  for (Value value : phase.rows)
    if (!vectors.values.contains(value))
      vectors.values[value] = computeRowValue(value, number, vectors);
  SmallVector<plan::RowReduceOp> reductions = phase.reductions;
  for (auto [i, reduce] : llvm::enumerate(reductions))
    accumulators[i] =
        combine(reduce.getKind(), accumulators[i], getOperand(reduce.getInput(), vectors));
  for (const RowPhases::Slot &slot : phases.getSlots())
    if (slot.firstPhase == number && !slot.isOutput)
      store(vectors.values[slot.value],
            makePointer(cast<RankedTensorType>(slot.value.getType()).getElementType(),
                        getSlotPointer(slot), column));
  for (unsigned output : phase.stores)
    storeOutput(output, vectors);
}

Value RowEmitter::computeRowValue(Value value, unsigned phase, Vectors &vectors) {
  if (auto argument = dyn_cast<BlockArgument>(value))
    return loadArgument(argument, vectors);
  Type element = cast<RankedTensorType>(value.getType()).getElementType();
  auto type = VectorType::get({vectors.width}, element);
  const RowPhases::Slot *slot = phases.getSlot(value);
  if (slot && phase > slot->firstPhase)
    return load(type, makePointer(element, getSlotPointer(*slot), vectors.column));
  Operation *op = value.getDefiningOp();
  if (auto splat = dyn_cast<tensor::SplatOp>(op))
    return vector::BroadcastOp::create(b, type, getScalar(splat.getInput()));
  if (isa<plan::RowIotaOp>(op)) {
    SmallVector<Attribute> numbers;
    for (int64_t i = 0; i < vectors.width; ++i)
      numbers.push_back(b.getIntegerAttr(element, i));
    Value steps = arith::ConstantOp::create(b, DenseElementsAttr::get(type, numbers));
    Value first = vectors.column;
    if (element.getIntOrFloatBitWidth() < 64)
      first = arith::TruncIOp::create(b, element, first);
    return arith::AddIOp::create(b, steps, vector::BroadcastOp::create(b, type, first));
  }
  if (auto random = dyn_cast<plan::RowRandomOp>(op))
    return emitRandom(b, vectors.column, vectors.width,
                      {getScalar(random.getSeed()), getScalar(random.getStep()),
                       getScalar(random.getSite()), getScalar(random.getSample()),
                       getScalar(random.getPosition())});
  IRMapping mapping;
  for (Value operand : op->getOperands())
    mapping.map(operand, getOperand(operand, vectors));
  Operation *copy = b.clone(*op, mapping);
  for (auto [from, to] : llvm::zip(op->getResults(), copy->getResults())) {
    Type resultElement = cast<RankedTensorType>(from.getType()).getElementType();
    to.setType(VectorType::get({vectors.width}, resultElement));
    vectors.values[from] = to;
  }
  return vectors.values[value];
}

/// Floats of 16 bits are moved as integers: LLVM may widen and round what it moves as floats, and
/// calls a library to do so.
static Type getMemoryType(Type type) {
  Type element = getElementTypeOrSelf(type);
  if (!element.isBF16() && !element.isF16())
    return type;
  Type i16 = IntegerType::get(type.getContext(), 16);
  auto vector = dyn_cast<VectorType>(type);
  return vector ? Type(vector.clone(i16)) : i16;
}

Value RowEmitter::loadArgument(BlockArgument argument, Vectors &vectors) {
  unsigned number = argument.getArgNumber();
  Type element = cast<RankedTensorType>(argument.getType()).getElementType();
  auto type = VectorType::get({vectors.width}, element);
  Value value = load(type, makePointer(element, rowPointers[number], vectors.column));
  if (!isPresent.contains(number))
    return value;
  Type bits = getMemoryType(type);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(bits));
  return castBits(type, arith::SelectOp::create(b, isPresent[number], castBits(bits, value), zero));
}

void RowEmitter::storeOutput(unsigned output, Vectors &vectors) {
  Value value = getOperand(rows.getBody().front().getTerminator()->getOperand(output), vectors);
  Type element = cast<VectorType>(value.getType()).getElementType();
  Value pointer = makePointer(element, getOutputPointer(output), vectors.column);
  AccessKind access = rows.getOutputAccess(output).getKind();
  OpBuilder::InsertionGuard guard(b);
  if (access == AccessKind::Scatter || access == AccessKind::ScatterAdd) {
    auto branch =
        scf::IfOp::create(b, isPresent[rows.getInputs().size() + output], /*withElseRegion=*/false);
    b.setInsertionPointToStart(branch.thenBlock());
  }
  if (access == AccessKind::SumRows || access == AccessKind::ScatterAdd)
    value = add(load(value.getType(), pointer), value);
  store(value, pointer);
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

Value RowEmitter::add(Value x, Value y) {
  if (isa<FloatType>(getElementTypeOrSelf(x.getType())))
    return arith::AddFOp::create(b, x, y);
  return arith::AddIOp::create(b, x, y);
}

/// `y` joins the accumulator `x`. A maximum keeps the accumulator when `y` is NaN, as the vector
/// instruction does.
Value RowEmitter::combine(plan::ReduceKind kind, Value x, Value y) {
  if (kind == plan::ReduceKind::Add)
    return add(x, y);
  if (!isa<FloatType>(getElementTypeOrSelf(x.getType())))
    return arith::MaxSIOp::create(b, x, y);
  Value greater = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, y, x);
  return arith::SelectOp::create(b, greater, y, x);
}

Value RowEmitter::makeNeutral(plan::RowReduceOp reduce, int64_t width) {
  Type element = reduce.getType();
  auto type = VectorType::get({width}, element);
  Attribute value = b.getZeroAttr(element);
  if (reduce.getKind() == plan::ReduceKind::Max) {
    if (auto floating = dyn_cast<FloatType>(element))
      value = b.getFloatAttr(element, APFloat::getInf(floating.getFloatSemantics(), true));
    else
      value = b.getIntegerAttr(element, APInt::getSignedMinValue(element.getIntOrFloatBitWidth()));
  }
  return arith::ConstantOp::create(b, DenseElementsAttr::get(type, value));
}

/// The flags allow a tree of vector instructions; accumulators are never NaN in a maximum.
Value RowEmitter::reduceVector(plan::ReduceKind kind, Value vector) {
  bool floating = isa<FloatType>(getElementTypeOrSelf(vector.getType()));
  if (kind == plan::ReduceKind::Add)
    return vector::ReductionOp::create(b, vector::CombiningKind::ADD, vector,
                                       floating ? arith::FastMathFlags::reassoc
                                                : arith::FastMathFlags::none);
  if (!floating)
    return vector::ReductionOp::create(b, vector::CombiningKind::MAXSI, vector);
  return vector::ReductionOp::create(b, vector::CombiningKind::MAXNUMF, vector,
                                     arith::FastMathFlags::nnan | arith::FastMathFlags::nsz);
}

//===----------------------------------------------------------------------===//
// Values and memory
//===----------------------------------------------------------------------===//

Value RowEmitter::getScalar(Value value) {
  if (Value known = scalars.lookup(value))
    return known;
  return arith::ConstantOp::create(b, getConstantElement(value));
}

Value RowEmitter::getOperand(Value value, Vectors &vectors) {
  if (!RowPhases::isRow(value))
    return getScalar(value);
  if (Value known = vectors.values.lookup(value))
    return known;
  TypedAttr element = getConstantElement(value);
  auto type = VectorType::get({vectors.width}, element.getType());
  return arith::ConstantOp::create(b, DenseElementsAttr::get(type, Attribute(element)));
}

Value RowEmitter::getSlotPointer(const RowPhases::Slot &slot) {
  return slot.output >= 0 ? getOutputPointer(slot.output) : scratch[slot.value];
}

Value RowEmitter::makeInteger(int64_t value) {
  return arith::ConstantOp::create(b, b.getI64IntegerAttr(value));
}

Value RowEmitter::makePointer(Type element, Value base, Value index) {
  return LLVM::GEPOp::create(b, pointerType, element, base, ArrayRef<LLVM::GEPArg>{index});
}

static unsigned getAlignment(Type type) {
  return std::max(1u, getElementTypeOrSelf(type).getIntOrFloatBitWidth() / 8);
}

Value RowEmitter::castBits(Type type, Value value) {
  return value.getType() == type ? value : arith::BitcastOp::create(b, type, value);
}

Value RowEmitter::load(Type type, Value pointer) {
  return castBits(type, LLVM::LoadOp::create(b, getMemoryType(type), pointer, getAlignment(type)));
}

void RowEmitter::store(Value value, Value pointer) {
  Value bits = castBits(getMemoryType(value.getType()), value);
  LLVM::StoreOp::create(b, bits, pointer, getAlignment(bits.getType()));
}
