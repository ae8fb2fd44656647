//===- AttentionF32Test.cpp - fp32 kernels pass the devices' cases --------===//

#include "HostAttention.h"

#include "DeviceAttention.h"

namespace seqpar::rt::test {

std::vector<DeviceCase> deviceCases() {
  return {{"Ascending", [] { return createHostAttention(cuda::AttentionStorage::F32); }},
          {"Descending",
           [] { return createHostAttention(cuda::AttentionStorage::F32, {.order = 1}); }}};
}

namespace {

INSTANTIATE_TEST_SUITE_P(CudaText, DeviceConformance, testing::ValuesIn(deviceCases()), caseName);

TEST(CudaAttentionF32, otherHeadDimensions) {
  for (int64_t headDim : {40, 96}) {
    AttentionProblem problem(1, 2, headDim, 45, 77);
    problem.randomMask(0.8);
    problem.dropout = {0.2f, 7, 11, 5, nullptr, 3, 6};
    AttentionReference expected = attentionReference(problem);
    auto device = createHostAttention(cuda::AttentionStorage::F32, {.order = 2});
    AttentionGradients found = runAttention(*device, problem, {33, 44});
    EXPECT_LT(relativeDifference(found.out, expected.out), 1e-5);
    EXPECT_LT(relativeDifference(found.dq, expected.dq), 1e-5);
    EXPECT_LT(relativeDifference(found.dk, expected.dk), 1e-5);
    EXPECT_LT(relativeDifference(found.dv, expected.dv), 1e-5);
  }
}

} // namespace
} // namespace seqpar::rt::test
