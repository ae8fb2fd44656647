//===- RowKernels.h - a program's row kernels on the CPU --------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Device.h"
#include "seqpar/rt/cpu/KernelImage.h"
#include "seqpar/rt/cpu/Scratch.h"
#include "seqpar/rt/cpu/ThreadPool.h"

#include <vector>

namespace seqpar::rt {

/// Splits rows over the threads. Sums over rows go through a fixed number of partial sums, added in
/// order, so that they do not depend on the number of threads.
class RowKernels {
public:
  /// See KernelImage about `target`. All memory that runs need is allocated here.
  RowKernels(ThreadPool &pool, const program::Program &program, const std::string &target);

  /// See Device::rowKernel.
  void run(const RowKernelArgs &args);

private:
  struct Sum {
    size_t operand, bytes; ///< of one copy
    size_t elementType;    ///< program::DataType
    size_t offset;         ///< in a slice's scratch memory
  };
  struct Kernel {
    size_t operands = 0;
    std::vector<Sum> sums;
    size_t sliceBytes = 0;      ///< all sums of one slice
    int64_t elementsPerRow = 1; ///< of all operands together
    bool inOrder = false;       ///< rows must run in order, in one thread
    std::string name;
  };

  Kernel describe(const program::Program &program, int index) const;
  void runSummed(const Kernel &kernel, const RowKernelArgs &args, int64_t slices);

  ThreadPool &pool;
  KernelImage image;
  std::vector<Kernel> kernels;
  std::vector<void *> operandsOfSlices; // [slices, operands]
  Scratch scratch;                      // [slices, sliceBytes]
};

} // namespace seqpar::rt
