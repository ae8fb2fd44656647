//===- BodyText.cpp - ops of a row kernel's body as expressions -----------===//
#include "BodyText.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

#include <charconv>

using namespace mlir;
using namespace seqpar;
using llvm::formatv;

std::string cuda::getComputeType(Type element) {
  if (element.isF64())
    return "double";
  if (isa<FloatType>(element) && element.getIntOrFloatBitWidth() <= 32)
    return "float";
  if (element.isSignlessInteger(1))
    return "bool";
  if (element.isSignlessInteger(32))
    return "unsigned";
  return element.isSignlessInteger(64) ? "unsigned long long" : "";
}

std::string cuda::getMemoryType(Type element) {
  if (element.isF32())
    return "float";
  if (element.isF64())
    return "double";
  if (element.isBF16())
    return "__nv_bfloat16";
  if (element.isF16())
    return "__half";
  return element.isSignlessInteger(32) ? "int" : "";
}

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

/// The shortest decimal that reads back as the same number.
template <typename T> static std::string getDecimal(T value) {
  char buffer[64];
  std::to_chars_result end = std::to_chars(buffer, buffer + sizeof(buffer), value);
  std::string text(buffer, end.ptr);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

static std::string getFloatText(FloatAttr constant) {
  double value = constant.getValueAsDouble();
  bool isDouble = constant.getType().isF64();
  if (value != value || value - value != 0) { // not finite
    if (isDouble)
      return formatv("__longlong_as_double({0:x}ll)", llvm::bit_cast<uint64_t>(value));
    return formatv("__int_as_float({0:x})", llvm::bit_cast<uint32_t>(float(value)));
  }
  return isDouble ? getDecimal(value) : getDecimal(float(value)) + "f";
}

std::string cuda::getConstantText(TypedAttr constant) {
  if (auto number = dyn_cast<FloatAttr>(constant))
    return getFloatText(number);
  auto integer = cast<IntegerAttr>(constant);
  if (integer.getType().isInteger(1))
    return integer.getValue().isZero() ? "false" : "true";
  uint64_t value = integer.getValue().getZExtValue();
  const char *suffix = integer.getType().isInteger(64) ? "ull" : "u";
  return value < 1000 ? formatv("{0}{1}", value, suffix) : formatv("{0:x}{1}", value, suffix);
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

/// `format` with the operands for {0}, {1}, {2}.
static std::string substitute(StringRef format, ArrayRef<std::string> operands) {
  std::string text;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] == '{') {
      text += operands[format[i + 1] - '0'];
      i += 2;
    } else {
      text += format[i];
    }
  }
  return text;
}

static const char *getComparison(arith::CmpFPredicate predicate) {
  using P = arith::CmpFPredicate;
  switch (predicate) {
  case P::AlwaysFalse:
    return "false";
  case P::AlwaysTrue:
    return "true";
  case P::OEQ:
    return "{0} == {1}";
  case P::OGT:
    return "{0} > {1}";
  case P::OGE:
    return "{0} >= {1}";
  case P::OLT:
    return "{0} < {1}";
  case P::OLE:
    return "{0} <= {1}";
  case P::ONE:
    return "{0} < {1} || {0} > {1}";
  case P::ORD:
    return "{0} == {0} && {1} == {1}";
  case P::UEQ:
    return "!({0} < {1} || {0} > {1})";
  case P::UGT:
    return "!({0} <= {1})";
  case P::UGE:
    return "!({0} < {1})";
  case P::ULT:
    return "!({0} >= {1})";
  case P::ULE:
    return "!({0} > {1})";
  case P::UNE:
    return "{0} != {1}";
  case P::UNO:
    return "{0} != {0} || {1} != {1}";
  }
  llvm_unreachable("all predicates are listed");
}

/// S stands for the signed type.
static const char *getComparison(arith::CmpIPredicate predicate) {
  using P = arith::CmpIPredicate;
  switch (predicate) {
  case P::eq:
    return "{0} == {1}";
  case P::ne:
    return "{0} != {1}";
  case P::slt:
    return "S({0}) < S({1})";
  case P::sle:
    return "S({0}) <= S({1})";
  case P::sgt:
    return "S({0}) > S({1})";
  case P::sge:
    return "S({0}) >= S({1})";
  case P::ult:
    return "{0} < {1}";
  case P::ule:
    return "{0} <= {1}";
  case P::ugt:
    return "{0} > {1}";
  case P::uge:
    return "{0} >= {1}";
  }
  llvm_unreachable("all predicates are listed");
}

/// Floats: of the op's own name, for float and double alike; F stands for "f" or nothing.
static const char *getFloatFormat(StringRef name) {
  return llvm::StringSwitch<const char *>(name)
      .Case("arith.addf", "{0} + {1}")
      .Case("arith.subf", "{0} - {1}")
      .Case("arith.mulf", "{0} * {1}")
      .Case("arith.divf", "{0} / {1}")
      .Case("arith.negf", "-{0}")
      .Case("arith.maximumf", "maximum({0}, {1})")
      .Case("arith.minimumf", "minimum({0}, {1})")
      .Case("arith.maxnumf", "fmaxF({0}, {1})")
      .Case("arith.minnumf", "fminF({0}, {1})")
      .Case("math.absf", "fabsF({0})")
      .Case("math.ceil", "ceilF({0})")
      .Case("math.copysign", "copysignF({0}, {1})")
      .Case("math.erf", "erfF({0})")
      .Case("math.exp", "expF({0})")
      .Case("math.floor", "floorF({0})")
      .Case("math.fma", "fmaF({0}, {1}, {2})")
      .Case("math.log", "logF({0})")
      .Case("math.roundeven", "rintF({0})")
      .Case("math.rsqrt", "rsqrtF({0})")
      .Case("math.sqrt", "sqrtF({0})")
      .Case("math.tanh", "tanhF({0})")
      .Case("math.trunc", "truncF({0})")
      .Default(nullptr);
}

/// Integers: S the signed, U the unsigned type that threads compute with.
static const char *getIntegerFormat(StringRef name, bool isBool) {
  if (isBool)
    return llvm::StringSwitch<const char *>(name)
        .Cases({"arith.addi", "arith.subi", "arith.xori"}, "{0} != {1}")
        .Cases({"arith.muli", "arith.andi"}, "{0} && {1}")
        .Case("arith.ori", "{0} || {1}")
        .Default(nullptr);
  return llvm::StringSwitch<const char *>(name)
      .Case("arith.addi", "{0} + {1}")
      .Case("arith.subi", "{0} - {1}")
      .Case("arith.muli", "{0} * {1}")
      .Case("arith.divui", "{0} / {1}")
      .Case("arith.remui", "{0} % {1}")
      .Case("arith.divsi", "U(S({0}) / S({1}))")
      .Case("arith.remsi", "U(S({0}) % S({1}))")
      .Case("arith.andi", "{0} & {1}")
      .Case("arith.ori", "{0} | {1}")
      .Case("arith.xori", "{0} ^ {1}")
      .Case("arith.shli", "{0} << {1}")
      .Case("arith.shrui", "{0} >> {1}")
      .Case("arith.shrsi", "U(S({0}) >> {1})")
      .Case("arith.maxui", "{0} > {1} ? {0} : {1}")
      .Case("arith.minui", "{0} < {1} ? {0} : {1}")
      .Case("arith.maxsi", "S({0}) > S({1}) ? {0} : {1}")
      .Case("arith.minsi", "S({0}) < S({1}) ? {0} : {1}")
      .Case("math.absi", "S({0}) < 0 ? 0 - {0} : {0}")
      .Default(nullptr);
}

/// The types' names for the letters of a format, which stand before "(" or behind a function's
/// name.
static std::string setTypes(std::string format, Type element) {
  std::string result;
  bool wide = element.getIntOrFloatBitWidth() == 64;
  for (size_t i = 0; i < format.size(); ++i) {
    bool atCall = i + 1 < format.size() && format[i + 1] == '(';
    if (format[i] == 'S' && atCall)
      result += wide ? "(long long)" : "int";
    else if (format[i] == 'U' && atCall)
      result += wide ? "(unsigned long long)" : "unsigned";
    else if (format[i] == 'F' && atCall)
      result += element.isF64() ? "" : "f";
    else
      result += format[i];
  }
  return result;
}

/// Conversions between element types; both are ones that threads compute with.
static std::string getConversion(Operation *op, Type from, Type to, const std::string &x) {
  std::string type = cuda::getComputeType(to);
  auto call = [&](const std::string &name, const std::string &inner) {
    bool isOneWord = name.find(' ') == std::string::npos;
    return (isOneWord ? name : "(" + name + ")") + "(" + inner + ")";
  };
  std::string isSigned =
      from.getIntOrFloatBitWidth() == 64 ? "(long long)(" + x + ")" : "int(" + x + ")";
  return llvm::TypeSwitch<Operation *, std::string>(op)
      .Case<arith::ExtFOp>(
          [&](auto) { return type == cuda::getComputeType(from) ? x : call(type, x); })
      .Case<arith::TruncFOp>([&](auto) {
        if (to.getIntOrFloatBitWidth() == 16)
          return "float(" + cuda::getMemoryType(to) + "(" + x + "))";
        return call(type, x);
      })
      .Case<arith::ExtUIOp, arith::UIToFPOp>([&](auto) { return call(type, x); })
      .Case<arith::ExtSIOp, arith::SIToFPOp>([&](auto) {
        if (from.isInteger(1))
          return call(type, x + " ? -1 : 0");
        return call(type, isSigned);
      })
      .Case<arith::TruncIOp>(
          [&](auto) { return to.isInteger(1) ? "(" + x + " & 1) != 0" : call(type, x); })
      .Case<arith::FPToSIOp>([&](auto) {
        return call(type, (to.getIntOrFloatBitWidth() == 64 ? "(long long)(" : "int(") + x + ")");
      })
      .Case<arith::FPToUIOp>([&](auto) { return call(type, x); })
      .Default([](Operation *) { return std::string(); });
}

static std::string getBitcast(Type from, Type to, const std::string &x) {
  if (from.isF32() && to.isInteger(32))
    return "__float_as_uint(" + x + ")";
  if (from.isInteger(32) && to.isF32())
    return "__uint_as_float(" + x + ")";
  return from == to ? x : "";
}

/// The two halves of a product.
static std::string getWideProduct(Operation *op, unsigned result, Type element,
                                  ArrayRef<std::string> a) {
  if (result == 0)
    return substitute("{0} * {1}", a);
  bool wide = element.isInteger(64);
  if (isa<arith::MulUIExtendedOp>(op))
    return substitute(wide ? "__umul64hi({0}, {1})" : "__umulhi({0}, {1})", a);
  return wide ? "" : substitute("unsigned(__mulhi(int({0}), int({1})))", a);
}

static bool isOrder(arith::CmpIOp compare) {
  return compare.getPredicate() != arith::CmpIPredicate::eq &&
         compare.getPredicate() != arith::CmpIPredicate::ne;
}

std::string cuda::getExpression(Operation *op, unsigned result, ArrayRef<std::string> operands) {
  Type from = getElementTypeOrSelf(op->getOperand(0).getType());
  Type to = getElementTypeOrSelf(op->getResult(result).getType());
  for (Type type : llvm::concat<const Type>(llvm::to_vector(op->getOperandTypes()),
                                            llvm::to_vector(op->getResultTypes())))
    if (getComputeType(getElementTypeOrSelf(type)).empty())
      return "";
  if (isa<arith::SelectOp>(op))
    return substitute("{0} ? {1} : {2}", operands);
  if (auto compare = dyn_cast<arith::CmpFOp>(op))
    return substitute(getComparison(compare.getPredicate()), operands);
  if (auto compare = dyn_cast<arith::CmpIOp>(op); compare && isOrder(compare) && from.isInteger(1))
    return ""; // true is -1 for some of them
  if (auto compare = dyn_cast<arith::CmpIOp>(op))
    return substitute(setTypes(getComparison(compare.getPredicate()), from), operands);
  if (isa<arith::MulUIExtendedOp, arith::MulSIExtendedOp>(op))
    return getWideProduct(op, result, from, operands);
  if (isa<arith::BitcastOp>(op))
    return getBitcast(from, to, operands[0]);
  if (std::string text = getConversion(op, from, to, operands[0]); !text.empty())
    return text;
  StringRef name = op->getName().getStringRef();
  const char *format =
      isa<FloatType>(from) ? getFloatFormat(name) : getIntegerFormat(name, from.isInteger(1));
  return format ? substitute(setTypes(format, from), operands) : "";
}
