//===- CpuKernelsTest.cpp - native row kernels against the interpreter ----===//
#include "NativeImage.h"
#include "RowKernelCases.h"

#include "seqpar/Target/Cpu/EmitCpu.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <tuple>

using namespace mlir;
using namespace seqpar;
using namespace seqpar::test;

namespace {

using Function = NativeFunction;
using Image = NativeImage;

class CpuKernels : public testing::Test {
protected:
  using Use = llvm::function_ref<void(Function function)>;

  /// Compiles for both targets and hands over what this processor runs, at least one function.
  void compile(RowKernelCase &kernel, Use use) {
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
      use(function);
      ++ran;
    }
    EXPECT_GT(ran, 0u);
  }

  void check(RowKernelCase &kernel, double tolerance = 1e-5) {
    compile(kernel, [&](Function function) {
      auto run = [&](void *const *operands, int64_t rows) {
        function(operands, 0, rows / 2);
        function(operands, rows / 2, rows);
      };
      kernel.check(run, tolerance);
    });
  }

  /// The largest relative error of a math function over floats of every exponent between `low` and
  /// `high`, both signs. Results below the smallest normal number may be off by one unit.
  double measureError(const std::string &function, double (*exact)(double), float low, float high,
                      bool negative) {
    constexpr int64_t kColumns = 4096, kRows = 64;
    RowKernelCase kernel(context, "math.mlir", {kRows, kColumns, 7, function});
    std::vector<float> x(kRows * kColumns), y(x.size());
    double ratio = std::log(double(high) / low) / double(x.size() - 1);
    for (size_t i = 0; i < x.size(); ++i)
      x[i] =
          std::min(high, float(low * std::exp(ratio * double(i)))) * (negative && i % 2 ? -1 : 1);
    double worst = 0;
    compile(kernel, [&](Function run) {
      void *operands[] = {x.data(), y.data()};
      run(operands, 0, kRows);
      for (size_t i = 0; i < x.size(); ++i) {
        double want = exact(x[i]), slack = 1.5 * std::numeric_limits<float>::denorm_min();
        double error = std::max(0.0, std::fabs(y[i] - want) - slack) / std::fabs(want);
        if (want == 0 || float(want) == y[i]) // both infinite, or equal
          error = y[i] == float(want) ? 0 : 1;
        worst = std::max(worst, std::isnan(error) ? 1 : error);
      }
    });
    return worst;
  }

  MLIRContext context;
};

class CpuSharedKernels : public CpuKernels,
                         public testing::WithParamInterface<std::tuple<int64_t, SharedCase>> {};

INSTANTIATE_TEST_SUITE_P(Columns, CpuSharedKernels,
                         testing::Combine(testing::Values<int64_t>(1, 7, 16, 33, 100, 768),
                                          testing::ValuesIn(sharedCases())),
                         [](const auto &info) { return nameOfShared(info); });

TEST_P(CpuSharedKernels, isAsInterpreted) {
  auto [columns, shared] = GetParam();
  shared.run(context, columns,
             [&](RowKernelCase &kernel, double tolerance) { check(kernel, tolerance); });
}

/// By each coordinate other words, which keep 0.7 of the elements.
TEST_F(CpuKernels, dropoutDrawsByCoordinates) {
  constexpr int64_t kRows = 128, kColumns = 768, kElements = kRows * kColumns;
  RowKernelCase kernel(context, "dropout.mlir", {kRows, kColumns});
  compile(kernel, [&](Function run) {
    std::vector<std::vector<int32_t>> all;
    for (int changed = 0; changed < 6; ++changed) {
      std::vector<float> x(kElements, 1.0f), y(kElements);
      std::vector<int32_t> words(kElements), samples(kRows, 7 + (changed == 4)), positions(kRows);
      for (int64_t i = 0; i < kRows; ++i)
        positions[i] = i + (changed == 5 ? kRows : 0);
      int32_t seed = 5 + (changed == 1), step = 5 + (changed == 2), site = 5 + (changed == 3),
              on = 1;
      void *operands[] = {x.data(),         &seed,    &step,       &site, &on, samples.data(),
                          positions.data(), y.data(), words.data()};
      run(operands, 0, kRows);
      double mean = std::accumulate(y.begin(), y.end(), 0.0) / kElements;
      // The standard deviation of the mean is 0.0021: sqrt(0.3 / 0.7 / elements).
      EXPECT_NEAR(mean, 1, 0.01);
      EXPECT_EQ(std::count(y.begin(), y.end(), 0.0f) + std::count(y.begin(), y.end(), 1.42857146f),
                kElements);
      for (const std::vector<int32_t> &other : all) {
        int64_t equal = 0;
        for (int64_t i = 0; i < kElements; ++i)
          equal += other[i] == words[i];
        EXPECT_LT(equal, 5);
      }
      all.push_back(words);
    }
  });
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

TEST_F(CpuKernels, scalars) {
  for (float limit : {0.0f, 0.5f, 100.0f}) {
    RowKernelCase kernel(context, "scalars.mlir", {});
    kernel.operands[0].f = {7.5};
    kernel.operands[1].f = {limit};
    check(kernel, 1e-6);
  }
}

TEST_F(CpuKernels, functionsAreAccurate) {
  EXPECT_LT(measureError("math.exp", std::exp, 1e-40f, 110, true), 3e-7);
  EXPECT_LT(measureError("math.log", std::log, 1e-44f, 3e38f, false), 3e-7);
  EXPECT_LT(measureError("math.tanh", std::tanh, 1e-37f, 3e38f, true), 4e-7);
  EXPECT_LT(measureError("math.erf", std::erf, 1e-37f, 3e38f, true), 4e-7);
  auto rsqrt = [](double x) { return 1 / std::sqrt(x); };
  EXPECT_LT(measureError("math.rsqrt", rsqrt, 1e-44f, 3e38f, false), 2e-7);
}

TEST_F(CpuKernels, functionsOfSpecialNumbers) {
  float infinity = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  struct Case {
    const char *function;
    float (*exact)(float);
  };
  for (Case c : {Case{"math.exp", std::exp}, Case{"math.log", std::log},
                 Case{"math.tanh", std::tanh}, Case{"math.erf", std::erf}}) {
    RowKernelCase kernel(context, "math.mlir", {1, 8, 7, c.function});
    std::vector<float> x = {0, -0.0f, infinity, -infinity, nan, 1, -1, 1e-45f}, y(8);
    compile(kernel, [&](Function run) {
      void *operands[] = {x.data(), y.data()};
      run(operands, 0, 1);
      for (size_t i = 0; i < x.size(); ++i) {
        float want = c.exact(x[i]);
        if (std::isnan(want))
          EXPECT_TRUE(std::isnan(y[i])) << c.function << '(' << x[i] << ") = " << y[i];
        else
          EXPECT_FLOAT_EQ(y[i], want) << c.function << '(' << x[i] << ')';
      }
    });
  }
}

using NarrowCase = std::tuple<int64_t, const char *>; // columns, type
class CpuNarrowKernels : public CpuKernels, public testing::WithParamInterface<NarrowCase> {
protected:
  int64_t columns = std::get<0>(GetParam());
  std::string type = std::get<1>(GetParam());
  /// Half a unit in the last place.
  double rounding = type == "bf16" ? 0x1p-8 : 0x1p-11;
};

INSTANTIATE_TEST_SUITE_P(Columns, CpuNarrowKernels,
                         testing::Combine(testing::Values(1, 7, 16, 33, 768),
                                          testing::Values("bf16", "f16")),
                         [](const auto &info) {
                           return std::get<1>(info.param) + std::string("_") +
                                  std::to_string(std::get<0>(info.param));
                         });

/// What is f32 stays as exact as with operands of 32 bits, since inputs are rounded beforehand.
TEST_P(CpuNarrowKernels, layerNormGrad) {
  if (columns == 1)
    return; // its gradient is 0
  RowKernelCase kernel(context, "layer-norm-grad-narrow.mlir", {5, columns, 7, type});
  kernel.tolerances[5] = rounding;
  check(kernel);
  kernel.shareMemory(0, 4);
  check(kernel);
}

TEST_P(CpuNarrowKernels, gather) {
  RowKernelCase kernel(context, "gather-narrow.mlir", {9, columns, 9, type});
  kernel.operands[2].i[4] = -1;
  for (int64_t row = 0; row < 9; ++row)
    kernel.operands[3].i[row] = row == 5 ? -1 : 8 - row;
  kernel.tolerances[4] = 0; // copies
  kernel.tolerances[5] = kernel.tolerances[7] = rounding;
  check(kernel);
}

/// Ties, the ends of the type, what lies between its smallest numbers; NaN stays NaN.
TEST_P(CpuNarrowKernels, conversionsRoundToTheNearest) {
  const llvm::fltSemantics &semantics = type == "bf16" ? APFloat::BFloat() : APFloat::IEEEhalf();
  RowKernelCase kernel(context, "convert-narrow.mlir", {64, columns, 7, type});
  std::vector<float> x(64 * columns), wide(x.size());
  std::vector<uint16_t> y(x.size()), narrow(x.size());
  const float edges[] = {0.0f,    -0.0f,    INFINITY, -INFINITY, NAN,     65519.0f, 65520.0f,
                         3.4e38f, -3.4e38f, 1e-45f,   6e-8f,     2.9e-8f, 6.1e-5f,  1e-39f};
  std::mt19937 engine(3);
  for (size_t i = 0; i < x.size(); ++i) {
    uint32_t bits = uint32_t(engine());
    if (i % 3 == 0) // often a tie
      bits &= type == "bf16" ? 0xffff8000 : 0xfffff000;
    if (i % 2 == 0) // near 1
      bits = (bits & 0x807fffff) | (120 + bits % 16) << 23;
    x[i] = i < std::size(edges) ? edges[i] : llvm::bit_cast<float>(bits);
    y[i] = uint16_t(engine());
  }
  auto isNan = [&](uint16_t bits) { return APFloat(semantics, APInt(16, bits)).isNaN(); };
  compile(kernel, [&](Function run) {
    void *operands[] = {x.data(), y.data(), narrow.data(), wide.data()};
    run(operands, 0, 64);
    for (size_t i = 0; i < x.size(); ++i) {
      bool loses;
      APFloat rounded(x[i]), widened(semantics, APInt(16, y[i]));
      rounded.convert(semantics, APFloat::rmNearestTiesToEven, &loses);
      widened.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven, &loses);
      if (std::isnan(x[i]))
        EXPECT_TRUE(isNan(narrow[i])) << i;
      else
        EXPECT_EQ(narrow[i], rounded.bitcastToAPInt().getZExtValue()) << x[i];
      if (isNan(y[i]))
        EXPECT_TRUE(std::isnan(wide[i])) << i;
      else
        EXPECT_EQ(llvm::bit_cast<uint32_t>(wide[i]), widened.bitcastToAPInt().getZExtValue())
            << y[i];
    }
  });
}

TEST_F(CpuKernels, equalBodiesShareAKernel) {
  RowKernelCase one(context, "bias-residual.mlir", {5, 64});
  Operation *copy = one.rows->clone();
  copy->setAttr("rows", Builder(&context).getI64IntegerAttr(5));
  one.module->push_back(copy);
  RowKernelCase other(context, "bias-gelu-erf.mlir", {5, 64});
  for (Operation &op : llvm::make_early_inc_range(*other.module->getBody()))
    op.moveBefore(one.module->getBody(), one.module->getBody()->end());
  FailureOr<KernelTable> table = collectKernels(*one.module);
  ASSERT_TRUE(succeeded(table));
  ASSERT_EQ(table->kernels.size(), 2u);
  EXPECT_EQ(table->kernels[0].symbol, "rows_bias_residual_0");
  EXPECT_EQ(table->kernels[1].symbol, "rows_bias_gelu_erf_1");
  EXPECT_EQ(table->indexOf[one.rows], 0);
  EXPECT_EQ(table->indexOf[copy], 0);
  EXPECT_EQ(table->indexOf[other.rows], 1);
  const std::vector<KernelOperand> &operands = table->kernels[0].operands;
  ASSERT_EQ(operands.size(), 4u);
  EXPECT_EQ(operands[1].access, plan::AccessKind::Broadcast);
  EXPECT_EQ(operands[1].columns, 64);
  EXPECT_TRUE(operands[3].output && !operands[2].output);
}

TEST_F(CpuKernels, sameKernelsGiveTheSameBytes) {
  std::vector<uint8_t> first;
  for (int run = 0; run < 2; ++run) {
    MLIRContext fresh;
    RowKernelCase kernel(fresh, "cross-entropy.mlir", {5, 100});
    FailureOr<KernelTable> table = collectKernels(*kernel.module);
    ASSERT_TRUE(succeeded(table) && succeeded(cpu::emitCpu(*kernel.module, *table, {"x86-64-v3"})));
    if (run == 0)
      first = table->cpu[0].object;
    EXPECT_EQ(table->cpu[0].object, first);
  }
}

class CpuKernelErrors : public CpuKernels {
protected:
  std::string emit(StringRef target, const cpu::Options &options) {
    RowKernelCase kernel(context, "bias-residual.mlir", {5, 64});
    std::string message;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      message = diagnostic.str();
      return success();
    });
    FailureOr<KernelTable> table = collectKernels(*kernel.module);
    EXPECT_TRUE(failed(cpu::emitCpu(*kernel.module, *table, {target}, options)));
    EXPECT_TRUE(table->cpu.empty());
    return message;
  }
};

TEST_F(CpuKernelErrors, missingLinker) {
  EXPECT_EQ(
      emit("x86-64-v3", {"/nowhere/ld.lld"}),
      "expected the linker lld at /nowhere/ld.lld, found nothing to run there; install lld 22");
}

TEST_F(CpuKernelErrors, failingLinker) {
  EXPECT_EQ(emit("x86-64-v3", {"/bin/false"}), "/bin/false failed with status 1");
}

TEST_F(CpuKernelErrors, unknownTarget) {
  EXPECT_EQ(emit("x86-64-v5", {}),
            "expected a CPU target among x86-64-v4 and x86-64-v3, found x86-64-v5");
}

} // namespace
