//===- HostKernelsBF16.cpp - kernels of 16-bit types compiled for the host ------===//

// The kernels' text comes after what it is made of.
#include "HostPtx.h"
#include "seqpar/program/CudaAttention.h"
// clang-format off
#include "Common.cuh"
#include "Tiles.cuh"
#include "Products.cuh"
#include "Forward.cuh"
#include "Backward.cuh"
// clang-format on

#include "HostAttention.h"

namespace seqpar::rt::test {

namespace {

using cuda::BFloat16, cuda::AttentionParameters;

template <int headDim, bool dropout> constexpr HostKernels make() {
  HostKernels result = {
      {cuda::AttentionStorage::BF16, headDim, dropout},
      {[](AttentionParameters p) { cuda::forward<BFloat16, headDim, dropout>(p); },
       [](AttentionParameters p) { cuda::delta<BFloat16, headDim>(p); },
       [](AttentionParameters p) { cuda::backwardKeys<BFloat16, headDim, dropout>(p); },
       [](AttentionParameters p) { cuda::backwardQueries<BFloat16, headDim, dropout>(p); }}};
  if constexpr (cuda::attentionSupportsWarpgroup(cuda::AttentionStorage::BF16, headDim)) {
    result.kernels[4] = [](AttentionParameters p) {
      cuda::forward<BFloat16, headDim, dropout, true>(p);
    };
    result.kernels[5] = [](AttentionParameters p) {
      cuda::backwardKeys<BFloat16, headDim, dropout, true>(p);
    };
    result.kernels[6] = [](AttentionParameters p) {
      cuda::backwardQueries<BFloat16, headDim, dropout, true>(p);
    };
  }
  return result;
}

} // namespace

const std::vector<HostKernels> kHostKernelsBF16 = {
    make<32, false>(), make<64, false>(), make<96, false>(), make<128, false>(), make<40, false>(),
    make<32, true>(),  make<64, true>(),  make<96, true>(),  make<128, true>(),  make<80, true>()};

} // namespace seqpar::rt::test
