//===- RowKernels.h - a program's row kernels on a GPU ----------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Device.h"
#include "seqpar/rt/cuda/Images.h"

#include <cstdint>
#include <string>
#include <vector>

namespace seqpar::rt::cuda {

/// Launches row kernels on a stream, as program.fbs describes them (CudaRowKernel).
class RowKernels {
public:
  /// The workspace is allocated here, for the most rows that any instruction of the program has.
  /// Throws Error when a kernel has no code for CUDA.
  RowKernels(const Context &context, const Images &images, const program::Program &program);
  ~RowKernels();
  RowKernels(const RowKernels &) = delete;
  RowKernels &operator=(const RowKernels &) = delete;

  /// See Device::rowKernel. More rows than the program has make the workspace grow, which waits for
  /// the GPU: an Error unless `mayWait`.
  void run(const RowKernelArgs &args, const Stream &stream, bool mayWait);

private:
  struct Launch {
    CUfunction function;
    unsigned threads, blocks, blocksY, sharedBytes;
    int64_t rowsPerBlock;
    /// 0 by 0 without work.
    int64_t blocksFor(int64_t rows) const;
  };
  struct Kernel {
    std::string name;
    size_t operands = 0;
    std::vector<Launch> launches;
    uint64_t partBytes = 0, rowBytes = 0;
    uint64_t workspaceFor(int64_t rows) const;
  };
  void reserve(uint64_t bytes, const Stream *stream);

  const Context &context;
  std::vector<Kernel> kernels;
  std::vector<void *> arguments; // of the kernel being launched
  CUdeviceptr workspace = 0;
  uint64_t workspaceBytes = 0;
};

} // namespace seqpar::rt::cuda
