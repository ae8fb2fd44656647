//===- FakeKernels.h - kernels that the fake driver runs --------*- C++ -*-===//
#pragma once

#include "../ProgramBuilder.h"
#include "FakeCuda/FakeCuda.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace seqpar::rt::test {

/// What a row kernel does on rows [0, rows): operands summed over rows are added to.
using HostKernel = std::function<void(void *const *operands, int64_t rows)>;

/// CUDA code of a program whose kernels are functions of the host. Each row kernel is two launches:
/// SYMBOL_main leaves its sums over rows in the workspace, SYMBOL_sums sets or adds them. Of tables
/// (gather, scatter) the race check sees the first row only.
class FakeCode {
public:
  /// Images for these architectures ("sm_90", "compute_80"), each with every kernel.
  explicit FakeCode(const std::vector<std::string> &architectures);

  CudaWriter writer;

  /// Registers those kernels of the programs written with `writer` that have a function here, and
  /// attention of any head dimension, which runs on the CPU device. To be called after each reset.
  void registerKernels(const std::map<std::string, HostKernel> &functions) const;

private:
  std::map<std::string, std::vector<KernelOperandSpec>> operands;
};

/// Registers the kernel that adds arrays for communicators on one GPU.
void registerAddKernels();

} // namespace seqpar::rt::test
