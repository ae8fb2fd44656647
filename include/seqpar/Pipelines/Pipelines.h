//===- Pipelines.h - the phases, from a model to a program ------*- C++ -*-===//
//
//   specialize -> differentiate -> shard -> ring -> stage -> plan -> emit
//
// Each phase but emit is a pipeline of passes, also registered with seqpar-opt as
// `--phase-NAME="option=value ..."`. Emit turns the plan into the program's bytes.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/Pipelines/Reproducer.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace seqpar {

/// What a program is compiled for.
struct CompileOptions {
  int64_t dp = 1, pp = 1, sp = 1;
  int64_t microBatch = 1;   ///< samples of one micro-batch of one replica
  int64_t microBatches = 1; ///< of one step and replica
  int64_t seqLength = 128;
  int64_t chunk = 128; ///< masked rows computed at a time in the MLM head
  double dropout = 0.0;
  std::string dtype = "fp32";     ///< what activations are stored in, or "bf16", "fp16"
  std::string attention = "ring"; ///< or "all-gather"
  bool zero = true;               ///< ranks over dp and sp share the update (ZeRO-1)
  int64_t bucketBytes = 25 << 20; ///< of gradients that are reduced together; 0: no limit
  bool recompute = true;          ///< the backward computes cheap values again instead of keeping them
  bool epilogues = false;         ///< products add biases and apply GeLU, also without code for CUDA
  std::string schedule = "1f1b";  ///< of micro-batches in a pipeline, or "gpipe"
  std::vector<std::string> cpuTargets = {"x86-64-v4", "x86-64-v3"};
  std::vector<std::string> cudaArchitectures; ///< empty: no code for CUDA
  std::string cudaImageCache;                 ///< folder of images compiled before; empty: none
  std::string dumpDirectory; ///< empty: no dumps
  std::string reproducer;    ///< file for a phase that fails; empty: see runPhase
  std::function<void(llvm::StringRef phase, const PhaseFailure &failure)> onFailure;
};

/// A phase: its name and what holds when it is done.
struct Phase {
  llvm::StringLiteral name, promise;
};
llvm::ArrayRef<Phase> getPhases();

/// Adds the passes of a phase other than emit.
void buildPhase(mlir::OpPassManager &manager, llvm::StringRef phase, const CompileOptions &options);

/// Runs the phases up to and with `last`, not emit. With a dump directory, writes NN-PHASE.mlir
/// after each. On failure an error has been reported.
llvm::LogicalResult runPhases(mlir::ModuleOp module, const CompileOptions &options, llvm::StringRef last);

/// All phases. The bytes are those of a program file.
llvm::FailureOr<std::vector<uint8_t>> compile(mlir::ModuleOp module, const CompileOptions &options);

/// Phase emit: from a plan to the program's bytes. With a dump directory, also writes the CUDA C++
/// there, one file NAME.cu for each group of kernels.
llvm::FailureOr<std::vector<uint8_t>> emitProgram(mlir::ModuleOp module, const CompileOptions &options);

/// Registers the phases as pass pipelines.
void registerPhases();

} // namespace seqpar
