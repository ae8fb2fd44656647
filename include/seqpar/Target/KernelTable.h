//===- KernelTable.h - the row kernels of a program -------------*- C++ -*-===//
//
// What the back ends (lib/Target/Cpu, lib/Target/Cuda) hand to write-program: one entry for each
// distinct plan.rows of the program, and native code for all of them.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/Dialect/Plan/Plan.h"

#include "llvm/ADT/DenseMap.h"

#include <string>
#include <vector>

namespace seqpar {

/// A pointer operand of a row kernel.
struct KernelOperand {
  plan::AccessKind access = plan::AccessKind::Row;
  mlir::Type type; ///< element type in memory
  int64_t columns =
      1; ///< of row, broadcast, gather, sum_rows, scatter and scatter_add; 1 for scalars
  int64_t index = -1; ///< operand that holds the row number of gather, scatter and scatter_add
  bool output = false;
};

/// One launch of those that a row kernel is on CUDA; program.fbs tells what the fields mean.
struct CudaLaunch {
  std::string symbol;
  int threads = 0;
  int rowsPerBlock = 0;
  int blocks = 0, blocksY = 1;
  int sharedBytes = 0;
};

/// Launches in their order, and the workspace that they share: `rowBytes` for each row, then
/// `partBytes` for each part that sums its rows.
struct CudaRowKernel {
  std::vector<CudaLaunch> launches;
  int64_t partBytes = 0, rowBytes = 0;
};

/// extern "C" void SYMBOL(void *const *operands, int64_t rowBegin, int64_t rowEnd).
/// Operands: the inputs of plan.rows, then its outs.
struct Kernel {
  std::string symbol;
  std::vector<KernelOperand> operands;
  int64_t columns = 1;
  std::string description; ///< model ops it came from
  CudaRowKernel cuda{};    ///< no launches without code for CUDA
};

/// An ELF shared object that defines all kernels' symbols.
struct CpuObject {
  std::string target; ///< "x86-64-v4" or "x86-64-v3"
  std::vector<uint8_t> object;
};

struct CudaImage {
  std::string architecture;   ///< "sm_90": a cubin; "compute_90": PTX
  std::vector<uint8_t> image; ///< PTX without a closing zero
};

/// CUDA C++ and what it was compiled to.
struct CudaCode {
  std::string name; ///< "rows", "attention", "attention_warpgroup"
  std::string source;
  std::vector<CudaImage> images;
  /// What it is compiled for; empty: what the program is.
  std::vector<std::string> architectures{};
};

struct KernelTable {
  std::vector<Kernel> kernels;
  llvm::DenseMap<mlir::Operation *, int> indexOf; ///< each plan.rows of the program: its kernel
  std::vector<CpuObject> cpu;
  std::vector<CudaCode> cuda;
};

/// The operands of a plan.rows in buffer form, as a kernel sees them.
std::vector<KernelOperand> getKernelOperands(plan::RowsOp rows);

} // namespace seqpar
