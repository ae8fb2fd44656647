//===- Images.h - a program's code on a GPU ---------------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/cuda/Context.h"

#include <string>
#include <string_view>
#include <vector>

namespace seqpar::program {
struct CudaCode;
struct CudaImage;
struct Program;
} // namespace seqpar::program

namespace seqpar::rt::cuda {

/// The image that runs best on a GPU of this compute capability (90 is 9.0); null: none runs. A
/// cubin runs on GPUs of its major version whose minor one is not below its own, "sm_90a" on 9.0
/// alone; PTX is compiled by the driver for any later GPU. Cubins come before PTX, later ones
/// before earlier.
const program::CudaImage *chooseImage(const program::CudaCode &code, int capability);

/// Whether GPUs that no image of a group runs on do without it: each is for one processor alone
/// ("sm_90a"), where its kernels take the place of others.
bool isOptional(const program::CudaCode &code);

/// The modules of a program, one for each group of its code that this GPU needs.
class Images {
public:
  /// Throws Error when a group of code that is not optional has no image for this GPU, naming those
  /// it has, or when the driver refuses one. A program without CUDA code has no modules.
  Images(const Context &context, const program::Program &program);
  ~Images();
  Images(const Images &) = delete;
  Images &operator=(const Images &) = delete;

  /// Null when no module has it.
  CUfunction find(const std::string &symbol) const;
  /// Throws Error when no module has it.
  CUfunction get(const std::string &symbol) const;

private:
  CUmodule load(const program::CudaCode &code, const program::CudaImage &image) const;

  const Context &context;
  std::vector<CUmodule> modules;
};

} // namespace seqpar::rt::cuda
