//===- WriteProgramPass.cpp - pass write-program --------------------------===//
#include "seqpar/Target/CollectKernels.h"
#include "seqpar/Target/Program/WriteProgram.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/ToolOutputFile.h"

namespace seqpar {
#define GEN_PASS_DEF_WRITEPROGRAM
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

namespace {
struct WriteProgram : seqpar::impl::WriteProgramBase<WriteProgram> {
  using WriteProgramBase::WriteProgramBase;

  void runOnOperation() override {
    FailureOr<KernelTable> kernels = collectKernels(getOperation());
    if (failed(kernels))
      return signalPassFailure();
    FailureOr<std::vector<uint8_t>> bytes = writeProgram(getOperation(), *kernels, microBatches);
    if (failed(bytes))
      return signalPassFailure();
    std::string message;
    std::unique_ptr<llvm::ToolOutputFile> file = openOutputFile(output, &message);
    if (!file) {
      getOperation().emitError() << message;
      return signalPassFailure();
    }
    file->os().write(reinterpret_cast<const char *>(bytes->data()), bytes->size());
    file->keep();
  }
};
} // namespace
