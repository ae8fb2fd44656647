//===- Emit.cpp - phase emit: kernels and the program file ----------------===//
#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Pipelines/Pipelines.h"
#include "seqpar/Target/Cpu/EmitCpu.h"
#include "seqpar/Target/Program/WriteProgram.h"

using namespace mlir;
using namespace seqpar;

FailureOr<std::vector<uint8_t>> seqpar::emitProgram(ModuleOp module, const CompileOptions &options) {
  FailureOr<KernelTable> table = collectKernels(module);
  if (failed(table))
    return failure();
  SmallVector<StringRef> targets(options.cpuTargets.begin(), options.cpuTargets.end());
  if (failed(cpu::emitCpu(module, *table, targets)))
    return failure();
  return writeProgram(module, *table, options.microBatches);
}
