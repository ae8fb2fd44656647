//===- ProgramBuilder.h - programs for tests --------------------*- C++ -*-===//
//
// Writes small programs by hand, stage by stage. Buffers are laid out one after another.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/program/program_generated.h"
#include "seqpar/rt/Grid.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace seqpar::rt::test {

struct KernelOperandSpec {
  program::Access access;
  int64_t columns = 1;
  program::DataType type = program::DataType::F32;
  int index = -1;
  bool output = false;
};

struct ProgramShape {
  int dp = 1, pp = 1, sp = 1;
  int64_t microBatch = 1, microBatches = 1, length = 8, chunk = 8, vocabulary = 16;
  bool sop = false;
};

/// Writes code for CUDA devices into a program: the launches of each kernel and the images.
struct CudaWriter {
  std::function<flatbuffers::Offset<program::CudaRowKernel>(flatbuffers::FlatBufferBuilder &,
                                                            const std::string &symbol,
                                                            const std::vector<KernelOperandSpec> &)>
      launches;
  std::vector<std::pair<std::string, std::vector<uint8_t>>> images; ///< architecture, bytes
};
flatbuffers::Offset<program::CudaCode> writeCudaCode(flatbuffers::FlatBufferBuilder &builder,
                                                     const CudaWriter &writer);

class ProgramBuilder {
public:
  using Op = flatbuffers::Offset<program::Instruction>;
  using Operands = std::vector<program::Operand>;

  explicit ProgramBuilder(const ProgramShape &shape) : shape(shape) {}

  /// Index of a new buffer of the present stage.
  int buffer(program::Segment segment, std::vector<int64_t> extents,
             program::DataType type = program::DataType::F32, bool communication = false);
  /// The buffer of an input, made when it is first asked for.
  int input(program::InputKind kind);
  /// A new input of kind Constant.
  int constant(int32_t value);
  /// Index of the parameter; its buffers are in `parameters`.
  int parameter(const std::string &name, std::vector<int64_t> extents,
                program::Initializer initializer = program::Initializer::Normal,
                float deviation = 1.0f);
  /// As parameter(), with the update shared by the ranks over `shardAxes`, `rows` rows each: the
  /// buffers of the value and the gradient hold all of them, those of the moments one rank's.
  int shardedParameter(const std::string &name, std::vector<int64_t> extents, int64_t rows,
                       program::Initializer initializer, float deviation);
  /// A scalar in the Gradient segment that is a metric.
  int metric(program::MetricKind kind);
  int kernel(const std::string &symbol, const std::vector<KernelOperandSpec> &operands,
             flatbuffers::Offset<program::CudaRowKernel> cuda = {});

  static program::Operand use(int buffer, int alternate = -1) { return {buffer, alternate}; }

  template <typename Table>
  Op op(flatbuffers::Offset<Table> table, const std::string &location = "") {
    auto place = bytes.CreateString(location);
    return program::CreateInstruction(bytes, program::OperationTraits<Table>::enum_value,
                                      table.Union(), place);
  }
  Op launch(int kernel, const Operands &operands, int64_t rows,
            program::Combine combine = program::Combine::Overwrite, bool activeRows = false,
            const std::string &location = "");
  Op allReduce(int buffer, uint64_t elements, int axes);
  Op fill(int buffer, uint64_t count, bool firstOnly);
  Op shift(const Operands &send, const Operands &receive, uint64_t count, int tag,
           bool skipLast = false);
  Op wait(int tag, bool skipLast = false);
  Op ring(const std::vector<Op> &body);
  Op rows(int64_t chunk, const std::vector<Op> &body, int rows = -1, int labels = -1);

  /// As buffer(), with a copy for each of the `slots` micro-batches that live at a time.
  int slotted(program::Segment segment, std::vector<int64_t> extents,
              program::DataType type = program::DataType::F32);
  Op send(int buffer, uint64_t count, int stage, int tag);
  Op receive(int buffer, uint64_t count, int stage, int tag);

  /// Ends the present stage; what is made from now on belongs to the next.
  void endStage(const std::vector<Op> &forward, const std::vector<Op> &backward,
                const std::vector<Op> &update, const std::vector<program::Turn> &order);
  /// The finished file of the stages that have ended.
  std::vector<uint8_t> finish();
  /// The finished file of one stage.
  std::vector<uint8_t> finish(const std::vector<Op> &microBatch, const std::vector<Op> &update);

  struct ParameterBuffers {
    int value, gradient, first, second;
    int valueShard = -1, gradientShard = -1; ///< of the executing rank
  };
  std::vector<ParameterBuffers> parameters;
  flatbuffers::FlatBufferBuilder bytes;
  std::vector<flatbuffers::Offset<program::CudaCode>> cuda;
  const CudaWriter *cudaWriter = nullptr; ///< of kernels that are made without launches
  ProgramShape shape;
  int slots = 1; ///< of the present stage; inputs of a micro-batch have as many copies
  int shardAxes = kAxisDp | kAxisSp; ///< of stages with sharded parameters

private:
  int addBuffer(program::Segment segment, std::vector<int64_t> extents, program::DataType type,
                bool communication, bool copies);
  int addShard(program::Segment segment, uint64_t offset, std::vector<int64_t> extents);

  uint64_t segmentBytes[5] = {};
  std::vector<flatbuffers::Offset<program::Stage>> stages;
  std::vector<flatbuffers::Offset<program::Buffer>> buffers;
  std::vector<flatbuffers::Offset<program::Parameter>> parameterTables;
  std::vector<flatbuffers::Offset<program::Shard>> shards;
  std::vector<flatbuffers::Offset<program::Input>> inputs;
  std::vector<std::pair<program::InputKind, int>> inputBuffers;
  std::vector<flatbuffers::Offset<program::Metric>> metrics;
  std::vector<flatbuffers::Offset<program::Kernel>> kernels;
};

} // namespace seqpar::rt::test
