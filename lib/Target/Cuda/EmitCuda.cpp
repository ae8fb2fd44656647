//===- EmitCuda.cpp - row kernels to CUDA C++ and its images --------------===//
#include "seqpar/Target/Cuda/EmitCuda.h"

#include "EmitRows.h"

#include "seqpar/Dialect/SP/SP.h"
#include "seqpar/Target/Cuda/AttentionSource.h"

#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace seqpar;

FailureOr<std::string> cuda::buildRowSource(Operation *root, KernelTable &table) {
  Text text;
  std::vector<plan::RowsOp> bodies = getKernelBodies(root, table);
  bool usesBfloat = false, usesHalf = false;
  for (auto [kernel, rows] : llvm::zip(table.kernels, bodies)) {
    if (failed(RowEmitter(text, kernel, rows).emit()))
      return failure();
    for (const KernelOperand &operand : kernel.operands) {
      usesBfloat |= operand.type.isBF16();
      usesHalf |= operand.type.isF16();
    }
  }
  return makePreamble(usesBfloat, usesHalf) + text.get();
}

/// Types of attention's operands, all of them f32.
template <typename OpTy>
static LogicalResult addConfig(OpTy op, std::vector<cuda::AttentionConfig> &configs) {
  int64_t width = cast<MemRefType>(op.getQuery().getType()).getShape().back();
  cuda::AttentionConfig config{cuda::AttentionStorage::F32, int(width / op.getHeads()),
                               op.getDropout().convertToFloat() > 0};
  if (!cuda::attentionSupports(config.storage, config.headDim))
    return op.emitOpError("has heads of ")
           << config.headDim << " elements; CUDA kernels take at most 256";
  bool isKnown = llvm::any_of(configs, [&](const cuda::AttentionConfig &other) {
    return other.headDim == config.headDim && other.dropout == config.dropout;
  });
  if (!isKnown)
    configs.push_back(config);
  return success();
}

FailureOr<std::string> cuda::buildAttentionSource(Operation *root) {
  std::vector<AttentionConfig> configs;
  WalkResult result = root->walk([&](Operation *op) {
    LogicalResult added = success();
    if (auto block = dyn_cast<sp::AttentionBlockOp>(op))
      added = addConfig(block, configs);
    else if (auto grad = dyn_cast<sp::AttentionBlockGradOp>(op))
      added = addConfig(grad, configs);
    return failed(added) ? WalkResult::interrupt() : WalkResult::advance();
  });
  if (result.wasInterrupted())
    return failure();
  return configs.empty() ? std::string() : attentionSource(configs);
}

LogicalResult cuda::emitCuda(Operation *root, KernelTable &table,
                             ArrayRef<StringRef> architectures) {
  FailureOr<std::string> rows = buildRowSource(root, table);
  FailureOr<std::string> attention = buildAttentionSource(root);
  if (failed(rows) || failed(attention))
    return failure();
  table.cuda.push_back({"rows", std::move(*rows), {}});
  if (!attention->empty())
    table.cuda.push_back({"attention", std::move(*attention), {}});
  std::string error;
  if (!compileImages(table.cuda, architectures, error))
    return root->emitError() << error;
  return success();
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {

struct EmitCudaKernels : PassWrapper<EmitCudaKernels, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitCudaKernels)

  StringRef getArgument() const override { return "emit-cuda-kernels"; }
  StringRef getDescription() const override {
    return "Print the CUDA C++ of a module's row kernels and leave the module empty";
  }

  void runOnOperation() override {
    FailureOr<KernelTable> table = collectKernels(getOperation());
    if (failed(table))
      return signalPassFailure();
    FailureOr<std::string> source = cuda::buildRowSource(getOperation(), *table);
    if (failed(source))
      return signalPassFailure();
    llvm::outs() << *source;
    getOperation().getBodyRegion().front().clear();
  }
};

} // namespace

void cuda::registerPasses() { PassRegistration<EmitCudaKernels>(); }
