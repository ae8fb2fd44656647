//===- RowKernelsTest.cpp - CUDA text of row kernels against the interpreter --===//
//
// The text is compiled once for the host, all kernels together, and run there.
//
//===----------------------------------------------------------------------===//
#include "HostRowKernels.h"
#include "RowKernelCases.h"

#include "seqpar/Target/Cuda/EmitCuda.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <tuple>

using namespace mlir;
using namespace seqpar;
using namespace seqpar::test;

namespace {

/// Extents below, at and above those of a warp, a block in registers, and one that is not.
constexpr int64_t kColumns[] = {1, 7, 16, 33, 768, 1100, 5000};
constexpr const char *kFiles[] = {
    "adamw.mlir",          "bias-gelu-erf.mlir", "bias-gelu-tanh.mlir",  "bias-residual.mlir",
    "cross-entropy.mlir",  "dropout.mlir",       "embedding.mlir",       "gelu-erf-grad.mlir",
    "gelu-tanh-grad.mlir", "integers.mlir",      "layer-norm-grad.mlir", "layer-norm.mlir",
    "scatter.mlir",        "sum-of-squares.mlir"};

constexpr const char *kNarrowTypes[] = {"bf16", "f16"};

/// The kernels of all files with all extents. How many rows there are does not matter to a kernel.
class Kernels {
public:
  static Kernels &get() {
    static Kernels kernels;
    return kernels;
  }

  MLIRContext context;

  /// The case's kernel is among those compiled.
  const Kernel &find(RowKernelCase &kernel) {
    FailureOr<KernelTable> own = collectKernels(*kernel.module);
    EXPECT_TRUE(succeeded(own) && own->kernels.size() == 1);
    return table.kernels.at(known.at({own->kernels[0].symbol, own->kernels[0].columns}));
  }

  void run(const Kernel &kernel, void *const *operands, int64_t rows, bool accumulate,
           unsigned order) {
    host->run(kernel, operands, rows, accumulate, order);
  }

private:
  Kernels() {
    loadKernelDialects(context);
    OwningOpRef<ModuleOp> all = ModuleOp::create(UnknownLoc::get(&context));
    for (const char *file : kFiles)
      for (int64_t columns : kColumns)
        add(*all, file, columns);
    for (const char *type : kNarrowTypes)
      for (int64_t columns : kColumns)
        add(*all, "layer-norm-grad-narrow.mlir", columns, type);
    add(*all, "scalars.mlir", 1);
    FailureOr<KernelTable> collected = collectKernels(*all);
    EXPECT_TRUE(succeeded(collected));
    table = std::move(*collected);
    for (size_t i = 0; i < table.kernels.size(); ++i) {
      std::string symbol = table.kernels[i].symbol;
      known[{symbol.substr(0, symbol.rfind('_')) + "_0", table.kernels[i].columns}] = i;
    }
    FailureOr<std::string> source = cuda::buildRowSource(*all, table);
    EXPECT_TRUE(succeeded(source));
    host = std::make_unique<HostRowKernels>(*source, table.kernels);
  }

  void add(ModuleOp all, const char *file, int64_t columns, const char *type = "") {
    RowKernelCase kernel(context, file, {5, columns, columns, type});
    for (Operation &op : llvm::make_early_inc_range(*kernel.module->getBody()))
      op.moveBefore(all.getBody(), all.getBody()->end());
  }

  KernelTable table;
  std::map<std::pair<std::string, int64_t>, size_t> known;
  std::unique_ptr<HostRowKernels> host;
};

class CudaKernels : public testing::Test {
protected:
  void check(RowKernelCase &kernel, double tolerance = 1e-5) {
    const Kernel &compiled = all.find(kernel);
    for (unsigned order : kOrders) {
      SCOPED_TRACE(compiled.symbol + " with order " + std::to_string(order));
      auto run = [&](void *const *operands, int64_t rows) {
        all.run(compiled, operands, rows, /*accumulate=*/true, order);
      };
      kernel.check(run, tolerance);
    }
  }

  Kernels &all = Kernels::get();
  MLIRContext &context = all.context;
};

class CudaRowKernels : public CudaKernels, public testing::WithParamInterface<int64_t> {};

INSTANTIATE_TEST_SUITE_P(Columns, CudaRowKernels, testing::ValuesIn(kColumns));

class CudaSharedKernels : public CudaKernels,
                          public testing::WithParamInterface<std::tuple<int64_t, SharedCase>> {};

INSTANTIATE_TEST_SUITE_P(Columns, CudaSharedKernels,
                         testing::Combine(testing::ValuesIn(kColumns),
                                          testing::ValuesIn(sharedCases())),
                         [](const auto &info) { return nameOfShared(info); });

TEST_P(CudaSharedKernels, isAsInterpreted) {
  auto [columns, shared] = GetParam();
  shared.run(context, columns,
             [&](RowKernelCase &kernel, double tolerance) { check(kernel, tolerance); });
}

/// Half a unit in the last place of results that are stored in 16 bits; sums and what else is f32
/// stays as exact as with operands of 32 bits, since inputs are rounded beforehand.
TEST_P(CudaRowKernels, layerNormGradIn16Bits) {
  for (const char *type : kNarrowTypes) {
    if (GetParam() == 1)
      return; // its gradient is 0
    RowKernelCase kernel(context, "layer-norm-grad-narrow.mlir", {5, GetParam(), 7, type});
    kernel.tolerances[5] = type == StringRef("bf16") ? 0x1p-8 : 0x1p-11;
    check(kernel);
    kernel.shareMemory(0, 4);
    check(kernel);
  }
}

TEST_P(CudaRowKernels, oneRow) {
  for (const char *file : {"gelu-tanh-grad.mlir", "sum-of-squares.mlir", "bias-residual.mlir"}) {
    RowKernelCase kernel(context, file, {1, GetParam()});
    check(kernel);
  }
}

/// Nothing is written but sums, which are 0 unless they are added to what is there.
TEST_P(CudaRowKernels, noRows) {
  int64_t columns = GetParam();
  RowKernelCase kernel(context, "layer-norm-grad.mlir", {1, columns});
  const Kernel &compiled = all.find(kernel);
  for (bool accumulate : {false, true}) {
    std::vector<std::vector<float>> memory(8, std::vector<float>(columns, 3));
    std::vector<void *> operands;
    for (auto &operand : memory)
      operands.push_back(operand.data());
    all.run(compiled, operands.data(), 0, accumulate, 0);
    for (size_t i = 0; i < memory.size(); ++i)
      EXPECT_EQ(memory[i], std::vector<float>(columns, i >= 6 && !accumulate ? 0 : 3)) << i;
  }
  RowKernelCase table(context, "scatter.mlir", {1, columns});
  std::vector<float> values(columns, 3);
  std::vector<void *> operands(6, values.data());
  all.run(all.find(table), operands.data(), 0, true, 0);
  EXPECT_EQ(values, std::vector<float>(columns, 3));
}

/// More rows than a grid has blocks, or warps.
TEST_P(CudaRowKernels, manyRows) {
  int64_t columns = GetParam();
  if (columns != 16 && columns != 1100)
    return; // a row of a warp, a row of a block
  RowKernelCase kernel(context, "layer-norm-grad.mlir", {columns == 16 ? 4500 : 900, columns});
  const Kernel &compiled = all.find(kernel);
  EXPECT_LT(compiled.cuda.launches[0].blocks * compiled.cuda.launches[0].rowsPerBlock,
            int(kernel.rows.getRows()));
  kernel.check(
      [&](void *const *operands, int64_t rows) { all.run(compiled, operands, rows, true, 0); },
      1e-5);
}

/// The same bits, whatever order threads and blocks run in.
TEST_P(CudaRowKernels, sumsAreDeterministic) {
  int64_t columns = GetParam(), rows = 37;
  RowKernelCase kernel(context, "layer-norm-grad.mlir", {rows, columns});
  const Kernel &compiled = all.find(kernel);
  std::vector<std::vector<float>> first;
  for (unsigned order : {0, 1, 5}) {
    std::vector<std::vector<float>> memory;
    std::vector<void *> operands;
    for (const Elements &elements : kernel.operands)
      memory.emplace_back(elements.f.begin(), elements.f.end());
    for (auto &operand : memory)
      operands.push_back(operand.data());
    all.run(compiled, operands.data(), rows, false, order);
    if (first.empty())
      first = memory;
    EXPECT_EQ(memory, first);
  }
}

/// The toolkit's own types of 16 bits.
TEST(CudaRowKernels16, compile) {
  std::string error;
  if (!cuda::hasNvrtc(error))
    GTEST_SKIP() << "off: " << error;
  MLIRContext context;
  for (const char *type : kNarrowTypes) {
    RowKernelCase kernel(context, "layer-norm-grad-narrow.mlir", {5, 1024, 7, type});
    FailureOr<KernelTable> table = collectKernels(*kernel.module);
    ASSERT_TRUE(succeeded(table));
    FailureOr<std::string> source = cuda::buildRowSource(*kernel.module, *table);
    ASSERT_TRUE(succeeded(source));
    std::vector<CudaCode> codes = {{"rows", *source, {}}};
    std::vector<cuda::KernelUsage> usages;
    ASSERT_TRUE(cuda::compileImages(codes, {"sm_80", "compute_90"}, error, &usages)) << error;
    ASSERT_EQ(usages.size(), 2u);
    for (const cuda::KernelUsage &usage : usages)
      EXPECT_EQ(usage.spillStores + usage.spillLoads, 0) << usage.symbol;
    ASSERT_EQ(codes[0].images.size(), 2u);
    std::string ptx(codes[0].images[1].image.begin(), codes[0].images[1].image.end());
    EXPECT_NE(ptx.find(".version"), ptx.npos);
    EXPECT_EQ(ptx.find('\0'), ptx.npos);
    // 16 bytes at a time: 8 elements of 16 bits, 4 of 32.
    EXPECT_NE(ptx.find("ld.global.v4"), ptx.npos);
    EXPECT_NE(ptx.find("st.global.v4"), ptx.npos);
  }
}

TEST(CudaRowKernelScalars, clipFactor) {
  Kernels &all = Kernels::get();
  for (float limit : {0.0f, 0.5f, 100.0f}) {
    RowKernelCase kernel(all.context, "scalars.mlir", {});
    kernel.operands[0].f = {7.5};
    kernel.operands[1].f = {limit};
    const Kernel &compiled = all.find(kernel);
    kernel.check(
        [&](void *const *operands, int64_t rows) { all.run(compiled, operands, rows, true, 0); },
        1e-6);
  }
}

} // namespace
