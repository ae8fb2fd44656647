//===- EmitCpu.h - row kernels to native code -------------------*- C++ -*-===//
//
// plan.rows in buffer form -> functions of scf, arith, math, vector<16xT> and LLVM loads and stores
// -> LLVM dialect -> LLVM -> object -> shared object. Nothing is run; any x86-64 machine can
// compile for both targets.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/Target/CollectKernels.h"

#include "mlir/IR/BuiltinOps.h"

namespace seqpar::cpu {

/// Best first. The runtime knows the same names.
inline constexpr llvm::StringLiteral kTargets[] = {"x86-64-v4", "x86-64-v3"};

struct Options {
  /// Path of lld; empty: the one found when seqpar was configured, or ld.lld in the PATH.
  std::string linker;
};

/// Loads the dialects that the functions below make. A pass that calls them names these as its
/// dependent dialects.
void registerEmitDialects(mlir::DialectRegistry &registry);

/// A module with the function of each kernel of `table`, which collectKernels made from `root`:
/// `func.func @SYMBOL(%operands: !llvm.ptr, %begin: i64, %end: i64)`.
mlir::OwningOpRef<mlir::ModuleOp> buildRowFunctions(mlir::Operation *root,
                                                    const KernelTable &table);

/// Replaces the math ops of a module that are no processor's instructions (exp, log, tanh, erf,
/// rsqrt on f32) with arithmetic of a relative error below 1e-6, and conversions of bf16 with exact
/// arithmetic.
void expandMath(mlir::ModuleOp module);

/// Compiles the kernels of `table` for each target and appends the shared objects to `table.cpu`.
/// The bytes depend on the kernels and the version of LLVM only.
mlir::LogicalResult emitCpu(mlir::Operation *root, KernelTable &table,
                            llvm::ArrayRef<llvm::StringRef> targets, const Options &options = {});

/// The pass `emit-cpu-kernels`: replaces a module with the functions of its row kernels.
void registerPasses();

} // namespace seqpar::cpu
