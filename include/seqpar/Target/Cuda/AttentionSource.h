//===- AttentionSource.h - text of the CUDA attention kernels ---*- C++ -*-===//
//
// The kernels are written in lib/Target/Cuda/Attention/kernels and compiled into this library as
// text. Their names, parameters, grids and tiles are in seqpar/program/CudaAttentionLaunch.h.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/program/CudaAttentionLaunch.h"

#include <span>
#include <string>

namespace seqpar {

/// CUDA C++ with the forward, delta and two backward kernels of each configuration, for NVRTC or
/// nvcc, C++17, compute capability 8.0 or later. It includes nothing. The same configurations give
/// the same text; one given twice, or delta of one with and one without dropout, is there once.
///
/// Precondition: cuda::attentionSupports each configuration.
std::string attentionSource(std::span<const cuda::AttentionConfig> configs);

/// The kernels of warpgroups of each configuration, forward and both backward ones, which compile
/// for sm_90a only: on GPUs of compute capability 9.0 they take the place of their namesakes.
/// Delta is not among them. The same configurations give the same text; one given twice is there
/// once.
///
/// Precondition: cuda::attentionSupportsWarpgroup each configuration.
std::string attentionWarpgroupSource(std::span<const cuda::AttentionConfig> configs);

} // namespace seqpar
