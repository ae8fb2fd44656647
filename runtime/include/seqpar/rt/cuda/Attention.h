//===- Attention.h - attention blocks on a GPU ------------------*- C++ -*-===//
#pragma once

#include "seqpar/program/CudaAttentionLaunch.h"
#include "seqpar/rt/Device.h"
#include "seqpar/rt/cuda/Images.h"

#include <map>
#include <tuple>

namespace seqpar::rt::cuda {

/// Seed and step of attention dropout on the GPU.
struct DropoutWords {
  const uint32_t *seed = nullptr, *step = nullptr;
};

/// Launches the attention kernels of a program, which seqpar/program/CudaAttentionLaunch.h
/// describes.
class Attention {
public:
  Attention(const Context &context, const Images &images) : context(context), images(images) {}

  /// See Device. Throw Error on shapes outside the interface, and when the program has no kernels
  /// for the head dimension.
  void forward(const AttentionForwardArgs &args, DropoutWords words, const Stream &stream);
  void backward(const AttentionBackwardArgs &args, DropoutWords words, const Stream &stream);

private:
  using Kernel = ::seqpar::cuda::AttentionKernel;
  using Config = ::seqpar::cuda::AttentionConfig;
  using Parameters = ::seqpar::cuda::AttentionParameters;

  CUfunction function(Kernel kernel, const Config &config);
  void launch(Kernel kernel, const Config &config, Parameters &parameters, const Stream &stream);

  const Context &context;
  const Images &images;
  std::map<std::tuple<int, int, int, bool>, CUfunction> functions;
};

} // namespace seqpar::rt::cuda
