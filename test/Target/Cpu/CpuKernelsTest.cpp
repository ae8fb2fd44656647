//===- CpuKernelsTest.cpp - native row kernels against the interpreter ----===//
#include "RowKernelFixture.h"

#include "seqpar/Target/Cpu/EmitCpu.h"

#include <gtest/gtest.h>

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>

using namespace mlir;
using namespace seqpar;
using namespace seqpar::test;

namespace {

using Function = void (*)(void *const *operands, int64_t rowBegin, int64_t rowEnd);

bool hostRuns(StringRef target) {
  return target == "x86-64-v3"
             ? __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
             : __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/// A shared object in memory.
class Image {
public:
  explicit Image(const CpuObject &object) {
    descriptor = memfd_create("kernels", MFD_CLOEXEC);
    EXPECT_EQ(write(descriptor, object.object.data(), object.object.size()),
              ssize_t(object.object.size()));
    handle = dlopen(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), RTLD_NOW);
    EXPECT_NE(handle, nullptr) << dlerror();
  }
  ~Image() {
    if (handle)
      dlclose(handle);
    close(descriptor);
  }
  Function find(const std::string &symbol) const {
    return reinterpret_cast<Function>(dlsym(handle, symbol.c_str()));
  }

private:
  int descriptor;
  void *handle;
};

class CpuKernels : public testing::Test {
protected:
  /// Compiles for both targets and compares on those that this processor runs, of which there must
  /// be one.
  void check(RowKernelCase &kernel, double tolerance = 1e-5) {
    FailureOr<KernelTable> table = collectKernels(*kernel.module);
    ASSERT_TRUE(succeeded(table));
    ASSERT_EQ(table->kernels.size(), 1u);
    ASSERT_TRUE(succeeded(cpu::emitCpu(*kernel.module, *table, {"x86-64-v4", "x86-64-v3"})));
    ASSERT_EQ(table->cpu.size(), 2u);
    unsigned ran = 0;
    for (const CpuObject &object : table->cpu) {
      ASSERT_GT(object.object.size(), 0u);
      if (!hostRuns(object.target))
        continue;
      SCOPED_TRACE(object.target);
      Image image(object);
      Function function = image.find(table->kernels[0].symbol);
      ASSERT_NE(function, nullptr);
      kernel.check(
          [&](void *const *operands, int64_t rows) {
            function(operands, 0, rows / 2);
            function(operands, rows / 2, rows);
          },
          tolerance);
      ++ran;
    }
    EXPECT_GT(ran, 0u);
  }

  MLIRContext context;
};

class CpuKernelColumns : public CpuKernels, public testing::WithParamInterface<int64_t> {};

INSTANTIATE_TEST_SUITE_P(Columns, CpuKernelColumns, testing::Values(1, 7, 16, 33, 768));

TEST_P(CpuKernelColumns, layerNorm) {
  if (GetParam() == 1) // the variance of one element is 0
    return;
  RowKernelCase kernel(context, "layer-norm.mlir", {5, GetParam()});
  check(kernel);
}

TEST_P(CpuKernelColumns, layerNormInPlace) {
  if (GetParam() == 1)
    return;
  for (unsigned input : {0, 1}) {
    RowKernelCase kernel(context, "layer-norm.mlir", {5, GetParam()});
    kernel.shareMemory(0, input);
    kernel.shareMemory(1, 1 - input);
    check(kernel);
  }
}

TEST_P(CpuKernelColumns, layerNormGrad) {
  RowKernelCase kernel(context, "layer-norm-grad.mlir", {5, GetParam()});
  check(kernel);
}

TEST_P(CpuKernelColumns, layerNormGradInPlace) {
  for (unsigned input : {0, 4}) {
    RowKernelCase kernel(context, "layer-norm-grad.mlir", {5, GetParam()});
    kernel.shareMemory(0, input);
    check(kernel);
  }
}

TEST_P(CpuKernelColumns, gelu) {
  for (const char *file :
       {"bias-gelu-tanh.mlir", "gelu-tanh-grad.mlir", "bias-gelu-erf.mlir", "gelu-erf-grad.mlir"}) {
    RowKernelCase kernel(context, file, {5, GetParam()});
    check(kernel);
    kernel.shareMemory(0, 0);
    check(kernel);
  }
}

TEST_P(CpuKernelColumns, crossEntropy) {
  RowKernelCase kernel(context, "cross-entropy.mlir", {9, GetParam(), GetParam()});
  kernel.operands[2].i[0] = -1;
  check(kernel);
  kernel.shareMemory(0, 0);
  check(kernel);
}

TEST_P(CpuKernelColumns, embedding) {
  RowKernelCase kernel(context, "embedding.mlir", {9, GetParam()});
  for (int operand : {3, 4, 5})
    kernel.operands[operand].i[2] = -1;
  check(kernel);
}

TEST_P(CpuKernelColumns, scatter) {
  RowKernelCase kernel(context, "scatter.mlir", {9, GetParam()});
  for (int64_t row = 0; row < 9; ++row)
    kernel.operands[2].i[row] = row == 4 ? -1 : 8 - row;
  check(kernel);
}

TEST_P(CpuKernelColumns, adamw) {
  RowKernelCase kernel(context, "adamw.mlir", {5, GetParam()});
  for (double &value : kernel.operands[3].f)
    value = std::fabs(value);
  kernel.operands[4].f = {1e-3};
  kernel.operands[5].f = {10};
  kernel.operands[6].f = {1000};
  check(kernel);
}

TEST_P(CpuKernelColumns, sumOfSquares) {
  RowKernelCase kernel(context, "sum-of-squares.mlir", {25, GetParam()});
  check(kernel, 1e-6);
}

TEST_F(CpuKernels, crossEntropyOfAVocabulary) {
  RowKernelCase kernel(context, "cross-entropy.mlir", {3, 30592, 30592});
  check(kernel);
}

TEST_F(CpuKernels, crossEntropyOfFewClasses) {
  RowKernelCase kernel(context, "cross-entropy.mlir", {6, 17, 17});
  for (int64_t row = 0; row < 6; ++row)
    for (int64_t j = 0; j < 17; ++j)
      kernel.operands[0].f[row * 17 + j] *= row * 20; // exponents far below the smallest number
  check(kernel);
}

} // namespace
