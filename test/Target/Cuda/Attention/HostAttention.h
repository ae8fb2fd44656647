//===- HostAttention.h - the CUDA attention kernels on the host -*- C++ -*-===//
#pragma once

#include "seqpar/program/CudaAttentionLaunch.h"
#include "seqpar/rt/Device.h"

#include <cmath>
#include <memory>
#include <vector>

namespace seqpar::rt::test {

struct HostAttentionOptions {
  unsigned order = 0;     ///< see HostCuda.h; an odd one makes copies early
  bool warpgroup = false; ///< the kernels for sm_90a
  bool floatOut = false;  ///< 16-bit kernels leave the result in fp32
};

/// A device that runs the text of the attention kernels as HostCuda.h does, and nothing else. The
/// 16-bit kernels get their operands rounded, and their results are widened.
std::unique_ptr<Device> createHostAttention(cuda::AttentionStorage storage,
                                            const HostAttentionOptions &options = {});

/// The number as the storage type holds it.
float roundTo(cuda::AttentionStorage storage, float value);

/// Kernels compiled for the host, in the order of AttentionKernel; null where there is none.
using HostKernel = void (*)(cuda::AttentionParameters);
struct HostKernels {
  cuda::AttentionConfig config;
  HostKernel kernels[7];
};
extern const std::vector<HostKernels> kHostKernelsF32, kHostKernelsBF16, kHostKernelsF16;

} // namespace seqpar::rt::test
