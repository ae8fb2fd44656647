//===- CollectKernels.cpp - distinct row kernels of a program -------------===//
#include "seqpar/Target/CollectKernels.h"

#include "mlir/IR/Matchers.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace seqpar;

TypedAttr seqpar::getConstantElement(Value value) {
  Attribute attribute;
  if (!matchPattern(value, m_Constant(&attribute)))
    return {};
  if (auto elements = dyn_cast<DenseElementsAttr>(attribute))
    return elements.isSplat() ? cast<TypedAttr>(elements.getSplatValue<Attribute>()) : TypedAttr();
  return dyn_cast<TypedAttr>(attribute);
}

//===----------------------------------------------------------------------===//
// What a body may hold
//===----------------------------------------------------------------------===//

static bool isNarrowFloat(Type element) { return element.isF16() || element.isBF16(); }

/// Floats of 16 bits are loaded, converted and stored, not computed with.
static LogicalResult verifyElementType(Operation *op, Type type) {
  Type element = getElementTypeOrSelf(type);
  if (element.isF32() || element.isF64() ||
      (element.isSignlessInteger() && element.getIntOrFloatBitWidth() <= 64) ||
      (isNarrowFloat(element) &&
       isa<arith::ConstantOp, arith::ExtFOp, arith::TruncFOp, plan::RowYieldOp, tensor::SplatOp>(
           op)))
    return success();
  return op->emitOpError("row kernels compute in f32, f64 and integers of at most 64 bits, found ")
         << element;
}

/// Functions of the math dialect beyond what processors have as an instruction.
static LogicalResult verifyMathOp(Operation *op) {
  if (isa<math::AbsFOp, math::AbsIOp, math::CeilOp, math::CopySignOp, math::FloorOp, math::FmaOp,
          math::RoundEvenOp, math::SqrtOp, math::RsqrtOp, math::TruncOp>(op))
    return success();
  if (!isa<math::ErfOp, math::ExpOp, math::LogOp, math::TanhOp>(op))
    return op->emitOpError("row kernels have no such function; write the body with exp, log, tanh, "
                           "erf, sqrt, rsqrt and arith ops");
  if (getElementTypeOrSelf(op->getResult(0).getType()).isF32())
    return success();
  return op->emitOpError("row kernels compute this function in f32, found ")
         << getElementTypeOrSelf(op->getResult(0).getType());
}

static LogicalResult verifyBodyOp(Operation *op, Block &body) {
  for (TypeRange types : {TypeRange(op->getOperandTypes()), TypeRange(op->getResultTypes())})
    for (Type type : types)
      if (failed(verifyElementType(op, type)))
        return failure();
  for (Value operand : op->getOperands())
    if (operand.getParentBlock() != &body && !getConstantElement(operand))
      return op->emitOpError("uses a value from outside of the row kernel; pass it as an input");
  if (isa<plan::RowReduceOp, plan::RowIotaOp, plan::RowRandomOp, plan::RowYieldOp, tensor::SplatOp>(
          op))
    return success();
  if (isa<arith::ConstantOp>(op)) {
    if (!getConstantElement(op->getResult(0)))
      return op->emitOpError("expected a constant with the same value in each column");
    return success();
  }
  if (isa<math::MathDialect>(op->getDialect()))
    return verifyMathOp(op);
  bool isElementwise =
      op->hasTrait<OpTrait::Elementwise>() && isa<arith::ArithDialect>(op->getDialect());
  if (!isElementwise || isa<arith::RemFOp>(op))
    return op->emitOpError("is not an op that row kernels compute; use elementwise arith and math "
                           "ops, tensor.splat, plan.row_reduce, plan.row_iota and plan.row_random");
  return success();
}

static LogicalResult verifyKernel(plan::RowsOp rows) {
  if (!rows.hasBufferForm())
    return rows.emitOpError("expected buffers as operands and outputs; run bufferize first");
  for (Value memory : llvm::concat<Value>(rows.getInputs(), rows.getOuts())) {
    auto type = dyn_cast<MemRefType>(memory.getType());
    if (!type || !type.getLayout().isIdentity())
      return rows.emitOpError("expected contiguous buffers, found ") << memory.getType();
    Type element = type.getElementType();
    if (!element.isF32() && !element.isF64() && !element.isSignlessInteger(32) &&
        !isNarrowFloat(element))
      return rows.emitOpError("expected buffers of f32, f64, bf16, f16 or i32, found ") << type;
  }
  Block &body = rows.getBody().front();
  for (Operation &op : body)
    if (failed(verifyBodyOp(&op, body)))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Structural equality, symbols and descriptions
//===----------------------------------------------------------------------===//

/// Equal text means equal code.
static std::string describeStructure(plan::RowsOp rows) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::DenseMap<Value, unsigned> numbers;
  os << rows.getInputAccessAttr() << rows.getOutputAccessAttr();
  for (Value argument : rows.getBody().getArguments()) {
    os << argument.getType() << ',';
    numbers.try_emplace(argument, numbers.size());
  }
  for (Operation &op : rows.getBody().front()) {
    os << '\n' << op.getName() << op.getAttrDictionary();
    for (Value operand : op.getOperands()) {
      auto number = numbers.find(operand);
      if (number != numbers.end())
        os << " %" << number->second;
      else
        os << ' ' << getConstantElement(operand) << ' ' << operand.getType();
    }
    for (Value result : op.getResults()) {
      os << ':' << result.getType();
      numbers.try_emplace(result, numbers.size());
    }
  }
  return text;
}

static std::string makeSymbol(StringRef name, size_t number) {
  std::string symbol = "rows_";
  for (char c : name)
    symbol += llvm::isAlnum(c) ? c : '_';
  return symbol + "_" + std::to_string(number);
}

static void collectLocations(Location location, std::vector<std::string> &names) {
  std::string name;
  if (auto fused = dyn_cast<FusedLoc>(location)) {
    for (Location part : fused.getLocations())
      collectLocations(part, names);
  } else if (auto named = dyn_cast<NameLoc>(location)) {
    std::vector<std::string> inner;
    collectLocations(named.getChildLoc(), inner);
    name = named.getName().str() + (inner.empty() ? "" : " " + inner.front());
  } else if (auto file = dyn_cast<FileLineColLoc>(location)) {
    name = llvm::formatv("{0}:{1}:{2}", file.getFilename().getValue(), file.getLine(),
                         file.getColumn());
  } else if (auto call = dyn_cast<CallSiteLoc>(location)) {
    collectLocations(call.getCallee(), names);
  }
  if (!name.empty() && !llvm::is_contained(names, name))
    names.push_back(name);
}

/// "NAME: LOCATION, LOCATION, ..." with at most eight locations.
static std::string describe(plan::RowsOp rows) {
  std::vector<std::string> names;
  collectLocations(rows.getLoc(), names);
  std::string text = rows.getName().str();
  for (size_t i = 0; i < std::min<size_t>(names.size(), 8); ++i)
    text += (i == 0 ? ": " : ", ") + names[i];
  if (names.size() > 8)
    text += " and " + std::to_string(names.size() - 8) + " more";
  return text;
}

FailureOr<KernelTable> seqpar::collectKernels(Operation *root) {
  KernelTable table;
  llvm::StringMap<int> known;
  WalkResult result = root->walk([&](plan::RowsOp rows) {
    if (failed(verifyKernel(rows)))
      return WalkResult::interrupt();
    auto [entry, isNew] = known.try_emplace(describeStructure(rows), table.kernels.size());
    table.indexOf[rows] = entry->second;
    if (isNew)
      table.kernels.push_back({makeSymbol(rows.getName(), table.kernels.size()),
                               getKernelOperands(rows), rows.getColumns(), describe(rows)});
    return WalkResult::advance();
  });
  if (result.wasInterrupted())
    return failure();
  return table;
}

std::vector<plan::RowsOp> seqpar::getKernelBodies(Operation *root, const KernelTable &table) {
  std::vector<plan::RowsOp> bodies(table.kernels.size());
  root->walk([&](plan::RowsOp rows) {
    auto kernel = table.indexOf.find(rows);
    if (kernel != table.indexOf.end() && !bodies[kernel->second])
      bodies[kernel->second] = rows;
  });
  return bodies;
}
