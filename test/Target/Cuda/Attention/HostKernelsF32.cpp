//===- HostKernelsF32.cpp - fp32 kernels compiled for the host ------------===//

// The kernels' text comes after what it is made of.
#include "HostPtx.h"
#include "seqpar/program/CudaAttention.h"
// clang-format off
#include "Common.cuh"
#include "Simt.cuh"
// clang-format on

#include "HostAttention.h"

namespace seqpar::rt::test {

namespace {

using cuda::AttentionParameters;

template <int headDim, bool dropout> constexpr HostKernels make() {
  return {{cuda::AttentionStorage::F32, headDim, dropout},
          {[](AttentionParameters p) { cuda::simtForward<headDim, dropout>(p); },
           [](AttentionParameters p) { cuda::delta<float, headDim>(p); },
           [](AttentionParameters p) { cuda::simtBackwardKeys<headDim, dropout>(p); },
           [](AttentionParameters p) { cuda::simtBackwardQueries<headDim, dropout>(p); }}};
}

} // namespace

const std::vector<HostKernels> kHostKernelsF32 = {
    make<1, false>(),   make<4, false>(),  make<5, false>(),  make<8, false>(),  make<16, false>(),
    make<24, false>(),  make<33, false>(), make<64, false>(), make<96, false>(), make<128, false>(),
    make<256, false>(), make<1, true>(),   make<16, true>(),  make<40, true>(),  make<96, true>()};

} // namespace seqpar::rt::test
