//===- HostKernelsF16.cpp - kernels of 16-bit types compiled for the host ------===//

// The kernels' text comes after what it is made of.
#include "HostPtx.h"
#include "seqpar/program/CudaAttention.h"
// clang-format off
#include "Common.cuh"
#include "Tiles.cuh"
#include "Forward.cuh"
#include "Backward.cuh"
// clang-format on

#include "HostAttention.h"

namespace seqpar::rt::test {

namespace {

using cuda::Float16, cuda::AttentionParameters;

template <int headDim, bool dropout> constexpr HostKernel makeWarpgroup() {
  if constexpr (cuda::attentionSupportsWarpgroup(cuda::AttentionStorage::F16, headDim))
    return [](AttentionParameters p) {
      cuda::forward<Float16, headDim, dropout, cuda::AttentionKernel::ForwardWarpgroup>(p);
    };
  return nullptr;
}

template <int headDim, bool dropout> constexpr HostKernels make() {
  return {{cuda::AttentionStorage::F16, headDim, dropout},
          {[](AttentionParameters p) { cuda::forward<Float16, headDim, dropout>(p); },
           [](AttentionParameters p) { cuda::delta<Float16, headDim>(p); },
           [](AttentionParameters p) { cuda::backwardKeys<Float16, headDim, dropout>(p); },
           [](AttentionParameters p) { cuda::backwardQueries<Float16, headDim, dropout>(p); },
           makeWarpgroup<headDim, dropout>()}};
}

} // namespace

const std::vector<HostKernels> kHostKernelsF16 = {make<32, false>(), make<64, false>(),
                                                  make<128, true>()};

} // namespace seqpar::rt::test
