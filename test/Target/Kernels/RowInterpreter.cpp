//===- RowInterpreter.cpp - row kernels in double precision ---------------===//
#include "RowInterpreter.h"

#include "seqpar/rt/Philox.h"

#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringSwitch.h"

#include <cmath>
#include <functional>

using namespace mlir;
using namespace seqpar;
using plan::AccessKind;
using seqpar::test::Elements;

namespace {

/// One element of a row or a scalar.
struct Number {
  double f = 0;
  int64_t i = 0;
};
using Row = std::vector<Number>; // one element for scalars

[[noreturn]] void unknown(Operation *op) {
  llvm::report_fatal_error("the interpreter does not know " + op->getName().getStringRef());
}

int64_t wrap(int64_t value, Type type) {
  unsigned bits = type.getIntOrFloatBitWidth();
  return bits == 1 ? value & 1 : APInt(64, value).trunc(bits).getSExtValue();
}

uint64_t toUnsigned(int64_t value, Type type) {
  return APInt(64, value).trunc(type.getIntOrFloatBitWidth()).getZExtValue();
}

bool compare(arith::CmpFPredicate predicate, double x, double y) {
  switch (predicate) {
  case arith::CmpFPredicate::OEQ:
    return x == y;
  case arith::CmpFPredicate::OGT:
    return x > y;
  case arith::CmpFPredicate::OGE:
    return x >= y;
  case arith::CmpFPredicate::OLT:
    return x < y;
  case arith::CmpFPredicate::OLE:
    return x <= y;
  default:
    llvm::report_fatal_error("the interpreter does not know this comparison");
  }
}

bool compare(arith::CmpIPredicate predicate, int64_t x, int64_t y, Type type) {
  uint64_t ux = toUnsigned(x, type), uy = toUnsigned(y, type);
  switch (predicate) {
  case arith::CmpIPredicate::eq:
    return x == y;
  case arith::CmpIPredicate::ne:
    return x != y;
  case arith::CmpIPredicate::slt:
    return x < y;
  case arith::CmpIPredicate::sle:
    return x <= y;
  case arith::CmpIPredicate::sgt:
    return x > y;
  case arith::CmpIPredicate::sge:
    return x >= y;
  case arith::CmpIPredicate::ult:
    return ux < uy;
  case arith::CmpIPredicate::ule:
    return ux <= uy;
  case arith::CmpIPredicate::ugt:
    return ux > uy;
  case arith::CmpIPredicate::uge:
    return ux >= uy;
  }
  llvm_unreachable("all predicates are listed");
}

using FloatFunction = double (*)(double, double, double);

FloatFunction findFloatFunction(StringRef name) {
  return llvm::StringSwitch<FloatFunction>(name)
      .Case("arith.addf", [](double x, double y, double) { return x + y; })
      .Case("arith.subf", [](double x, double y, double) { return x - y; })
      .Case("arith.mulf", [](double x, double y, double) { return x * y; })
      .Case("arith.divf", [](double x, double y, double) { return x / y; })
      .Case("arith.negf", [](double x, double, double) { return -x; })
      .Cases({"arith.maximumf", "arith.maxnumf"},
             [](double x, double y, double) { return std::fmax(x, y); })
      .Cases({"arith.minimumf", "arith.minnumf"},
             [](double x, double y, double) { return std::fmin(x, y); })
      .Case("math.fma", [](double x, double y, double z) { return x * y + z; })
      .Case("math.absf", [](double x, double, double) { return std::fabs(x); })
      .Case("math.exp", [](double x, double, double) { return std::exp(x); })
      .Case("math.log", [](double x, double, double) { return std::log(x); })
      .Case("math.tanh", [](double x, double, double) { return std::tanh(x); })
      .Case("math.erf", [](double x, double, double) { return std::erf(x); })
      .Case("math.sqrt", [](double x, double, double) { return std::sqrt(x); })
      .Case("math.rsqrt", [](double x, double, double) { return 1 / std::sqrt(x); })
      .Cases({"arith.extf", "arith.truncf"}, [](double x, double, double) { return x; })
      .Default(nullptr);
}

int64_t evaluateInteger(Operation *op, int64_t x, int64_t y, Type from) {
  uint64_t ux = toUnsigned(x, from), uy = toUnsigned(y, from);
  if (auto cmp = dyn_cast<arith::CmpIOp>(op))
    return compare(cmp.getPredicate(), x, y, from);
  return llvm::StringSwitch<std::function<int64_t()>>(op->getName().getStringRef())
      .Case("arith.addi", [&] { return x + y; })
      .Case("arith.subi", [&] { return x - y; })
      .Case("arith.muli", [&] { return int64_t(ux * uy); })
      .Case("arith.andi", [&] { return x & y; })
      .Case("arith.ori", [&] { return x | y; })
      .Case("arith.xori", [&] { return x ^ y; })
      .Case("arith.shli", [&] { return int64_t(ux << uy); })
      .Case("arith.shrui", [&] { return int64_t(ux >> uy); })
      .Case("arith.shrsi", [&] { return x >> uy; })
      .Case("arith.extui", [&] { return int64_t(ux); })
      .Case("arith.extsi", [&] { return from.isInteger(1) ? -x : x; })
      .Case("arith.trunci", [&] { return x; })
      .Default([&]() -> int64_t { unknown(op); })();
}

Number evaluate(Operation *op, unsigned result, ArrayRef<Number> a) {
  Type from = getElementTypeOrSelf(op->getOperand(0).getType());
  Type to = getElementTypeOrSelf(op->getResult(result).getType());
  if (isa<arith::SelectOp>(op))
    return a[0].i ? a[1] : a[2];
  if (auto cmp = dyn_cast<arith::CmpFOp>(op))
    return {0, compare(cmp.getPredicate(), a[0].f, a[1].f)};
  if (isa<arith::SIToFPOp>(op))
    return {double(a[0].i), 0};
  if (isa<arith::UIToFPOp>(op))
    return {double(toUnsigned(a[0].i, from)), 0};
  if (isa<arith::MulUIExtendedOp>(op)) {
    uint64_t product = toUnsigned(a[0].i, from) * toUnsigned(a[1].i, from); // of 32 bits each
    return {0, wrap(int64_t(result == 0 ? product : product >> 32), to)};
  }
  if (FloatFunction function = findFloatFunction(op->getName().getStringRef()))
    return {function(a[0].f, a.size() > 1 ? a[1].f : 0, a.size() > 2 ? a[2].f : 0), 0};
  return {0, wrap(evaluateInteger(op, a[0].i, a.size() > 1 ? a[1].i : 0, from), to)};
}

class Interpreter {
public:
  Interpreter(plan::RowsOp rows, std::vector<Elements> &operands)
      : rows(rows), columns(rows.getColumns()), operands(operands) {}

  void run(int64_t row) {
    values.clear();
    Block &body = rows.getBody().front();
    for (BlockArgument argument : body.getArguments())
      if (!isa<RankedTensorType>(argument.getType()))
        load(argument, row);
    for (BlockArgument argument : body.getArguments())
      if (isa<RankedTensorType>(argument.getType()))
        load(argument, row);
    for (Operation &op : body.without_terminator())
      execute(&op);
    for (unsigned output = 0; output < rows.getNumOutputs(); ++output)
      store(output, row);
  }

private:
  int64_t firstElement(plan::AccessAttr access, int64_t row, int64_t extent) {
    if (access.isIndexed())
      return values[rows.getBody().getArgument(access.getIndex())][0].i * extent;
    bool perRow = access.getKind() == AccessKind::Row || access.getKind() == AccessKind::RowScalar;
    return perRow ? row * extent : 0;
  }

  int64_t extentOf(Type type) { return isa<RankedTensorType>(type) ? columns : 1; }

  void load(BlockArgument argument, int64_t row) {
    Elements &memory = operands[argument.getArgNumber()];
    int64_t extent = extentOf(argument.getType());
    int64_t first = firstElement(rows.getInputAccess(argument.getArgNumber()), row, extent);
    Row &value = values[argument];
    value.resize(extent);
    for (int64_t j = 0; first >= 0 && j < extent; ++j)
      value[j] = memory.f.empty() ? Number{0, memory.i[first + j]} : Number{memory.f[first + j], 0};
  }

  void store(unsigned output, int64_t row) {
    Elements &memory = operands[rows.getInputs().size() + output];
    Value yielded = rows.getBody().front().getTerminator()->getOperand(output);
    plan::AccessAttr access = rows.getOutputAccess(output);
    int64_t extent = extentOf(yielded.getType());
    int64_t first = firstElement(access, row, extent);
    bool adds =
        access.getKind() == AccessKind::SumRows || access.getKind() == AccessKind::ScatterAdd;
    const Row &value = get(yielded);
    for (int64_t j = 0; first >= 0 && j < extent; ++j) {
      if (memory.f.empty())
        memory.i[first + j] = value[j].i + (adds ? memory.i[first + j] : 0);
      else
        memory.f[first + j] = value[j].f + (adds ? memory.f[first + j] : 0);
    }
  }

  const Row &get(Value value) {
    Row &row = values[value];
    Attribute constant;
    if (!row.empty() || !matchPattern(value, m_Constant(&constant)))
      return row;
    if (auto dense = dyn_cast<DenseElementsAttr>(constant))
      constant = dense.getSplatValue<Attribute>();
    Number number;
    if (auto f = dyn_cast<FloatAttr>(constant))
      number.f = f.getValueAsDouble();
    else
      number.i = wrap(cast<IntegerAttr>(constant).getValue().getSExtValue(),
                      cast<IntegerAttr>(constant).getType());
    row.assign(extentOf(value.getType()), number);
    return row;
  }

  void execute(Operation *op) {
    if (isa<arith::ConstantOp>(op))
      return;
    for (Value operand : op->getOperands())
      get(operand);
    if (auto reduce = dyn_cast<plan::RowReduceOp>(op)) {
      Row &in = values[reduce.getInput()];
      Number sum = in[0];
      for (size_t j = 1; j < in.size(); ++j) {
        bool isAdd = reduce.getKind() == plan::ReduceKind::Add;
        sum.f = isAdd ? sum.f + in[j].f : std::fmax(sum.f, in[j].f);
        sum.i = isAdd ? sum.i + in[j].i : std::max(sum.i, in[j].i);
      }
      values[reduce.getResult()] = {sum};
    } else if (isa<tensor::SplatOp>(op)) {
      Number element = values[op->getOperand(0)][0];
      values[op->getResult(0)].assign(columns, element);
    } else if (isa<plan::RowIotaOp>(op)) {
      for (int64_t j = 0; j < columns; ++j)
        values[op->getResult(0)].push_back({0, j});
    } else if (auto random = dyn_cast<plan::RowRandomOp>(op)) {
      auto word = [&](Value value) { return uint32_t(values[value][0].i); };
      for (int64_t j = 0; j < columns; ++j)
        values[random.getResult()].push_back(
            {0, int32_t(rt::dropoutWord(word(random.getSeed()), word(random.getStep()),
                                        word(random.getSite()), word(random.getSample()), 0,
                                        word(random.getPosition()), j))});
    } else {
      executeElementwise(op);
    }
  }

  void executeElementwise(Operation *op) {
    for (OpResult result : op->getResults()) {
      Row out;
      for (int64_t j = 0; j < extentOf(result.getType()); ++j) {
        SmallVector<Number> in;
        for (Value operand : op->getOperands())
          in.push_back(values[operand][isa<RankedTensorType>(operand.getType()) ? j : 0]);
        out.push_back(evaluate(op, result.getResultNumber(), in));
      }
      values[result] = std::move(out);
    }
  }

  plan::RowsOp rows;
  int64_t columns;
  std::vector<Elements> &operands;
  llvm::DenseMap<Value, Row> values;
};

} // namespace

void test::interpretRows(plan::RowsOp rows, std::vector<Elements> &operands) {
  Interpreter interpreter(rows, operands);
  for (int64_t row = 0; row < int64_t(rows.getRows()); ++row)
    interpreter.run(row);
}
