//===- Emit.cpp - phase emit: kernels and the program file ----------------===//
#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Pipelines/Pipelines.h"
#include "seqpar/Target/Cpu/EmitCpu.h"
#include "seqpar/Target/Cuda/EmitCuda.h"
#include "seqpar/Target/Program/WriteProgram.h"

#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
using namespace seqpar;

/// DIRECTORY/NAME.cu
static LogicalResult dumpCuda(ModuleOp module, const CudaCode &code, StringRef directory) {
  llvm::SmallString<128> path(directory);
  llvm::sys::path::append(path, code.name + ".cu");
  std::string message;
  std::unique_ptr<llvm::ToolOutputFile> file = openOutputFile(path, &message);
  if (!file)
    return module.emitError(message);
  file->os() << code.source;
  file->keep();
  return success();
}

static LogicalResult emitCuda(ModuleOp module, KernelTable &table, const CompileOptions &options) {
  SmallVector<StringRef> architectures(options.cudaArchitectures.begin(), options.cudaArchitectures.end());
  LogicalResult result = cuda::emitCuda(module, table, architectures, options.cudaImageCache);
  // The text is of use above all when it does not compile.
  if (!options.dumpDirectory.empty())
    for (const CudaCode &code : table.cuda)
      if (failed(dumpCuda(module, code, options.dumpDirectory)))
        return failure();
  return result;
}

FailureOr<std::vector<uint8_t>> seqpar::emitProgram(ModuleOp module, const CompileOptions &options) {
  FailureOr<KernelTable> table = collectKernels(module);
  if (failed(table))
    return failure();
  SmallVector<StringRef> targets(options.cpuTargets.begin(), options.cpuTargets.end());
  if (failed(cpu::emitCpu(module, *table, targets)))
    return failure();
  if (!options.cudaArchitectures.empty() && failed(emitCuda(module, *table, options)))
    return failure();
  return writeProgram(module, *table, options.microBatches);
}
