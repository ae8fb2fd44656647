//===- RowKernelFixture.cpp - row kernels against the interpreter ---------===//
#include "RowKernelFixture.h"
#include "TestPaths.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

using namespace mlir;
using namespace seqpar;
using namespace seqpar::test;

void test::loadKernelDialects(MLIRContext &context) {
  context.loadDialect<plan::PlanDialect, arith::ArithDialect, math::MathDialect,
                      tensor::TensorDialect>();
}

static void replaceAll(std::string &text, const std::string &word, const std::string &with) {
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + with.size()))
    text.replace(at, word.size(), with);
}

RowKernelCase::RowKernelCase(MLIRContext &context, const std::string &file, Extents extents) {
  std::ifstream stream(std::string(SEQPAR_TEST_DIR) + "/Target/Inputs/" + file);
  std::stringstream text;
  text << stream.rdbuf();
  parse(context, text.str(), extents);
}

RowKernelCase RowKernelCase::fromText(MLIRContext &context, std::string text, Extents extents) {
  RowKernelCase result;
  result.parse(context, std::move(text), extents);
  return result;
}

void RowKernelCase::parse(MLIRContext &context, std::string text, Extents extents) {
  std::ostringstream inverse;
  inverse.precision(17);
  inverse << std::scientific << 1.0 / extents.columns;
  replaceAll(text, "INVERSE_COLUMNS", inverse.str());
  replaceAll(text, "COLUMNS", std::to_string(extents.columns));
  replaceAll(text, "ROWS", std::to_string(extents.rows));
  replaceAll(text, "FUNCTION", extents.function);
  replaceAll(text, "TABLE", std::to_string(extents.table));
  loadKernelDialects(context);
  module = parseSourceString<ModuleOp>(text, &context);
  if (!module)
    llvm::report_fatal_error("the kernel's text does not parse");
  module->walk([&](plan::RowsOp op) { rows = op; });
  sharedInput.assign(rows.getNumOutputs(), -1);
  for (auto [output, memory] : llvm::enumerate(rows.getOuts()))
    for (auto [input, other] : llvm::enumerate(rows.getInputs()))
      if (memory == other)
        sharedInput[output] = input;
  fill(extents.table);
}

/// What memory of a type keeps of a number.
static APFloat roundTo(double value, FloatType type) {
  APFloat rounded(value);
  bool loses = false;
  rounded.convert(type.getFloatSemantics(), APFloat::rmNearestTiesToEven, &loses);
  return rounded;
}

void RowKernelCase::fill(int64_t table) {
  std::mt19937 engine(7);
  std::normal_distribution<double> normal;
  std::uniform_int_distribution<int64_t> integers(-1, table - 1);
  for (Value memory : llvm::concat<Value>(rows.getInputs(), rows.getOuts())) {
    auto type = cast<MemRefType>(memory.getType());
    Elements elements;
    for (int64_t i = 0; i < type.getNumElements(); ++i) {
      if (auto floating = dyn_cast<FloatType>(type.getElementType()))
        elements.f.push_back(roundTo(float(normal(engine)), floating).convertToDouble());
      else
        elements.i.push_back(integers(engine));
    }
    operands.push_back(std::move(elements));
  }
}

/// The operand whose memory each operand uses.
std::vector<unsigned> RowKernelCase::memoryOfOperands() const {
  std::vector<unsigned> memory(operands.size());
  for (size_t i = 0; i < memory.size(); ++i)
    memory[i] = i;
  size_t inputs = operands.size() - sharedInput.size();
  for (auto [output, input] : llvm::enumerate(sharedInput))
    if (input >= 0)
      memory[inputs + output] = input;
  return memory;
}

namespace {

template <typename T, typename From> std::vector<char> pack(const std::vector<From> &from) {
  std::vector<char> bytes(from.size() * sizeof(T));
  for (size_t i = 0; i < from.size(); ++i) {
    T value = T(from[i]);
    std::memcpy(&bytes[i * sizeof(T)], &value, sizeof(T));
  }
  return bytes;
}

template <typename T> double unpack(const std::vector<char> &bytes, size_t i) {
  T value;
  std::memcpy(&value, &bytes[i * sizeof(T)], sizeof(T));
  return double(value);
}

std::vector<char> packNarrow(const std::vector<double> &from, FloatType type) {
  std::vector<uint16_t> words;
  for (double value : from)
    words.push_back(uint16_t(roundTo(value, type).bitcastToAPInt().getZExtValue()));
  return pack<uint16_t>(words);
}

double unpack(const std::vector<char> &bytes, size_t i, Type type) {
  if (auto floating = dyn_cast<FloatType>(type); floating && floating.getWidth() == 16) {
    APInt word(16, uint64_t(unpack<uint16_t>(bytes, i)));
    return APFloat(floating.getFloatSemantics(), word).convertToDouble();
  }
  if (type.isF64())
    return unpack<double>(bytes, i);
  return type.isF32() ? unpack<float>(bytes, i) : unpack<int32_t>(bytes, i);
}

void compare(const Elements &expected, const std::vector<char> &found, Type type, double tolerance,
             const std::string &what) {
  double largest = 0;
  for (double value : expected.f)
    largest = std::max(largest, std::fabs(value));
  size_t bad = 0;
  size_t count = std::max(expected.f.size(), expected.i.size());
  for (size_t i = 0; i < count && bad < 5; ++i) {
    double want = expected.f.empty() ? double(expected.i[i]) : expected.f[i];
    double got = unpack(found, i, type);
    bool good = want == 0 ? got == 0 : std::fabs(got - want) <= tolerance * largest;
    if (expected.f.empty())
      good = got == want;
    bad += !good;
    EXPECT_TRUE(good) << what << " [" << i << "]: expected " << want << ", found " << got;
  }
}

} // namespace

void RowKernelCase::check(const Run &run, double tolerance) {
  std::vector<unsigned> memory = memoryOfOperands();
  std::vector<Elements> expected = operands;
  std::vector<std::vector<char>> bytes;
  std::vector<Type> types;
  for (Value value : llvm::concat<Value>(rows.getInputs(), rows.getOuts()))
    types.push_back(cast<MemRefType>(value.getType()).getElementType());
  for (size_t i = 0; i < operands.size(); ++i) {
    expected[i] = operands[memory[i]];
    if (types[i].isF64())
      bytes.push_back(pack<double>(operands[i].f));
    else if (types[i].isF16() || types[i].isBF16())
      bytes.push_back(packNarrow(operands[i].f, cast<FloatType>(types[i])));
    else
      bytes.push_back(types[i].isF32() ? pack<float>(operands[i].f) : pack<int32_t>(operands[i].i));
  }
  interpretRows(rows, expected);
  std::vector<void *> pointers;
  for (unsigned i : memory)
    pointers.push_back(bytes[i].data());
  run(pointers.data(), rows.getRows());
  size_t inputs = rows.getInputs().size();
  for (size_t i = 0; i < operands.size(); ++i) {
    bool overwritten = i < inputs && llvm::is_contained(ArrayRef(memory).drop_front(inputs), i);
    if (!overwritten)
      compare(expected[i], bytes[memory[i]], types[i],
              tolerances.contains(i) ? tolerances.at(i) : tolerance,
              rows.getName().str() + " operand " + std::to_string(i));
  }
}
