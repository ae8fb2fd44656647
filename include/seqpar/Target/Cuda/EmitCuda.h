//===- EmitCuda.h - row kernels to CUDA C++ and its images ------*- C++ -*-===//
//
// plan.rows in buffer form -> CUDA C++ text -> cubins and PTX through NVRTC. Neither a GPU nor its
// driver is needed; the text alone needs no part of the CUDA toolkit either.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/Target/CollectKernels.h"
#include "seqpar/Target/Cuda/AttentionSource.h"
#include "seqpar/Target/Cuda/Nvrtc.h"

#include "mlir/IR/BuiltinOps.h"

namespace seqpar::cuda {

/// What a program gets unless told otherwise: cubins for 8.x and 9.x, PTX for what comes later.
inline constexpr llvm::StringLiteral kArchitectures[] = {"sm_80", "sm_90", "compute_90"};

/// The text of all kernels of `table`, which collectKernels made from `root`, and in
/// `Kernel::cuda` their launches. The text depends on the kernels only. Errors are reported at the
/// op that has no CUDA C++.
llvm::FailureOr<std::string> buildRowSource(mlir::Operation *root, KernelTable &table);

/// What attention kernels the ops below `root` need, each once, in the order of the ops: the type
/// is that of the queries. Errors are reported at the op that has none.
llvm::FailureOr<std::vector<AttentionConfig>> collectAttention(mlir::Operation *root);

/// The code "rows" of all kernels of `table`, and "attention" where there is some, with images for
/// `architectures`. With "sm_90" among these, attention that warpgroups can do has kernels in
/// "attention_warpgroup" too, for "sm_90a" alone. The bytes depend on the text and the version of
/// NVRTC only. `imageCache` is the folder of an ImageCache; empty: none.
llvm::LogicalResult emitCuda(mlir::Operation *root, KernelTable &table,
                             llvm::ArrayRef<llvm::StringRef> architectures,
                             llvm::StringRef imageCache = "");

/// The pass `emit-cuda-kernels`: prints the text of a module's row kernels.
void registerPasses();

} // namespace seqpar::cuda
