//===- WriteProgram.cpp - a plan as a program file ------------------------===//
#include "seqpar/Target/Program/WriteProgram.h"

#include "StageWriter.h"

using namespace mlir;
using namespace seqpar;

static constexpr const char *kVersion = "0.1";

/// Vectors of native code begin at a multiple of it in the file, so that an ELF image can be read in
/// place. The schema does not ask for it: readers must not rely on it.
static constexpr size_t kCodeAlignment = 64;

template <typename T, typename WriteFn>
static auto writeAll(const std::vector<T> &items, WriteFn write,
                     flatbuffers::FlatBufferBuilder &builder) {
  std::vector<decltype(write(items.front(), builder))> offsets;
  for (const T &item : items)
    offsets.push_back(write(item, builder));
  return builder.CreateVector(offsets);
}

static flatbuffers::Offset<program::CudaLaunch>
writeCudaLaunch(const CudaLaunch &launch, flatbuffers::FlatBufferBuilder &builder) {
  return program::CreateCudaLaunch(builder, builder.CreateString(launch.symbol), launch.threads,
                                   launch.rowsPerBlock, launch.blocks, launch.blocksY,
                                   launch.sharedBytes);
}

static flatbuffers::Offset<program::Kernel> writeKernel(const Kernel &kernel,
                                                        flatbuffers::FlatBufferBuilder &builder) {
  std::vector<flatbuffers::Offset<program::KernelOperand>> operands;
  for (const KernelOperand &operand : kernel.operands)
    operands.push_back(program::CreateKernelOperand(
        builder, static_cast<program::Access>(operand.access), *getDataType(operand.type),
        operand.columns, operand.index, operand.output));
  flatbuffers::Offset<program::CudaRowKernel> cuda;
  if (!kernel.cuda.launches.empty())
    cuda = program::CreateCudaRowKernel(builder,
                                        writeAll(kernel.cuda.launches, writeCudaLaunch, builder),
                                        kernel.cuda.partBytes, kernel.cuda.rowBytes);
  return program::CreateKernel(builder, builder.CreateString(kernel.symbol),
                               builder.CreateVector(operands), kernel.columns,
                               builder.CreateString(kernel.description), cuda);
}

static flatbuffers::Offset<program::CpuObject>
writeCpuObject(const CpuObject &object, flatbuffers::FlatBufferBuilder &builder) {
  builder.ForceVectorAlignment(object.object.size(), sizeof(uint8_t), kCodeAlignment);
  auto bytes = builder.CreateVector(object.object);
  return program::CreateCpuObject(builder, builder.CreateString(object.target), bytes);
}

static flatbuffers::Offset<program::CudaImage>
writeCudaImage(const CudaImage &image, flatbuffers::FlatBufferBuilder &builder) {
  builder.ForceVectorAlignment(image.image.size(), sizeof(uint8_t), kCodeAlignment);
  auto bytes = builder.CreateVector(image.image);
  return program::CreateCudaImage(builder, builder.CreateString(image.architecture), bytes);
}

static flatbuffers::Offset<program::CudaCode>
writeCudaCode(const CudaCode &code, flatbuffers::FlatBufferBuilder &builder) {
  auto images = writeAll(code.images, writeCudaImage, builder);
  return program::CreateCudaCode(builder, builder.CreateString(code.name),
                                 builder.CreateString(code.source), images);
}

static LogicalResult checkKernels(plan::ProgramOp plan, const KernelTable &kernels) {
  for (const Kernel &kernel : kernels.kernels)
    for (const KernelOperand &operand : kernel.operands)
      if (!getDataType(operand.type))
        return plan.emitOpError("kernel ") << kernel.symbol << " has an operand of " << operand.type
                                           << "; expected f32, i32, f64, bf16 or f16";
  return success();
}

FailureOr<std::vector<uint8_t>> seqpar::writeProgram(ModuleOp module, const KernelTable &kernels,
                                                     int64_t microBatches) {
  auto plans = module.getOps<plan::ProgramOp>();
  if (!llvm::hasSingleElement(plans))
    return module.emitError("expected one plan.program, found ")
           << std::distance(plans.begin(), plans.end());
  plan::ProgramOp plan = *plans.begin();
  if (failed(checkKernels(plan, kernels)))
    return failure();

  flatbuffers::FlatBufferBuilder builder(1 << 16);
  std::vector<flatbuffers::Offset<program::Stage>> stages;
  bool hasSop = false;
  for (auto stage : plan.getBody().getOps<plan::StageOp>()) {
    if (stage.getOrder() && static_cast<int64_t>(stage.getOrder()->size()) != 2 * microBatches)
      return stage.emitOpError("has the turns of ")
             << stage.getOrder()->size() / 2 << " micro-batches, expected " << microBatches;
    FailureOr<flatbuffers::Offset<program::Stage>> written = writeStage(stage, kernels, builder);
    if (failed(written))
      return failure();
    stages.push_back(*written);
    for (auto metric : stage.getOps<plan::MetricOp>())
      hasSop |= metric.getKind() == plan::MetricKind::SopLoss;
  }

  sp::GridAttr grid = plan.getGrid();
  auto root = program::CreateProgram(
      builder, builder.CreateString(plan.getSymName().str()), builder.CreateString(kVersion),
      grid.getDp(), grid.getPp(), grid.getSp(), plan.getMicroBatch(), microBatches,
      plan.getSeqLength(), plan.getChunkLength(), plan.getVocabulary(), hasSop,
      builder.CreateVector(stages), writeAll(kernels.kernels, writeKernel, builder),
      writeAll(kernels.cpu, writeCpuObject, builder),
      writeAll(kernels.cuda, writeCudaCode, builder));
  program::FinishProgramBuffer(builder, root);

  std::vector<uint8_t> bytes(builder.GetBufferPointer(),
                             builder.GetBufferPointer() + builder.GetSize());
  flatbuffers::Verifier verifier(builder.GetBufferPointer(), builder.GetSize());
  if (!program::VerifyProgramBuffer(verifier))
    return plan.emitOpError("the program written does not pass the schema's verifier");
  return bytes;
}
