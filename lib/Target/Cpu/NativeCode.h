//===- NativeCode.h - LLVM's part of the CPU back end -----------*- C++ -*-===//
#pragma once

#include "mlir/IR/BuiltinOps.h"
#include "llvm/IR/Module.h"

#include <string>
#include <vector>

namespace seqpar::cpu {

/// Functions of scf, arith, math, vector and LLVM ops -> LLVM dialect -> LLVM. Null after an error.
std::unique_ptr<llvm::Module> translateToLlvm(mlir::ModuleOp module, llvm::LLVMContext &context);

/// Optimises a module for a target of cpu::kTargets and compiles it. Fails with a message in
/// `error`.
bool compileToObject(llvm::Module &module, llvm::StringRef target,
                     llvm::SmallVectorImpl<char> &object, std::string &error);

/// Links objects to a shared object that needs no library.
bool linkObjects(llvm::ArrayRef<llvm::SmallVector<char, 0>> objects, llvm::StringRef linker,
                 std::vector<uint8_t> &image, std::string &error);

} // namespace seqpar::cpu
