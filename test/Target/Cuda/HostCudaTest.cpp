//===- HostCudaTest.cpp - kernels run on the host as on the device --------===//
#include "HostCuda.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using testing::HasSubstr;
using testing::ThrowsMessage;

extern "C" __global__ void __launch_bounds__(96) sumOfRow(const float *x, float *sum, int columns) {
  __shared__ float parts[32];
  float total = 0;
  for (int i = int(threadIdx.x); i < columns; i += int(blockDim.x))
    total += x[size_t(blockIdx.x) * columns + i];
  for (int bits = 16; bits > 0; bits /= 2)
    total += __shfl_xor_sync(0xffffffffu, total, bits);
  if (threadIdx.x % 32 == 0)
    parts[threadIdx.x / 32] = total;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (unsigned warp = 1; warp < blockDim.x / 32; ++warp)
      total += parts[warp];
    sum[blockIdx.x] = total;
  }
}
HOSTCUDA_ENTRY(sumOfRow)

/// Each thread hands its number to the next one; `synchronizes` = false leaves the barrier out.
__global__ void rotate(int *out, bool synchronizes) {
  extern __shared__ __align__(128) unsigned char dynamicShared[];
  int *values = reinterpret_cast<int *>(dynamicShared);
  values[threadIdx.x] = int(threadIdx.x);
  if (synchronizes)
    __syncthreads();
  out[threadIdx.x] = values[(threadIdx.x + 1) % blockDim.x];
}

/// Tells whether dynamic shared memory starts as NaN, and writes to it.
extern "C" __global__ void startOfShared(int *out) {
  extern __shared__ __align__(128) unsigned char dynamicShared[];
  out[blockIdx.x] = std::isnan(*reinterpret_cast<float *>(dynamicShared));
  *reinterpret_cast<float *>(dynamicShared) = 1;
}

namespace {

class HostCuda : public testing::TestWithParam<unsigned> {
protected:
  void SetUp() override { hostcuda::order = GetParam(); }
  void TearDown() override { hostcuda::order = 0; }
};

INSTANTIATE_TEST_SUITE_P(Orders, HostCuda, testing::Values(0, 1, 2, 3));

TEST_P(HostCuda, reductionOfABlock) {
  std::vector<float> x(3 * 1000), sums(3, -1);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = float(i);
  hostcuda::launch(sumOfRow, {3}, {96}, 0, x.data(), sums.data(), 1000);
  EXPECT_EQ(sums, (std::vector<float>{499500, 1499500, 2499500}));
}

TEST_P(HostCuda, packedLaunch) {
  std::vector<float> x(64, 0.5f), sums(1);
  const float *in = x.data();
  float *out = sums.data();
  int columns = 64;
  void *parameters[] = {&in, &out, &columns};
  unsigned grid[] = {1, 1, 1}, block[] = {32, 1, 1};
  hostcuda::PackedLaunch entry = host_sumOfRow;
  EXPECT_EQ(entry(grid, block, 0, parameters, GetParam()), nullptr);
  EXPECT_EQ(sums[0], 32);
  block[0] = 2000;
  EXPECT_STREQ(entry(grid, block, 0, parameters, GetParam()),
               "expected 1 to 1024 threads of a block, found 2000");
}

TEST_P(HostCuda, barrier) {
  std::vector<int> out(100), expected(100);
  for (int i = 0; i < 100; ++i)
    expected[i] = (i + 1) % 100;
  hostcuda::launch(rotate, {1}, {100}, 400, out.data(), true);
  EXPECT_EQ(out, expected);
  hostcuda::launch(rotate, {1}, {100}, 400, out.data(), false);
  EXPECT_NE(out, expected);
}

TEST_P(HostCuda, sharedMemoryStartsAsNaN) {
  std::vector<int> out(2);
  hostcuda::launch(startOfShared, {2}, {1}, 4, out.data());
  EXPECT_EQ(out, (std::vector<int>{1, 1}));
}

TEST_P(HostCuda, warpCollectives) {
  std::vector<unsigned> out(64 * 6);
  auto kernel = +[](unsigned *result) {
    unsigned lane = threadIdx.x % 32, *mine = result + threadIdx.x * 6;
    mine[0] = __shfl_sync(~0u, lane, 5);
    mine[1] = __shfl_sync(~0u, lane, 1, 8);
    mine[2] = __shfl_down_sync(~0u, lane, 3);
    mine[3] = __shfl_up_sync(~0u, lane, 3, 16);
    mine[4] = __ballot_sync(~0u, lane % 2);
    mine[5] = unsigned(__any_sync(~0u, lane == 7)) + 2 * unsigned(__all_sync(~0u, lane < 31));
    if (lane < 4) {
      __syncwarp(0xf);
      mine[5] += 4 * __shfl_xor_sync(0xfu, lane, 3);
    }
  };
  hostcuda::launch(kernel, {1}, {64}, 0, out.data());
  for (unsigned thread = 0; thread < 64; ++thread) {
    unsigned lane = thread % 32, *mine = &out[thread * 6];
    EXPECT_EQ(mine[0], 5u);
    EXPECT_EQ(mine[1], lane / 8 * 8 + 1);
    EXPECT_EQ(mine[2], lane < 29 ? lane + 3 : lane);
    EXPECT_EQ(mine[3], lane % 16 < 3 ? lane : lane - 3);
    EXPECT_EQ(mine[4], 0xaaaaaaaau);
    EXPECT_EQ(mine[5], 1 + (lane < 4 ? 4 * (lane ^ 3) : 0));
  }
}

TEST_P(HostCuda, votesOfABlock) {
  std::vector<int> out(50 * 3);
  auto kernel = +[](int *result) {
    int *mine = result + threadIdx.x * 3;
    mine[0] = __syncthreads_count(threadIdx.x % 3 == 0);
    mine[1] = __syncthreads_or(threadIdx.x == 49);
    mine[2] = __syncthreads_and(threadIdx.x != 49);
  };
  hostcuda::launch(kernel, {1}, {50}, 0, out.data());
  for (int thread = 0; thread < 50; ++thread)
    EXPECT_EQ(std::vector<int>(&out[thread * 3], &out[thread * 3] + 3),
              (std::vector<int>{17, 1, 0}));
}

TEST_P(HostCuda, threadsThatReturnAreNotWaitedFor) {
  std::vector<int> out(64);
  auto kernel = +[](int *result) {
    if (threadIdx.x >= 40)
      return;
    __syncthreads();
    result[threadIdx.x] = __shfl_xor_sync(threadIdx.x < 32 ? ~0u : 0xffu, int(threadIdx.x), 1);
  };
  hostcuda::launch(kernel, {1}, {64}, 0, out.data());
  for (int thread = 0; thread < 40; ++thread)
    EXPECT_EQ(out[thread], thread ^ 1);
}

TEST_P(HostCuda, errors) {
  auto expectError = [](void (*kernel)(int *), const char *message) {
    int x = 0;
    EXPECT_THAT([&] { hostcuda::launch(kernel, {1}, {64}, 4, &x); },
                ThrowsMessage<std::runtime_error>(HasSubstr(message)));
  };
  expectError(
      [](int *) {
        if (threadIdx.x == 40)
          __syncwarp();
        else
          __syncthreads();
      },
      "waits for ever in __sync");
  expectError([](int *) { __shfl_sync(1u, 1, 0); }, "the mask lacks the lane that calls it");
  expectError(
      [](int *) {
        if (threadIdx.x % 32 < 4)
          __shfl_xor_sync(0xfu, 1, 4);
      },
      "which takes no part");
  expectError(
      [](int *) {
        if (threadIdx.x % 2)
          __syncwarp();
        else
          __any_sync(~0u, 1);
      },
      "other lanes of the mask are in");
  expectError([](int *) { dynamicShared[8] = 0; }, "written at byte 8, beyond the 4 asked for");
  expectError([](int *) { __trap(); }, "__trap");
}

TEST_P(HostCuda, blocksInThreeDimensions) {
  std::vector<unsigned> count(2 * 3 * 4);
  auto kernel = +[](unsigned *out) {
    unsigned at = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    atomicAdd(&out[at], 1 + threadIdx.x + 10 * threadIdx.y);
  };
  hostcuda::launch(kernel, {2, 3, 4}, {2, 2}, 0, count.data());
  EXPECT_EQ(count, std::vector<unsigned>(24, 4 + 2 + 20));
}

TEST(HostCudaTypes, halfWidthFloats) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    float half = hostcuda::fromHalfBits(uint16_t(bits)),
          wide = hostcuda::fromBfloatBits(uint16_t(bits));
    if (half == half)
      ASSERT_EQ(hostcuda::toHalfBits(half), bits);
    if (wide == wide)
      ASSERT_EQ(hostcuda::toBfloatBits(wide), bits);
  }
  EXPECT_EQ(float(__half(1.0f + 0x1p-11f)), 1.0f);                 // ties to even
  EXPECT_EQ(float(__half(1.0f + 0x3p-11f)), 1.0f + 0x1p-9f);       //
  EXPECT_EQ(float(__half(1.0f + 0x1.01p-11f)), 1.0f + 0x1p-10f);   //
  EXPECT_EQ(float(__half(0x1.8p-25f)), 0x1p-24f);                  // below the normal numbers
  EXPECT_EQ(float(__half(0x1p-25f)), 0.0f);                        //
  EXPECT_EQ(float(__half(65519.0f)), 65504.0f);                    // the largest number
  EXPECT_EQ(float(__half(-65520.0f)), -INFINITY);                  //
  EXPECT_EQ(float(__nv_bfloat16(1.0f + 0x1p-8f)), 1.0f);           //
  EXPECT_EQ(float(__nv_bfloat16(1.0f + 0x3p-8f)), 1.0f + 0x1p-6f); //
  EXPECT_EQ(float(__nv_bfloat16(3.4e38f)), INFINITY);              //
  EXPECT_TRUE(std::isnan(float(__nv_bfloat16(NAN))) && std::isnan(float(__half(NAN))));
}

} // namespace
