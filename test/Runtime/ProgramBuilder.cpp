#include "ProgramBuilder.h"

#include <algorithm>
#include <iterator>

namespace seqpar::rt::test {

using namespace program;

int ProgramBuilder::buffer(Segment segment, std::vector<int64_t> extents, DataType type,
                           bool communication) {
  return addBuffer(segment, std::move(extents), type, communication, false);
}

int ProgramBuilder::slotted(Segment segment, std::vector<int64_t> extents, DataType type) {
  return addBuffer(segment, std::move(extents), type, false, true);
}

int ProgramBuilder::addBuffer(Segment segment, std::vector<int64_t> extents, DataType type,
                              bool communication, bool copies) {
  bool narrow = type == DataType::BF16 || type == DataType::F16;
  uint64_t size = type == DataType::F64 ? 8 : narrow ? 2 : 4;
  for (int64_t extent : extents)
    size *= static_cast<uint64_t>(extent);
  uint64_t &end = segmentBytes[static_cast<size_t>(segment)];
  uint64_t aligned = (size + 63) / 64 * 64;
  auto table = CreateBufferDirect(bytes, segment, end, size, type, &extents, communication, nullptr,
                                  copies ? aligned : 0);
  end += aligned * static_cast<uint64_t>(copies ? slots : 1);
  buffers.push_back(table);
  return static_cast<int>(buffers.size()) - 1;
}

int ProgramBuilder::input(InputKind kind) {
  for (auto [known, buffer] : inputBuffers)
    if (known == kind)
      return buffer;
  std::vector<int64_t> extents;
  DataType type = DataType::I32;
  switch (kind) {
  case InputKind::Tokens:
  case InputKind::Types:
  case InputKind::Positions:
  case InputKind::RowSamples:
    extents = {shape.microBatch, shape.chunk};
    break;
  case InputKind::PaddingMask:
    extents = {shape.microBatch, shape.chunk * shape.sp};
    break;
  case InputKind::MaskedRows:
  case InputKind::MaskedLabels:
    extents = {shape.microBatch * shape.chunk};
    break;
  case InputKind::SentenceOrder:
  case InputKind::SampleNumbers:
  case InputKind::FirstTokenRows:
    extents = {shape.microBatch};
    break;
  case InputKind::Step:
  case InputKind::Seed:
  case InputKind::Training:
    break;
  default:
    type = DataType::F32;
  }
  int made = addBuffer(Segment::Input, extents, type, false, !extents.empty());
  inputBuffers.emplace_back(kind, made);
  inputs.push_back(CreateInput(bytes, kind, made));
  return made;
}

int ProgramBuilder::constant(int32_t value) {
  int made = buffer(Segment::Input, {}, DataType::I32);
  inputs.push_back(CreateInput(bytes, InputKind::Constant, made, value));
  return made;
}

int ProgramBuilder::parameter(const std::string &name, std::vector<int64_t> extents,
                              Initializer initializer, float deviation) {
  ParameterBuffers made{buffer(Segment::Parameter, extents), buffer(Segment::Gradient, extents),
                        buffer(Segment::OptimizerState, extents),
                        buffer(Segment::OptimizerState, extents)};
  parameterTables.push_back(CreateParameterDirect(bytes, name.c_str(), &extents, made.value,
                                                  made.gradient, made.first, made.second,
                                                  initializer, deviation));
  parameters.push_back(made);
  return static_cast<int>(parameters.size()) - 1;
}

// The buffer of all ranks' shards lies at `offset`.
int ProgramBuilder::addShard(Segment segment, uint64_t offset, std::vector<int64_t> extents) {
  uint64_t size = 4;
  for (int64_t extent : extents)
    size *= static_cast<uint64_t>(extent);
  buffers.push_back(CreateBufferDirect(bytes, segment, offset, size, DataType::F32, &extents, false,
                                       nullptr, 0, /*sharded=*/true));
  return static_cast<int>(buffers.size()) - 1;
}

int ProgramBuilder::shardedParameter(const std::string &name, std::vector<int64_t> extents,
                                     int64_t rows, Initializer initializer, float deviation) {
  std::vector<int64_t> own = extents, all = extents;
  own[0] = rows;
  all[0] = rows * Grid{shape.dp, shape.pp, shape.sp}.groupSize(shardAxes);
  uint64_t offset = segmentBytes[1], gradientOffset = segmentBytes[2], moments = segmentBytes[3];
  ParameterBuffers made{buffer(Segment::Parameter, all), buffer(Segment::Gradient, all),
                        buffer(Segment::OptimizerState, own), buffer(Segment::OptimizerState, own)};
  made.valueShard = addShard(Segment::Parameter, offset, own);
  made.gradientShard = addShard(Segment::Gradient, gradientOffset, own);
  uint64_t size = (segmentBytes[3] - moments) / 2;
  shards.push_back(CreateShard(bytes, offset, size, moments, moments + size));
  parameterTables.push_back(CreateParameterDirect(bytes, name.c_str(), &extents, made.value,
                                                  made.gradient, -1, -1, initializer, deviation));
  parameters.push_back(made);
  return static_cast<int>(parameters.size()) - 1;
}

int ProgramBuilder::metric(MetricKind kind) {
  int made = buffer(Segment::Gradient, {});
  metrics.push_back(CreateMetric(bytes, kind, made));
  return made;
}

int ProgramBuilder::kernel(const std::string &symbol,
                           const std::vector<KernelOperandSpec> &operands,
                           flatbuffers::Offset<CudaRowKernel> cuda) {
  std::vector<flatbuffers::Offset<KernelOperand>> tables;
  for (const KernelOperandSpec &each : operands)
    tables.push_back(
        CreateKernelOperand(bytes, each.access, each.type, each.columns, each.index, each.output));
  if (cuda.IsNull() && cudaWriter)
    cuda = cudaWriter->launches(bytes, symbol, operands);
  kernels.push_back(CreateKernelDirect(bytes, symbol.c_str(), &tables, 1, nullptr, cuda));
  return static_cast<int>(kernels.size()) - 1;
}

ProgramBuilder::Op ProgramBuilder::launch(int kernel, const Operands &operands, int64_t rows,
                                          Combine combine, bool activeRows,
                                          const std::string &location) {
  return op(CreateRowKernelDirect(bytes, kernel, &operands, rows, combine, activeRows), location);
}

ProgramBuilder::Op ProgramBuilder::allReduce(int buffer, uint64_t elements, int axes) {
  Operand operand = use(buffer);
  return op(CreateAllReduce(bytes, &operand, elements, DataType::F32, axes));
}

ProgramBuilder::Op ProgramBuilder::fill(int buffer, uint64_t count, bool firstOnly) {
  Operand operand = use(buffer);
  return op(CreateFill(bytes, &operand, count, firstOnly));
}

ProgramBuilder::Op ProgramBuilder::shift(const Operands &send, const Operands &receive,
                                         uint64_t count, int tag, bool skipLast) {
  return op(CreateRingShiftStartDirect(bytes, &send, &receive, count, tag, skipLast));
}

ProgramBuilder::Op ProgramBuilder::wait(int tag, bool skipLast) {
  return op(CreateWait(bytes, tag, skipLast));
}

ProgramBuilder::Op ProgramBuilder::ring(const std::vector<Op> &body) {
  return op(CreateRingLoopDirect(bytes, &body));
}

ProgramBuilder::Op ProgramBuilder::rows(int64_t chunk, const std::vector<Op> &body, int rows,
                                        int labels) {
  return op(CreateRowsLoopDirect(bytes, chunk, rows, labels, &body));
}

ProgramBuilder::Op ProgramBuilder::send(int buffer, uint64_t count, int stage, int tag) {
  Operand operand = use(buffer);
  return op(CreateSend(bytes, &operand, count, stage, tag));
}

ProgramBuilder::Op ProgramBuilder::receive(int buffer, uint64_t count, int stage, int tag) {
  Operand operand = use(buffer);
  return op(CreateReceive(bytes, &operand, count, stage, tag));
}

void ProgramBuilder::endStage(const std::vector<Op> &forward, const std::vector<Op> &backward,
                              const std::vector<Op> &update, const std::vector<Turn> &order) {
  std::vector<Op> microBatch = forward;
  microBatch.insert(microBatch.end(), backward.begin(), backward.end());
  stages.push_back(CreateStageDirect(
      bytes, segmentBytes[0], segmentBytes[0], segmentBytes[1], segmentBytes[2], segmentBytes[3],
      segmentBytes[4], &buffers, &parameterTables, &inputs, &metrics, &microBatch, &update,
      static_cast<uint32_t>(forward.size()), slots, order.empty() ? nullptr : &order,
      shards.empty() ? 0 : shardAxes, &shards));
  std::fill(std::begin(segmentBytes), std::end(segmentBytes), 0);
  slots = 1;
  buffers.clear();
  parameterTables.clear();
  shards.clear();
  parameters.clear();
  inputs.clear();
  inputBuffers.clear();
  metrics.clear();
}

std::vector<uint8_t> ProgramBuilder::finish(const std::vector<Op> &microBatch,
                                            const std::vector<Op> &update) {
  endStage(microBatch, {}, update, {});
  return finish();
}

flatbuffers::Offset<CudaCode> writeCudaCode(flatbuffers::FlatBufferBuilder &builder,
                                            const CudaWriter &writer) {
  std::vector<flatbuffers::Offset<CudaImage>> images;
  for (auto &[architecture, image] : writer.images)
    images.push_back(CreateCudaImageDirect(builder, architecture.c_str(), &image));
  return CreateCudaCodeDirect(builder, "test", "", &images);
}

std::vector<uint8_t> ProgramBuilder::finish() {
  if (cudaWriter)
    cuda.push_back(writeCudaCode(bytes, *cudaWriter));
  auto root = CreateProgramDirect(bytes, "test", "0", shape.dp, shape.pp, shape.sp,
                                  shape.microBatch, shape.microBatches, shape.length, shape.chunk,
                                  shape.vocabulary, shape.sop, &stages, &kernels, nullptr, &cuda);
  FinishProgramBuffer(bytes, root);
  return {bytes.GetBufferPointer(), bytes.GetBufferPointer() + bytes.GetSize()};
}

} // namespace seqpar::rt::test
