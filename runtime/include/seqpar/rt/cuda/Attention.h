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

  using Kernel = ::seqpar::cuda::AttentionKernel;
  using Config = ::seqpar::cuda::AttentionConfig;

  struct Chosen {
    Kernel kernel;
    CUfunction function;
  };
  /// What runs for one of the first four kernels: that of warpgroups where the program has it and
  /// this GPU runs it. Throws Error when the program has none.
  const Chosen &choose(Kernel kernel, const Config &config);

private:
  using Parameters = ::seqpar::cuda::AttentionParameters;

  void launch(Kernel kernel, const Config &config, Parameters &parameters, const Stream &stream);

  const Context &context;
  const Images &images;
  std::map<std::tuple<int, int, int, bool>, Chosen> functions;
};

} // namespace seqpar::rt::cuda
