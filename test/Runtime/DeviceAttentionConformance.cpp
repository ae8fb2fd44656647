//===- DeviceAttentionConformance.cpp - attention blocks ------------------===//

#include "DeviceAttention.h"

#include "seqpar/rt/Error.h"

#include <algorithm>
#include <numeric>

namespace seqpar::rt::test {
namespace {

constexpr double kTolerance = 1e-5;

void expectClose(const AttentionGradients &found, const AttentionReference &expected) {
  EXPECT_LT(relativeDifference(found.out, expected.out), kTolerance);
  EXPECT_LT(relativeDifference(found.lse, expected.lse), kTolerance);
  EXPECT_LT(relativeDifference(found.delta, expected.delta), kTolerance);
  EXPECT_LT(relativeDifference(found.dq, expected.dq), kTolerance);
  EXPECT_LT(relativeDifference(found.dk, expected.dk), kTolerance);
  EXPECT_LT(relativeDifference(found.dv, expected.dv), kTolerance);
}

TEST_P(DeviceConformance, AttentionOfOneBlock) {
  const int64_t shapes[][5] = {{1, 1, 1, 1, 1},      {2, 3, 8, 5, 9},      {1, 2, 5, 37, 50},
                               {2, 2, 64, 150, 300}, {1, 2, 128, 131, 70}, {1, 1, 256, 20, 260},
                               {2, 1, 33, 129, 257}};
  for (auto [batch, heads, headDim, queries, keys] : shapes) {
    SCOPED_TRACE(testing::Message() << batch << " samples, " << heads << " heads of " << headDim
                                    << ", " << queries << " queries, " << keys << " keys");
    AttentionProblem problem(batch, heads, headDim, queries, keys);
    expectClose(runAttention(*device, problem, {keys}), attentionReference(problem));
  }
}

TEST_P(DeviceConformance, AttentionWithMask) {
  AttentionProblem problem(3, 2, 16, 40, 330);
  problem.randomMask(0.5);
  std::fill_n(problem.mask.begin() + problem.keys, 256, 0); // sample 1: its first tile
  expectClose(runAttention(*device, problem, {problem.keys}), attentionReference(problem));
}

TEST_P(DeviceConformance, AttentionInBlocks) {
  AttentionProblem problem(2, 3, 24, 70, 290);
  problem.randomMask(0.7);
  std::fill_n(problem.mask.begin() + 200, 90, 0); // sample 0: a tail that covers whole blocks
  AttentionReference expected = attentionReference(problem);
  const std::vector<std::vector<int64_t>> splits = {
      {290}, {100, 190}, {1, 256, 33}, {40, 41, 42, 43, 44, 45, 35}};
  for (const std::vector<int64_t> &split : splits)
    for (uint32_t seed = 0; seed < 3; ++seed) {
      SCOPED_TRACE(testing::Message() << split.size() << " blocks, order " << seed);
      std::vector<int> order(split.size());
      std::iota(order.begin(), order.end(), 0);
      if (seed > 0)
        std::shuffle(order.begin(), order.end(), std::mt19937(seed));
      expectClose(runAttention(*device, problem, split, order), expected);
    }
}

/// A block without any key before, between and after blocks with some.
TEST_P(DeviceConformance, AttentionWithMaskedBlocks) {
  for (int masked = 0; masked < 3; ++masked) {
    AttentionProblem problem(1, 1, 8, 6, 30);
    std::fill_n(problem.mask.begin() + masked * 10, 10, 0);
    expectClose(runAttention(*device, problem, {10, 10, 10}), attentionReference(problem));
  }
}

TEST_P(DeviceConformance, QueriesWithoutKeysGetZeros) {
  AttentionProblem problem(2, 2, 8, 7, 20);
  std::fill_n(problem.mask.begin(), 20, 0); // all of sample 0
  AttentionGradients found = runAttention(*device, problem, {9, 11});
  expectClose(found, attentionReference(problem));
  size_t queryElements = 7 * 2 * 8, keyElements = 20 * 2 * 8;
  for (size_t i = 0; i < queryElements; ++i)
    ASSERT_TRUE(found.out[i] == 0 && found.dq[i] == 0) << i;
  for (size_t i = 0; i < keyElements; ++i)
    ASSERT_TRUE(found.dk[i] == 0 && found.dv[i] == 0) << i;
  for (size_t i = 0; i < 2 * 7; ++i)
    ASSERT_EQ(found.lse[i], INFINITY) << i;
}

/// Scores of +-200: without the running maximum the exponentials overflow.
TEST_P(DeviceConformance, AttentionWithLargeScores) {
  AttentionProblem problem(1, 2, 16, 9, 40);
  problem.scale = 40;
  AttentionReference expected = attentionReference(problem);
  AttentionGradients found = runAttention(*device, problem, {15, 25});
  EXPECT_LT(relativeDifference(found.out, expected.out), 1e-4);
  EXPECT_LT(relativeDifference(found.lse, expected.lse), 1e-5);
  EXPECT_LT(relativeDifference(found.dq, expected.dq), 1e-4);
  EXPECT_LT(relativeDifference(found.dv, expected.dv), 1e-4);
}

TEST_P(DeviceConformance, AttentionAddsToKeyGradients) {
  AttentionProblem problem(1, 2, 16, 50, 60);
  std::fill_n(problem.mask.begin() + 30, 30, 0); // the second block is masked and must be kept
  AttentionReference expected = attentionReference(problem);
  problem.keyGradientsBefore = 0.5f;
  for (double &value : expected.dk)
    value += 0.5;
  for (double &value : expected.dv)
    value += 0.5;
  expectClose(runAttention(*device, problem, {30, 30}), expected);
}

TEST_P(DeviceConformance, AttentionDropoutFollowsCoordinates) {
  AttentionProblem problem(2, 2, 16, 33, 275);
  problem.randomMask(0.8);
  problem.dropout = {0.3f, 7, 11, 5, nullptr, 1000, 2001};
  AttentionReference expected = attentionReference(problem);
  expectClose(runAttention(*device, problem, {275}), expected);
  expectClose(runAttention(*device, problem, {3, 129, 143}), expected);
}

TEST_P(DeviceConformance, AttentionDropoutKeepsItsShare) {
  // Equal scores and ones as values: out is the share kept, scaled by 1 / (1 - rate).
  AttentionProblem problem(1, 1, 1, 400, 1000);
  std::fill(problem.q.begin(), problem.q.end(), 0.0f);
  std::fill(problem.v.begin(), problem.v.end(), 1.0f);
  problem.dropout = {0.1f, 1, 2, 3, nullptr, 0, 0};
  std::vector<float> out = runAttention(*device, problem, {1000}).out;
  double mean = std::accumulate(out.begin(), out.end(), 0.0) / double(out.size());
  // 400,000 draws: a standard deviation of sqrt(0.1 * 0.9 / 4e5) / 0.9 = 5e-4.
  EXPECT_NEAR(mean, 1.0, 2.5e-3);
}

TEST_P(DeviceConformance, AttentionErrorsNameTheExtent) {
  DeviceArray<float> memory(*device, randomFloats(4096, 1));
  DeviceArray<int32_t> mask(*device, std::vector<int32_t>(8, 1));
  float *data = memory.data();
  auto message = [&](AttentionShape shape) -> std::string {
    try {
      device->attentionForward(
          {shape, data, data, data, mask.data(), data + 2048, data, data, true, true, {}});
      device->synchronize();
    } catch (const Error &error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({1, 1, 4, 2, 8, 8, 0, 1.0f}), "");
  EXPECT_NE(message({1, 1, 257, 2, 2, 8, 0, 1.0f}).find("1 to 256, found 257"), std::string::npos);
  EXPECT_NE(message({1, 1, 4, 2, 8, 8, 1, 1.0f}).find("mask of length 8"), std::string::npos);
  EXPECT_NE(message({1, 1, 4, 0, 8, 8, 0, 1.0f}).find("at least 1"), std::string::npos);
}

} // namespace
} // namespace seqpar::rt::test
