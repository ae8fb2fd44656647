//===- DeviceCpuTest.cpp - the CPU device ---------------------------------===//

#include "DeviceAttention.h"
#include "DeviceConformance.h"
#include "DeviceKernels.h"

#include "seqpar/program/program_generated.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/cpu/AttentionTiles.h"
#include "seqpar/rt/cpu/KernelImage.h"

#include <fstream>
#include <iterator>
#include <thread>

namespace seqpar::rt::test {

namespace {

const std::string kTargets[] = {"x86-64-v3", "x86-64-v4"};

std::vector<uint8_t> readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    fail("cannot read {}; build the tests again", path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

CpuImage image(const std::string &target) {
  return {target, readFile(std::string(SEQPAR_DEVICE_KERNELS) + target + ".so")};
}

} // namespace

std::vector<DeviceCase> deviceCases() {
  std::vector<DeviceCase> cases;
  for (const std::string &target : kTargets)
    for (int threads : {1, 3})
      if (hostSupports(target))
        cases.push_back({std::string(target == "x86-64-v3" ? "Avx2" : "Avx512") + "_" +
                             std::to_string(threads) + "_threads",
                         [=] { return createCpuDevice(threads, target); }});
  return cases;
}

const std::vector<uint8_t> &kernelProgram() {
  static const std::vector<uint8_t> program =
      buildKernelProgram({image(kTargets[0]), image(kTargets[1])});
  return program;
}

namespace {

void expectSame(const AttentionGradients &a, const AttentionGradients &b) {
  EXPECT_EQ(a.out, b.out);
  EXPECT_EQ(a.lse, b.lse);
  EXPECT_EQ(a.dq, b.dq);
  EXPECT_EQ(a.dk, b.dk);
  EXPECT_EQ(a.dv, b.dv);
}

TEST(CpuDevice, AttentionDoesNotDependOnTheThreads) {
  for (const std::string &target : kTargets) {
    if (!hostSupports(target))
      continue;
    auto one = createCpuDevice(1, target), three = createCpuDevice(3, target);
    AttentionProblem problem(1, 2, 64, 300, 600); // fewer heads than threads: the two-pass form
    problem.randomMask(0.9);
    problem.dropout.rate = 0.1f;
    expectSame(runAttention(*one, problem, {200, 400}), runAttention(*three, problem, {200, 400}));
    AttentionProblem many(2, 3, 40, 100, 70);
    expectSame(runAttention(*one, many, {70}), runAttention(*three, many, {70}));
  }
}

/// What is computed is fp32's; it is rounded once.
TEST(CpuDevice, AttentionRoundsOnlyItsResult) {
  auto device = createCpuDevice(2);
  for (FloatType type : {FloatType::BF16, FloatType::F16}) {
    AttentionProblem problem(2, 3, 40, 100, 70);
    problem.setType(type, type);
    AttentionGradients found = runAttention(*device, problem, {70});
    problem.type = problem.outType = FloatType::F32;
    std::vector<float> expected = runAttention(*device, problem, {70}).out;
    for (float &value : expected)
      value = rounded(type, value);
    EXPECT_EQ(found.out, expected);
  }
}

/// As when the ranks of a grid are threads of one process.
TEST(CpuDevice, RanksRunAtTheSameTime) {
  AttentionProblem problem(1, 2, 32, 90, 140);
  problem.dropout.rate = 0.2f;
  AttentionGradients expected = runAttention(*createCpuDevice(1), problem, {60, 80});
  std::vector<AttentionGradients> found(4);
  std::vector<std::thread> ranks;
  for (AttentionGradients &each : found)
    ranks.emplace_back([&problem, &each] {
      auto device = createCpuDevice(2);
      for (int repeat = 0; repeat < 5; ++repeat)
        each = runAttention(*device, problem, {60, 80});
    });
  for (std::thread &rank : ranks)
    rank.join();
  for (const AttentionGradients &each : found)
    expectSame(each, expected);
}

TEST(CpuDevice, SumsDoNotDependOnTheThreads) {
  std::vector<float> x = randomFloats(5000 * kColumns, 1);
  std::vector<std::vector<float>> sums;
  for (int threads : {1, 2, 3}) {
    auto device = createCpuDevice(threads);
    device->loadKernels(*program::GetProgram(kernelProgram().data()));
    std::vector<float> y(x.size()), sum(kColumns);
    double squares;
    int32_t count;
    void *operands[] = {x.data(), sum.data(), &squares, &count, y.data()};
    device->rowKernel({SumRows, operands, 5000, false});
    sums.push_back(sum);
  }
  EXPECT_EQ(sums[0], sums[1]);
  EXPECT_EQ(sums[0], sums[2]);
}

TEST(CpuDevice, ScatterAddRunsInOrder) {
  constexpr int64_t rows = 20000;
  std::vector<float> x = randomFloats(rows * kColumns, 1), expected(kRowsOfTable * kColumns);
  std::vector<int32_t> index(rows);
  for (int64_t i = 0; i < rows; ++i)
    index[i] = int32_t(i % kRowsOfTable);
  for (int64_t i = 0; i < rows * kColumns; ++i)
    expected[index[i / kColumns] * kColumns + i % kColumns] += x[i];
  auto device = createCpuDevice(3);
  device->loadKernels(*program::GetProgram(kernelProgram().data()));
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::vector<float> table(expected.size());
    void *operands[] = {x.data(), index.data(), table.data()};
    device->rowKernel({ScatterAdd, operands, rows, false});
    ASSERT_EQ(table, expected);
  }
}

TEST(CpuDevice, ExponentialIsAccurate) {
  for (const std::string &target : kTargets) {
    if (!hostSupports(target))
      continue;
    const AttentionTiles &tiles =
        target == "x86-64-v4" ? kAttentionTilesAvx512 : kAttentionTilesAvx2;
    constexpr int64_t columns = 512;
    std::vector<float> scores(columns), input;
    for (int64_t j = 0; j < columns; ++j)
      scores[j] = -86.0f * float(j) / float(columns) * float(j % 7) / 6.0f;
    input = scores;
    float maximum = 0, sum = 0;
    tiles.forward({scores.data(), 1, columns, columns, nullptr, &maximum, &sum, nullptr, 0, 0, {}});
    for (int64_t j = 0; j < columns; ++j) {
      double exact = std::exp(double(input[j]));
      EXPECT_LT(std::abs(double(scores[j]) - exact), 3e-7 * exact) << target << " " << input[j];
    }
  }
}

std::string loadError(const std::vector<uint8_t> &program, const std::string &target) {
  try {
    createCpuDevice(1, target)->loadKernels(*program::GetProgram(program.data()));
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

TEST(CpuDevice, LoadsTheBestImageOfTheProgram) {
  // Only the older target in the program: a newer host takes it.
  EXPECT_EQ(loadError(buildKernelProgram({image("x86-64-v3")}), ""), "");
  EXPECT_EQ(loadError(kernelProgram(), "x86-64-v3"), "");
  EXPECT_NE(loadError(buildKernelProgram({}), "x86-64-v3").find("found none"), std::string::npos);
  EXPECT_NE(loadError(buildKernelProgram({image("x86-64-v4")}), "x86-64-v3")
                .find("kernels for x86-64-v3 in the program, found x86-64-v4"),
            std::string::npos);
}

TEST(CpuDevice, RefusesDamagedImages) {
  CpuImage whole = image("x86-64-v3");
  for (size_t size : {size_t(0), size_t(30), size_t(64), whole.object.size() / 2}) {
    CpuImage cut = whole;
    cut.object.resize(size);
    EXPECT_NE(loadError(buildKernelProgram({cut}), "x86-64-v3").find("not a complete"),
              std::string::npos)
        << size;
  }
  EXPECT_NE(loadError(buildKernelProgram({whole}, true), "x86-64-v3").find("lack no_such_kernel"),
            std::string::npos);
}

/// Images come from memory files; the loader must not take the second for the first.
TEST(CpuDevice, TwoProgramsAtOnce) {
  const program::Program &program = *program::GetProgram(kernelProgram().data());
  auto first = std::make_unique<KernelImage>(program, "x86-64-v3");
  KernelImage second(program, "x86-64-v3");
  EXPECT_NE(first->function(ScaleAndBias), second.function(ScaleAndBias));
  first.reset();
  float x[kColumns] = {2.0f}, s = 3.0f, bias[kColumns] = {1.0f}, factor = 1.0f, y[kColumns];
  void *operands[] = {x, &s, bias, &factor, y};
  second.function(ScaleAndBias)(operands, 0, 1);
  EXPECT_EQ(y[0], 7.0f);
}

TEST(CpuDevice, RefusesUnknownTargets) {
  EXPECT_THROW(createCpuDevice(1, "x86-64-v9"), Error);
  EXPECT_THROW(createCpuDevice(0), Error);
}

} // namespace
} // namespace seqpar::rt::test
