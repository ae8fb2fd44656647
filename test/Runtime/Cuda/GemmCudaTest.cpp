//===- GemmCudaTest.cpp - products through cuBLASLt -----------------------===//

#include "CudaTest.h"

#include "../DeviceConformance.h"

#include "seqpar/rt/cuda/AlgorithmCache.h"
#include "seqpar/rt/cuda/Gemm.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace seqpar::rt::test {

namespace {

using cuda::AlgorithmCache;
using cuda::GemmAlgorithm;
using cuda::GemmCall;
using cuda::GemmEpilogue;
using testing::HasSubstr;

/// A folder that ends with the test.
struct Scratch {
  Scratch() {
    path = std::filesystem::temp_directory_path() / ("seqpar-gemm-" + std::to_string(getpid()));
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Scratch() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string &name) const { return (path / name).string(); }
  std::filesystem::path path;
};

std::string textOf(const std::string &path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

class GemmCuda : public CudaTest {
protected:
  static constexpr int64_t m = 6, n = 16, k = 5;

  Scratch scratch;

  std::unique_ptr<Device> device(bool tf32 = false) {
    CudaOptions options = fakeOptions();
    options.algorithms = scratch / "cache/gemm.json";
    options.tf32 = tf32;
    return createCudaDevice(options);
  }

  static void multiply(Device &device) {
    DeviceArray<float> a(device, randomFloats(m * k, 1)), b(device, randomFloats(k * n, 2)),
        c(device, std::vector<float>(m * n));
    device.gemm({a.data(), b.data(), c.data(), m, n, k, false, false, k, n, n, 1.0f, false});
    device.synchronize();
  }
};

TEST_F(GemmCuda, TheFastestCandidateIsTakenAndKept) {
  fakecublaslt::configure({.extraMicroseconds = {40000, 0, 40000}});
  auto first = device();
  multiply(*first);
  auto counts = fakecublaslt::takeCounts();
  // Each is measured; the second is the product's.
  EXPECT_EQ(counts[0], 1 + cuda::Gemm::kRepeats);
  EXPECT_EQ(counts[1], 1 + cuda::Gemm::kRepeats + 1);
  EXPECT_EQ(counts[2], 1 + cuda::Gemm::kRepeats);
  multiply(*first);
  EXPECT_EQ(fakecublaslt::takeCounts(), (std::array<int, 3>{0, 1, 0}));
  std::string text = textOf(scratch / "cache/gemm.json");
  EXPECT_THAT(text, HasSubstr("Fake GPU | cuBLASLt "));
  EXPECT_THAT(text, HasSubstr("| f32 nn 6x16x5 ld 5,16,16 align 16\""));
  first.reset();
  // Another process: from the file, without measuring.
  auto second = device();
  multiply(*second);
  EXPECT_EQ(fakecublaslt::takeCounts(), (std::array<int, 3>{0, 1, 0}));
  EXPECT_EQ(textOf(scratch / "cache/gemm.json"), text);
}

TEST_F(GemmCuda, AlgorithmsThatCuBlasLtNoLongerTakesAreMeasuredAgain) {
  multiply(*device());
  fakecublaslt::configure({.acceptsCached = false});
  multiply(*device());
  auto counts = fakecublaslt::takeCounts();
  EXPECT_EQ(counts[0] + counts[1] + counts[2], 3 * (1 + cuda::Gemm::kRepeats) + 1);
}

TEST_F(GemmCuda, WithoutRoomNothingIsMeasured) {
  auto on = device();
  DeviceArray<float> a(*on, randomFloats(m * k, 1)), b(*on, randomFloats(k * n, 2)),
      c(*on, std::vector<float>(m * n));
  fakecuda::failNext("cuMemAlloc", CUDA_ERROR_OUT_OF_MEMORY);
  on->gemm({a.data(), b.data(), c.data(), m, n, k, false, false, k, n, n, 1.0f, false});
  EXPECT_EQ(fakecublaslt::takeCounts(), (std::array<int, 3>{1, 0, 0}));
}

TEST_F(GemmCuda, Fp32IsFp32UnlessAskedFor) {
  multiply(*device());
  EXPECT_EQ(fakecublaslt::lastComputeType(), CUBLAS_COMPUTE_32F);
  multiply(*device(true));
  EXPECT_EQ(fakecublaslt::lastComputeType(), CUBLAS_COMPUTE_32F_FAST_TF32);
  // They are different products in the file.
  EXPECT_THAT(textOf(scratch / "cache/gemm.json"), HasSubstr("f32 tf32 nn 6x16x5"));
}

TEST_F(GemmCuda, ErrorsNameTheProduct) {
  auto on = device();
  fakecublaslt::configure({.heuristicStatus = CUBLAS_STATUS_NOT_SUPPORTED});
  EXPECT_THAT(errorOf([&] { multiply(*on); }),
              HasSubstr("gemm: cuBLASLt has no algorithm for Fake GPU | "));
  fakecublaslt::configure({.offered = 0});
  EXPECT_THAT(errorOf([&] { multiply(*on); }), HasSubstr("f32 nn 6x16x5"));
  CudaOptions options = fakeOptions();
  options.cublasLt = "/nowhere/libcublasLt.so.13";
  EXPECT_THAT(errorOf([&] { createCudaDevice(options); }),
              HasSubstr("the CUDA device needs /nowhere/libcublasLt.so.13"));
}

TEST_F(GemmCuda, DamagedCachesAreRefused) {
  for (const char *text : {"", "{", "{\"format\":7,\"algorithms\":{}}",
                           "{\"format\":1,\"algorithms\":{\"x\":{\"algorithm\":[\"1\"]}}}"}) {
    std::ofstream(scratch / "damaged.json") << text;
    EXPECT_THAT(errorOf([&] { AlgorithmCache(scratch / "damaged.json"); }),
                HasSubstr("delete the file, it is measured again"))
        << text;
  }
}

TEST_F(GemmCuda, CachesJoinWhatOthersHaveWritten) {
  std::string path = scratch / "new/shared.json";
  GemmAlgorithm one{{1, 2, 3, 4, 5, 6, 7, ~uint64_t(0)}, 1.5, 2}, two{{9}, 3, 3};
  AlgorithmCache first(path), second(path);
  first.add("one", one);
  second.add("two", two);
  AlgorithmCache third(path);
  EXPECT_EQ(third.find("one"), one);
  EXPECT_EQ(third.find("two"), two);
  EXPECT_EQ(third.find("three"), std::nullopt);
  // A folder that cannot be written is no reason to stop.
  testing::internal::CaptureStderr();
  AlgorithmCache nowhere("/proc/nowhere/gemm.json");
  nowhere.add("one", one);
  EXPECT_EQ(nowhere.find("one"), one);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("are not kept"));
}

/// The leading dimension of what is saved decides which algorithms there are.
TEST_F(GemmCuda, AlgorithmsAreKeptByTheSavedLeadingDimension) {
  cuda::Context context(cuda::loadDriver(SEQPAR_FAKE_CUDA), 0);
  cuda::Stream stream(context);
  std::string path = scratch / "saved.json";
  cuda::Gemm gemm(context, cuda::loadCublasLt(SEQPAR_FAKE_CUBLASLT),
                  std::make_shared<AlgorithmCache>(path), false);
  auto on = device();
  DeviceArray<float> a(*on, randomFloats(m * k, 1)), b(*on, randomFloats(k * n, 2)),
      c(*on, randomFloats(m * n, 3)), bias(*on, randomFloats(n, 3)),
      saved(*on, randomFloats(2 * m * n, 4));
  on->synchronize();
  for (int64_t leading : {n, 2 * n})
    gemm.run({.a = a.data(),
              .b = b.data(),
              .c = c.data(),
              .m = m,
              .n = n,
              .k = k,
              .transposeA = false,
              .transposeB = false,
              .lda = k,
              .ldb = n,
              .ldc = n,
              .epilogue = GemmEpilogue::Gelu,
              .bias = bias.data(),
              .saved = saved.data(),
              .ldSaved = leading},
             stream, true);
  stream.synchronize();
  EXPECT_EQ(nlohmann::json::parse(std::ifstream(path)).at("algorithms").size(), 2u);
}

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(0.7978845608 * (x + 0.044715 * x * x * x)));
}

/// Epilogues by hand; every element of c, of the bias and of what is saved.
TEST_F(GemmCuda, Epilogues) {
  auto driver = cuda::loadDriver(SEQPAR_FAKE_CUDA);
  cuda::Context context(driver, 0);
  cuda::Stream stream(context);
  cuda::Gemm gemm(context, cuda::loadCublasLt(SEQPAR_FAKE_CUBLASLT),
                  std::make_shared<AlgorithmCache>(""), false);
  auto on = device();
  std::vector<float> a = randomFloats(m * k, 1), b = randomFloats(k * n, 2),
                     bias = randomFloats(n, 3), saved = randomFloats(m * n, 4);
  for (GemmEpilogue epilogue : {GemmEpilogue::Bias, GemmEpilogue::Gelu, GemmEpilogue::GeluGradient,
                                GemmEpilogue::BiasGradient}) {
    SCOPED_TRACE(int(epilogue));
    DeviceArray<float> da(*on, a), db(*on, b), dc(*on, std::vector<float>(m * n)), dbias(*on, bias),
        dsaved(*on, saved);
    on->synchronize();
    gemm.run({.a = da.data(),
              .b = db.data(),
              .c = dc.data(),
              .m = m,
              .n = n,
              .k = k,
              .transposeA = false,
              .transposeB = false,
              .lda = k,
              .ldb = n,
              .ldc = n,
              .epilogue = epilogue,
              .bias = dbias.data(),
              .saved = dsaved.data(),
              .ldSaved = n},
             stream, false);
    stream.synchronize();
    std::vector<float> c = dc.values(), savedAfter = dsaved.values(), biasAfter = dbias.values();
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double product = 0;
        for (int64_t l = 0; l < k; ++l)
          product += double(a[i * k + l]) * double(b[l * n + j]);
        double x = product + double(bias[j]), before = saved[i * n + j], step = 1e-5;
        double slope = (gelu(before + step) - gelu(before - step)) / (2 * step);
        double expected = epilogue == GemmEpilogue::Bias           ? x
                          : epilogue == GemmEpilogue::Gelu         ? gelu(x)
                          : epilogue == GemmEpilogue::GeluGradient ? product * slope
                                                                   : product;
        EXPECT_NEAR(c[i * n + j], expected, 1e-5);
        EXPECT_NEAR(savedAfter[i * n + j], epilogue == GemmEpilogue::Gelu ? x : before, 1e-5);
      }
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < k; ++l)
        sum += double(b[l * n + j]);
      EXPECT_NEAR(biasAfter[j], epilogue == GemmEpilogue::BiasGradient ? sum : double(bias[j]),
                  1e-5);
    }
  }
}

} // namespace

} // namespace seqpar::rt::test
