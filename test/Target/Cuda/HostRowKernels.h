//===- HostRowKernels.h - CUDA text of row kernels run on the host ---------===//
#pragma once

#include "seqpar/Target/KernelTable.h"

#include <string>
#include <vector>

namespace seqpar::test {

/// A shared object made by the host's compiler from the text of row kernels and HostCuda.h.
/// Launches kernels as program.fbs tells the runtime to.
class HostRowKernels {
public:
  /// Compiles `source`, which has the launches of all `kernels`. A failure is a test failure.
  HostRowKernels(const std::string &source, const std::vector<Kernel> &kernels);
  ~HostRowKernels();
  HostRowKernels(const HostRowKernels &) = delete;
  HostRowKernels &operator=(const HostRowKernels &) = delete;

  /// All launches of a kernel, with a workspace of just the size needed. `order` is that of threads
  /// and blocks, see hostcuda::order.
  void run(const Kernel &kernel, void *const *operands, int64_t rows, bool accumulate,
           unsigned order = 0) const;

  /// hostcuda::PackedLaunch
  using Launch = const char *(*)(const unsigned *grid, const unsigned *block, size_t sharedBytes,
                                 void *const *parameters, unsigned order);
  /// One of a kernel's launches; they must not run at the same time. Null, and a test failure, when
  /// there is none of that name.
  Launch find(const std::string &symbol) const;

private:
  void compile(const std::string &source, const std::vector<Kernel> &kernels);

  void *library = nullptr;
};

/// Runs of cases with each order of threads.
inline constexpr unsigned kOrders[] = {0, 1, 2};

} // namespace seqpar::test
