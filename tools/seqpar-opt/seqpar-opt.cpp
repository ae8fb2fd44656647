//===- seqpar-opt.cpp - Runs passes on a model or what became of it ---------------------------===//

#include "seqpar/InitAll.h"
#include "seqpar/Pipelines/Pipelines.h"
#include "seqpar/Target/Cpu/EmitCpu.h"
#include "seqpar/Target/Cuda/EmitCuda.h"

#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  seqpar::registerAllDialects(registry);
  seqpar::registerAllPasses();
  seqpar::registerPhases();
  seqpar::cpu::registerPasses();
  seqpar::cuda::registerPasses();
  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "seqpar: compiler of training steps\n", registry));
}
