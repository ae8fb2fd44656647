//===- Attention16Test.cpp - tensor-core kernels, run on the host ---------===//
//
// Compared with double precision on operands that the 16-bit type holds exactly. What remains is
// the rounding of the probabilities, of the gradients of the scores and of the result to 16 bits:
// each of relative size `unit`, and averaged in sums.
//
//===----------------------------------------------------------------------===//

#include "HostAttention.h"

#include "DeviceAttention.h"

namespace seqpar::rt::test {
namespace {

using cuda::AttentionStorage;

/// What rounding to the type changes, relatively.
constexpr double unit(AttentionStorage storage) {
  return storage == AttentionStorage::BF16 ? 0x1p-9 : 0x1p-12;
}

void roundOperands(AttentionProblem &p, AttentionStorage storage) {
  for (std::vector<float> *values : {&p.q, &p.k, &p.v, &p.dout})
    for (float &value : *values)
      value = roundTo(storage, value);
}

/// Rounding alone gives 0.7 to 2 units of the largest element, up to 3 where there are few keys.
constexpr double kUnits = 4;

template <typename T>
void expectClose(const AttentionGradients &found, const AttentionValues<T> &expected, double unit) {
  EXPECT_LT(relativeDifference(found.lse, expected.lse), 1e-5);
  EXPECT_LT(relativeDifference(found.out, expected.out), kUnits * unit);
  EXPECT_LT(relativeDifference(found.delta, expected.delta), kUnits * unit);
  EXPECT_LT(relativeDifference(found.dq, expected.dq), kUnits * unit);
  EXPECT_LT(relativeDifference(found.dk, expected.dk), kUnits * unit);
  EXPECT_LT(relativeDifference(found.dv, expected.dv), kUnits * unit);
}

struct Case {
  AttentionStorage storage;
  int64_t headDim;
  bool dropout;
  bool warpgroup;
};
class CudaAttention16 : public testing::TestWithParam<Case> {
protected:
  AttentionProblem problem(int64_t batch, int64_t heads, int64_t queries, int64_t keys) {
    AttentionProblem p(batch, heads, GetParam().headDim, queries, keys);
    roundOperands(p, GetParam().storage);
    if (GetParam().dropout) // the first key is the second of a Philox block
      p.dropout = {0.3f, 7, 11, 5, nullptr, 1000, 2001};
    return p;
  }
  AttentionGradients run(const AttentionProblem &p, const std::vector<int64_t> &blocks,
                         std::vector<int> order = {}, unsigned threadOrder = 0,
                         bool floatOut = false) {
    auto device = createHostAttention(
        GetParam().storage,
        {.order = threadOrder, .warpgroup = GetParam().warpgroup, .floatOut = floatOut});
    return runAttention(*device, p, blocks, order);
  }
  void check(const AttentionProblem &p, const std::vector<int64_t> &blocks,
             std::vector<int> order = {}, unsigned threadOrder = 0) {
    expectClose(run(p, blocks, order, threadOrder), attentionReference(p),
                unit(GetParam().storage));
  }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::vector<HostKernels> *kernels : {&kHostKernelsBF16, &kHostKernelsF16})
    for (const HostKernels &each : *kernels)
      for (bool warpgroup : {false, true})
        if (each.kernels[warpgroup ? int(cuda::AttentionKernel::ForwardWarpgroup) : 0])
          all.push_back({each.config.storage, each.config.headDim, each.config.dropout, warpgroup});
  return all;
}
INSTANTIATE_TEST_SUITE_P(, CudaAttention16, testing::ValuesIn(cases()), [](auto &info) {
  const Case &c = info.param;
  return std::string(c.storage == AttentionStorage::BF16 ? "bf16_" : "f16_") +
         std::to_string(c.headDim) + (c.dropout ? "_dropout" : "") +
         (c.warpgroup ? "_warpgroup" : "");
});

TEST_P(CudaAttention16, oneBlock) {
  check(problem(2, 2, 70, 131), {131}, {}, 2);
  check(problem(1, 2, 5, 3), {3});
}

TEST_P(CudaAttention16, blocksOfARing) {
  AttentionProblem p = problem(1, 3, 37, 150);
  p.randomMask(0.7);
  std::fill_n(p.mask.begin() + 110, 40, 0); // with three blocks: less than one tile is left of one
  check(p, {75, 75}, {1, 0}, 1);
  check(p, {50, 50, 50}, {1, 0, 2}, 3);
}

/// Blocks and tiles without any key that counts, at each place.
TEST_P(CudaAttention16, maskedBlocks) {
  for (int masked = 0; masked < 3; ++masked) {
    AttentionProblem p = problem(1, 1, 20, 3 * 70);
    std::fill_n(p.mask.begin() + masked * 70, 70, 0);
    check(p, masked == 1 ? std::vector<int64_t>{210} : std::vector<int64_t>{70, 70, 70});
  }
}

TEST_P(CudaAttention16, queriesWithoutKeysGetZeros) {
  AttentionProblem p = problem(2, 1, 19, 90);
  std::fill_n(p.mask.begin(), 90, 0); // all of sample 0
  AttentionGradients found = run(p, {40, 50});
  expectClose(found, attentionReference(p), unit(GetParam().storage));
  size_t queryElements = size_t(19 * p.headDim), keyElements = size_t(90 * p.headDim);
  for (size_t i = 0; i < queryElements; ++i)
    ASSERT_TRUE(found.out[i] == 0 && found.dq[i] == 0) << i;
  for (size_t i = 0; i < keyElements; ++i)
    ASSERT_TRUE(found.dk[i] == 0 && found.dv[i] == 0) << i;
  for (size_t i = 0; i < 19; ++i)
    ASSERT_EQ(found.lse[i], INFINITY) << i;
}

TEST_P(CudaAttention16, addsToKeyGradients) {
  AttentionProblem p = problem(1, 2, 50, 140);
  std::fill_n(p.mask.begin() + 70, 70, 0); // the second block is masked and must be kept
  AttentionReference expected = attentionReference(p);
  p.keyGradientsBefore = 0.5f;
  for (std::vector<double> *values : {&expected.dk, &expected.dv})
    for (double &value : *values)
      value += 0.5;
  expectClose(run(p, {70, 70}), expected, unit(GetParam().storage));
}

/// Scores far from 0, where exponentials without the running maximum overflow.
TEST_P(CudaAttention16, largeScores) {
  AttentionProblem p = problem(1, 1, 20, 150);
  p.scale = 400 / float(p.headDim);
  AttentionReference expected = attentionReference(p);
  AttentionGradients found = run(p, {60, 90}, {1, 0});
  EXPECT_LT(relativeDifference(found.lse, expected.lse), 1e-5);
  EXPECT_LT(relativeDifference(found.out, expected.out), kUnits * unit(GetParam().storage));
  EXPECT_LT(relativeDifference(found.dv, expected.dv), kUnits * unit(GetParam().storage));
}

/// Not even rounding depends on the order in which threads and blocks run.
TEST_P(CudaAttention16, sameBitsInAnyOrder) {
  AttentionProblem p = problem(1, 1, 130, 150);
  p.randomMask(0.9);
  AttentionGradients first = run(p, {150}), found = run(p, {150}, {}, 7);
  EXPECT_EQ(found.out, first.out);
  EXPECT_EQ(found.lse, first.lse);
  EXPECT_EQ(found.dq, first.dq);
  EXPECT_EQ(found.dk, first.dk);
  EXPECT_EQ(found.dv, first.dv);
}

/// Without `out` the result stays in the accumulator: the same numbers before they are rounded.
TEST_P(CudaAttention16, resultsInFp32) {
  AttentionProblem p = problem(2, 1, 70, 150);
  p.randomMask(0.9);
  std::fill_n(p.mask.begin(), 150, 0); // all of sample 0
  for (const std::vector<int64_t> &blocks : {std::vector<int64_t>{150}, {75, 75}}) {
    AttentionGradients narrow = run(p, blocks), wide = run(p, blocks, {}, 0, true);
    EXPECT_LT(relativeDifference(wide.out, attentionReference(p).out), unit(GetParam().storage));
    size_t rounded = 0;
    for (size_t i = 0; i < wide.out.size(); ++i) {
      ASSERT_EQ(roundTo(GetParam().storage, wide.out[i]), narrow.out[i]) << i;
      rounded += wide.out[i] != narrow.out[i];
    }
    EXPECT_GT(rounded, wide.out.size() / 4);
    EXPECT_EQ(wide.lse, narrow.lse);
    EXPECT_EQ(wide.dq, narrow.dq);
  }
}

TEST_P(CudaAttention16, asOnTheCpu) {
  AttentionProblem p = problem(1, 2, 65, 129);
  p.randomMask(0.9);
  AttentionGradients cpu = runAttention(*createCpuDevice(1), p, {64, 65});
  expectClose(run(p, {64, 65}), cpu, unit(GetParam().storage));
}

} // namespace
} // namespace seqpar::rt::test
