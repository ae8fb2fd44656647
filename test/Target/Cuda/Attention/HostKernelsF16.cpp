//===- HostKernelsF16.cpp - kernels of 16-bit types compiled for the host ------===//

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

using cuda::Float16, cuda::AttentionParameters;

template <int headDim, bool dropout> constexpr HostKernels make() {
  HostKernels result = {
      {cuda::AttentionStorage::F16, headDim, dropout},
      {[](AttentionParameters p) { cuda::forward<Float16, headDim, dropout>(p); },
       [](AttentionParameters p) { cuda::delta<Float16, headDim>(p); },
       [](AttentionParameters p) { cuda::backwardKeys<Float16, headDim, dropout>(p); },
       [](AttentionParameters p) { cuda::backwardQueries<Float16, headDim, dropout>(p); }}};
  if constexpr (cuda::attentionSupportsWarpgroup(cuda::AttentionStorage::F16, headDim)) {
    result.kernels[4] = [](AttentionParameters p) {
      cuda::forward<Float16, headDim, dropout, true>(p);
    };
    result.kernels[5] = [](AttentionParameters p) {
      cuda::backwardKeys<Float16, headDim, dropout, true>(p);
    };
    result.kernels[6] = [](AttentionParameters p) {
      cuda::backwardQueries<Float16, headDim, dropout, true>(p);
    };
  }
  return result;
}

} // namespace

const std::vector<HostKernels> kHostKernelsF16 = {make<32, false>(), make<64, false>(),
                                                  make<128, true>()};

} // namespace seqpar::rt::test
