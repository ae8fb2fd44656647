//===- EmitCuda.cpp - row kernels to CUDA C++ and its images --------------===//
#include "seqpar/Target/Cuda/EmitCuda.h"

#include "EmitRows.h"

#include "seqpar/Dialect/SP/SP.h"
#include "seqpar/Target/Cuda/AttentionSource.h"
#include "seqpar/Target/Cuda/ImageCache.h"

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

/// The type of what attention multiplies, which its verifier has seen to.
static cuda::AttentionStorage getStorage(Type type) {
  if (type.isBF16())
    return cuda::AttentionStorage::BF16;
  return type.isF16() ? cuda::AttentionStorage::F16 : cuda::AttentionStorage::F32;
}

template <typename OpTy>
static LogicalResult addConfig(OpTy op, std::vector<cuda::AttentionConfig> &configs) {
  auto query = cast<MemRefType>(op.getQuery().getType());
  cuda::AttentionConfig config{getStorage(query.getElementType()),
                               int(query.getShape().back() / op.getHeads()),
                               op.getDropout().convertToFloat() > 0};
  if (!cuda::attentionSupports(config.storage, config.headDim))
    return op.emitOpError("has heads of ")
           << config.headDim << " elements of " << query.getElementType()
           << "; CUDA kernels take at most 256 of f32, and of 16-bit types multiples of 8 up to "
              "128";
  if (!llvm::is_contained(configs, config))
    configs.push_back(config);
  return success();
}

FailureOr<std::vector<cuda::AttentionConfig>> cuda::collectAttention(Operation *root) {
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
  return configs;
}

LogicalResult cuda::emitCuda(Operation *root, KernelTable &table, ArrayRef<StringRef> architectures,
                             StringRef imageCache) {
  FailureOr<std::string> rows = buildRowSource(root, table);
  FailureOr<std::vector<AttentionConfig>> attention = collectAttention(root);
  if (failed(rows) || failed(attention))
    return failure();
  table.cuda.push_back({"rows", std::move(*rows), {}});
  if (!attention->empty())
    table.cuda.push_back({"attention", attentionSource(*attention), {}});
  // Their instructions are those of one processor alone.
  llvm::erase_if(*attention, [](const AttentionConfig &config) {
    return !attentionSupportsWarpgroup(config.storage, config.headDim);
  });
  if (!attention->empty() && llvm::is_contained(architectures, "sm_90"))
    table.cuda.push_back(
        {"attention_warpgroup", attentionWarpgroupSource(*attention), {}, {"sm_90a"}});
  ImageCache cache(imageCache.str());
  std::string error;
  if (!compileImages(table.cuda, architectures, error, /*usages=*/nullptr,
                     imageCache.empty() ? nullptr : &cache))
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
