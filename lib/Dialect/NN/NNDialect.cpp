//===- NNDialect.cpp - Dialect nn: registration and shared assembly ---------------------------===//

#include "seqpar/Dialect/NN/NN.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

#include <charconv>

using namespace mlir;
using namespace seqpar::nn;

//===- Assembly shared by ops -----------------------------------------------------------------===//

/// Prints the shortest digits that read back as the same number, in a form that the lexer takes for
/// a float: 0.02, 1.0e-12.
static void printReal(OpAsmPrinter &p, Operation *, FloatAttr value) {
  char buffer[40];
  char *end = std::to_chars(buffer, buffer + sizeof(buffer), value.getValueAsDouble()).ptr;
  StringRef digits(buffer, end - buffer);
  size_t exponent = std::min(digits.find('e'), digits.size());
  p << digits.take_front(exponent) << (digits.contains('.') ? "" : ".0")
    << digits.drop_front(exponent);
}

static ParseResult parseReal(OpAsmParser &p, FloatAttr &value) {
  double number;
  if (p.parseFloat(number))
    return failure();
  value = p.getBuilder().getF64FloatAttr(number);
  return success();
}

/// `zeros`, `ones`, or `normal(0.02)`.
static void printInitializer(OpAsmPrinter &p, Operation *op, InitializerKindAttr kind,
                             FloatAttr deviation) {
  p << stringifyInitializerKind(kind.getValue());
  if (!deviation)
    return;
  p << "(";
  printReal(p, op, deviation);
  p << ")";
}

static ParseResult parseInitializer(OpAsmParser &p, InitializerKindAttr &kind,
                                    FloatAttr &deviation) {
  StringRef keyword;
  SMLoc loc = p.getCurrentLocation();
  if (p.parseKeyword(&keyword))
    return failure();
  std::optional<InitializerKind> parsed = symbolizeInitializerKind(keyword);
  if (!parsed)
    return p.emitError(loc)
           << "expected an initializer (zeros, ones, or normal(deviation)), found '" << keyword
           << "'";
  kind = InitializerKindAttr::get(p.getContext(), *parsed);
  if (failed(p.parseOptionalLParen()))
    return success();
  return failure(parseReal(p, deviation) || p.parseRParen());
}

/// `rate(0.1) site(3)`, each absent when 0.
static void printDropout(OpAsmPrinter &p, Operation *op, FloatAttr rate, IntegerAttr site) {
  if (rate && !rate.getValue().isZero()) {
    p << "rate(";
    printReal(p, op, rate);
    p << ")";
  }
  if (site && site.getInt() != 0) {
    if (rate && !rate.getValue().isZero())
      p << " ";
    p << "site(" << site.getInt() << ")";
  }
}

static ParseResult parseDropout(OpAsmParser &p, FloatAttr &rate, IntegerAttr &site) {
  double number = 0;
  int64_t index = 0;
  if (succeeded(p.parseOptionalKeyword("rate")) &&
      (p.parseLParen() || p.parseFloat(number) || p.parseRParen()))
    return failure();
  if (succeeded(p.parseOptionalKeyword("site")) &&
      (p.parseLParen() || p.parseInteger(index) || p.parseRParen()))
    return failure();
  rate = p.getBuilder().getF64FloatAttr(number);
  site = p.getBuilder().getI64IntegerAttr(index);
  return success();
}

/// One type when all are equal, else `(operands) -> result`.
static void printTypes(OpAsmPrinter &p, ArrayRef<Type> operands, Type result) {
  if (llvm::all_of(operands, [&](Type type) { return type == result; })) {
    p << result;
    return;
  }
  p << "(";
  llvm::interleaveComma(operands, p);
  p << ") -> " << result;
}

static ParseResult parseTypes(OpAsmParser &p, ArrayRef<Type *> operands, Type &result) {
  if (failed(p.parseOptionalLParen())) {
    if (p.parseType(result))
      return failure();
    for (Type *type : operands)
      *type = result;
    return success();
  }
  for (auto [i, type] : llvm::enumerate(operands))
    if ((i && p.parseComma()) || p.parseType(*type))
      return failure();
  return failure(p.parseRParen() || p.parseArrow() || p.parseType(result));
}

static void printSameTypes(OpAsmPrinter &p, Operation *, Type a, Type result) {
  printTypes(p, {a}, result);
}
static void printSameTypes(OpAsmPrinter &p, Operation *, Type a, Type b, Type result) {
  printTypes(p, {a, b}, result);
}
static ParseResult parseSameTypes(OpAsmParser &p, Type &a, Type &result) {
  return parseTypes(p, {&a}, result);
}
static ParseResult parseSameTypes(OpAsmParser &p, Type &a, Type &b, Type &result) {
  return parseTypes(p, {&a, &b}, result);
}

//===- Generated code and registration --------------------------------------------------------===//

#include "seqpar/Dialect/NN/NNDialect.cpp.inc"
#include "seqpar/Dialect/NN/NNEnums.cpp.inc"

#define GET_OP_CLASSES
#include "seqpar/Dialect/NN/NNOps.cpp.inc"

void NNDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "seqpar/Dialect/NN/NNOps.cpp.inc"
      >();
}
