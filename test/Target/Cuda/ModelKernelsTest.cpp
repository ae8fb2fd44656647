//===- ModelKernelsTest.cpp - CUDA row kernels of the models --------------===//
//
// What the models' steps need: compiled for two architectures without a GPU, and run on the host
// against the CPU back end.
//
//===----------------------------------------------------------------------===//
#include "HostRowKernels.h"
#include "NativeImage.h"

#include "seqpar/InitAll.h"
#include "seqpar/Pipelines/Pipelines.h"
#include "seqpar/Target/Cpu/EmitCpu.h"
#include "seqpar/Target/Cuda/EmitCuda.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

using namespace mlir;
using namespace seqpar;
using namespace seqpar::test;
using plan::AccessKind;

namespace {

class ModelKernels : public testing::Test {
protected:
  ModelKernels() {
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    all = ModuleOp::create(UnknownLoc::get(&context));
  }

  /// Adds the plan of a model to `all`.
  void add(const std::string &model, int64_t sp, double dropout, const std::string &dtype = "fp32") {
    OwningOpRef<ModuleOp> module =
        parseSourceFile<ModuleOp>(SEQPAR_MODELS "/" + model + ".mlir", ParserConfig(&context));
    ASSERT_TRUE(module);
    CompileOptions options;
    options.sp = sp;
    options.microBatch = 2;
    options.dropout = dropout;
    options.dtype = dtype;
    options.epilogues = true;
    ASSERT_TRUE(succeeded(runPhases(*module, options, "plan")));
    all->push_back(module.release());
  }

  void collect() {
    FailureOr<KernelTable> collected = collectKernels(*all);
    ASSERT_TRUE(succeeded(collected));
    table = std::move(*collected);
    FailureOr<std::string> text = cuda::buildRowSource(*all, table);
    ASSERT_TRUE(succeeded(text));
    source = *text;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> all;
  KernelTable table;
  std::string source;
};

//===----------------------------------------------------------------------===//
// For GPUs
//===----------------------------------------------------------------------===//

/// A model and its dtype.
class ModelImages : public ModelKernels,
                    public testing::WithParamInterface<std::tuple<const char *, const char *>> {};

INSTANTIATE_TEST_SUITE_P(Models, ModelImages,
                         testing::Combine(testing::Values("bert-tiny", "bert-base", "bert-large"),
                                          testing::Values("fp32", "bf16", "fp16")));

TEST_P(ModelImages, noRowKernelSpills) {
  std::string reason;
  if (!cuda::hasNvrtc(reason))
    GTEST_SKIP() << "off: " << reason;
  auto [model, dtype] = GetParam();
  for (int64_t sp : {1, 8})
    add(model, sp, sp == 1 ? 0.1 : 0.0, dtype);
  collect();
  std::vector<CudaCode> codes = {{"rows", source, {}}};
  std::vector<cuda::KernelUsage> usages;
  std::string error;
  ASSERT_TRUE(cuda::compileImages(codes, {"sm_80", "sm_90"}, error, &usages)) << error;
  size_t launches = 0;
  for (const Kernel &kernel : table.kernels)
    launches += kernel.cuda.launches.size();
  EXPECT_EQ(usages.size(), 2 * launches);
  int registers = 0;
  int64_t shared = 0, spilled = 0;
  for (const cuda::KernelUsage &usage : usages) {
    SCOPED_TRACE(usage.symbol + " for " + usage.architecture);
    RecordProperty(usage.symbol + "." + usage.architecture,
                   std::to_string(usage.registers) + " registers, " +
                       std::to_string(usage.sharedBytes) + " bytes shared");
    EXPECT_GT(usage.registers, 0);
    EXPECT_EQ(usage.spillStores, 0);
    EXPECT_EQ(usage.spillLoads, 0);
    EXPECT_EQ(usage.stackBytes, 0);
    registers = std::max(registers, usage.registers);
    shared = std::max(shared, usage.sharedBytes);
    spilled += usage.spillStores + usage.spillLoads;
  }
  std::printf("%s %s: %zu kernels for sm_80 and sm_90, at most %d registers and %lld bytes of shared "
              "memory, %lld bytes of spills\n",
              model, dtype, launches, registers, (long long)shared, (long long)spilled);
  ASSERT_EQ(codes[0].images.size(), 2u);
  for (const CudaImage &image : codes[0].images)
    EXPECT_EQ(std::memcmp(image.image.data(), "\177ELF", 4), 0) << image.architecture;
}

//===----------------------------------------------------------------------===//
// On the host
//===----------------------------------------------------------------------===//

constexpr int64_t kTableRows = 11;

/// Memory of a kernel's operands: outputs that share an input's buffer in the program do here.
class Operands {
public:
  Operands(const Kernel &kernel, plan::RowsOp op, int64_t rows) : kernel(kernel), op(op) {
    for (size_t i = 0; i < kernel.operands.size(); ++i) {
      memory.emplace_back(bytesOf(i, rows));
      owner.push_back(i);
    }
    size_t inputs = op.getInputs().size();
    for (auto [output, out] : llvm::enumerate(op.getOuts()))
      for (auto [input, in] : llvm::enumerate(op.getInputs()))
        if (in == out && kernel.operands[input].access == kernel.operands[inputs + output].access)
          owner[inputs + output] = input;
    std::mt19937 random(3);
    for (size_t i = 0; i < memory.size(); ++i)
      fill(i, rows, random);
  }

  std::vector<void *> pointers() {
    std::vector<void *> result;
    for (size_t i : owner)
      result.push_back(memory[i].data());
    return result;
  }

  /// Within 1e-5 of each operand's largest magnitude; integers are equal.
  void compare(const Operands &expected) const {
    for (size_t i = 0; i < memory.size(); ++i) {
      SCOPED_TRACE("operand " + std::to_string(i));
      if (kernel.operands[i].type.isF64())
        compare<double>(memory[i], expected.memory[i]);
      else if (kernel.operands[i].type.isF32())
        compare<float>(memory[i], expected.memory[i]);
      else
        EXPECT_EQ(memory[i], expected.memory[i]);
    }
  }

private:
  size_t bytesOf(size_t i, int64_t rows) const {
    const KernelOperand &operand = kernel.operands[i];
    int64_t extent = operand.columns;
    if (operand.access == AccessKind::Row || operand.access == AccessKind::RowScalar)
      extent *= rows;
    if (operand.index >= 0)
      extent *= std::max(rows, kTableRows);
    return extent * operand.type.getIntOrFloatBitWidth() / 8;
  }

  /// Rows of a scatter are named at most once. Labels are below the columns. What is under a root
  /// is positive.
  void fill(size_t i, int64_t rows, std::mt19937 &random) {
    std::normal_distribution<double> normal;
    const KernelOperand &operand = kernel.operands[i];
    bool isPositive = operand.columns == 1 || op.getName().starts_with("adamw");
    auto fillFloats = [&](auto zero) {
      using T = decltype(zero);
      auto *values = reinterpret_cast<T *>(memory[i].data());
      for (size_t k = 0; k < memory[i].size() / sizeof(T); ++k)
        values[k] = isPositive ? T(0.1 + std::fabs(normal(random))) : T(normal(random));
    };
    if (operand.type.isF64())
      return fillFloats(0.0);
    if (operand.type.isF32())
      return fillFloats(0.0f);
    bool isScattered = llvm::any_of(kernel.operands, [&](const KernelOperand &other) {
      return other.access == AccessKind::Scatter && other.index == int64_t(i);
    });
    auto *values = reinterpret_cast<int32_t *>(memory[i].data());
    std::uniform_int_distribution<int32_t> numbers(
        -1, int32_t(std::min(kTableRows, kernel.columns)) - 1);
    for (size_t k = 0; k < memory[i].size() / 4; ++k)
      values[k] = isScattered ? (k == 2 ? -1 : int32_t(rows - 1 - int64_t(k))) : numbers(random);
  }

  template <typename T>
  static void compare(const std::vector<char> &found, const std::vector<char> &expected) {
    auto *x = reinterpret_cast<const T *>(found.data()),
         *y = reinterpret_cast<const T *>(expected.data());
    size_t count = found.size() / sizeof(T);
    double largest = 0;
    for (size_t k = 0; k < count; ++k)
      largest = std::max(largest, std::fabs(double(y[k])));
    int bad = 0;
    for (size_t k = 0; k < count && bad < 3; ++k)
      if (!(std::fabs(double(x[k]) - double(y[k])) <= 1e-5 * largest)) {
        ADD_FAILURE() << "[" << k << "]: expected " << y[k] << ", found " << x[k];
        ++bad;
      }
  }

  const Kernel &kernel;
  mutable plan::RowsOp op;
  std::vector<std::vector<char>> memory;
  std::vector<size_t> owner;
};

/// Forward, backward and update of bert-tiny, with and without dropout.
TEST_F(ModelKernels, hostRunsAgreeWithTheCpuBackEnd) {
  add("bert-tiny", 1, 0.0);
  add("bert-tiny", 8, 0.1);
  collect();
  StringRef target = hostRuns("x86-64-v4") ? "x86-64-v4" : "x86-64-v3";
  ASSERT_TRUE(succeeded(cpu::emitCpu(*all, table, {target})));
  NativeImage native(table.cpu[0]);
  HostRowKernels host(source, table.kernels);
  EXPECT_GT(table.kernels.size(), 24u);
  for (auto [kernel, op] : llvm::zip(table.kernels, getKernelBodies(*all, table)))
    for (int64_t rows : {0, 1, 5, 70}) {
      SCOPED_TRACE(kernel.symbol + " with " + std::to_string(rows) + " rows");
      Operands expected(kernel, op, rows), found(kernel, op, rows);
      native.find(kernel.symbol)(expected.pointers().data(), 0, rows);
      host.run(kernel, found.pointers().data(), rows, /*accumulate=*/true, unsigned(rows % 3));
      found.compare(expected);
    }
}

} // namespace
