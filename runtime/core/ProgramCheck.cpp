//===- ProgramCheck.cpp - meaning of a program ------------------*- C++ -*-===//

#include "ProgramCheck.h"

#include "InstructionCheck.h"
#include "OrderCheck.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/Grid.h"

#include <algorithm>
#include <set>
#include <string_view>

namespace seqpar::rt {

using namespace program;

size_t bytesOf(DataType type) {
  switch (type) {
  case DataType::F32:
  case DataType::I32:
    return 4;
  case DataType::F64:
    return 8;
  case DataType::BF16:
  case DataType::F16:
    return 2;
  }
  fail("unknown data type {}", static_cast<int>(type));
}

uint64_t product(std::initializer_list<int64_t> factors) {
  uint64_t result = 1;
  for (int64_t factor : factors)
    if (factor < 0 || __builtin_mul_overflow(result, static_cast<uint64_t>(factor), &result) ||
        result > kLargestBytes)
      fail("a size is negative or too large");
  return result;
}

namespace {

uint64_t segmentBytes(const Stage &stage, Segment segment) {
  switch (segment) {
  case Segment::Arena:
    return stage.arena_bytes();
  case Segment::Parameter:
    return stage.parameter_bytes();
  case Segment::Gradient:
    return stage.gradient_bytes();
  case Segment::OptimizerState:
    return stage.optimizer_state_bytes();
  case Segment::Input:
    return stage.input_bytes();
  }
  fail("unknown segment {}", static_cast<int>(segment));
}

// Bytes of a tensor of that shape. FlatBuffers' verifier leaves the alignment of a vector's 8-byte
// elements unchecked.
uint64_t shapedBytes(const flatbuffers::Vector<int64_t> *shape, uint64_t elementBytes) {
  uint64_t bytes = elementBytes;
  if (!shape || shape->size() == 0)
    return bytes;
  if (reinterpret_cast<uintptr_t>(shape->Data()) % alignof(int64_t) != 0)
    fail("its shape is not aligned to 8 bytes");
  for (int64_t extent : *shape)
    bytes = product({static_cast<int64_t>(bytes), extent});
  return bytes;
}

/// Bytes of the shards of all ranks of a group, which follow each other.
uint64_t shardedBytes(const Program &program, const Stage &stage, uint64_t bytes) {
  Grid grid{program.dp(), program.pp(), program.sp()};
  return product({grid.groupSize(stage.shard_axes()),
                  static_cast<int64_t>(std::min(bytes, kLargestBytes + 1))});
}

void checkBuffer(const Program &program, const Stage &stage, const Buffer &buffer) {
  uint64_t segment = segmentBytes(stage, buffer.segment());
  if (buffer.offset() % 64 != 0)
    fail("offset {} is not a multiple of 64", buffer.offset());
  if (buffer.slot_bytes() % 64 != 0 || buffer.slot_bytes() > kLargestBytes)
    fail("expected copies a multiple of 64 bytes apart, found {}", buffer.slot_bytes());
  if (buffer.slot_bytes() && buffer.segment() != Segment::Arena &&
      buffer.segment() != Segment::Input)
    fail("only the arena and the inputs have copies for micro-batches");
  if (buffer.sharded() && buffer.segment() != Segment::Parameter &&
      buffer.segment() != Segment::Gradient)
    fail("only parameters and gradients have shards");
  if (buffer.sharded() && (stage.shard_axes() == 0 || buffer.bytes() % 64 != 0))
    fail("expected a shard of a multiple of 64 bytes in a stage with shards, found {} bytes",
         buffer.bytes());
  uint64_t last = product({stage.slots() - 1, static_cast<int64_t>(buffer.slot_bytes())});
  if (buffer.sharded())
    last = shardedBytes(program, stage, buffer.bytes()) - buffer.bytes();
  if (buffer.offset() > segment || last > segment - buffer.offset() ||
      buffer.bytes() > segment - buffer.offset() - last)
    fail("bytes {} to {} + {} are outside of segment {} of {} bytes", buffer.offset(),
         buffer.offset() + last, buffer.bytes(), EnumNameSegment(buffer.segment()), segment);
  uint64_t bytes = shapedBytes(buffer.shape(), bytesOf(buffer.type()));
  if (buffer.shape() && bytes > buffer.bytes())
    fail("its shape needs {} bytes, it has {}", bytes, buffer.bytes());
}

class StageChecker {
public:
  StageChecker(const Program &program, const Stage &stage) : program(program), stage(stage) {}

  void run() {
    checkOrder(program, stage);
    for (Segment segment : EnumValuesSegment())
      if (segmentBytes(stage, segment) > kLargestBytes)
        fail("segment {} of {} bytes is too large", EnumNameSegment(segment),
             segmentBytes(stage, segment));
    checkShards();
    for (unsigned i = 0; i < stage.buffers()->size(); ++i)
      within("buffer", i, [&] { checkBuffer(program, stage, *stage.buffers()->Get(i)); });
    for (unsigned i = 0; i < stage.inputs()->size(); ++i)
      within("input", i, [&] { checkInput(*stage.inputs()->Get(i)); });
    for (unsigned i = 0; i < stage.parameters()->size(); ++i)
      within("parameter", i, [&] { checkParameter(*stage.parameters()->Get(i)); });
    for (unsigned i = 0; i < stage.metrics()->size(); ++i)
      within("metric", i, [&] { checkMetric(*stage.metrics()->Get(i)); });
    checkInstructions(program, stage);
  }

private:
  template <typename Check> void within(const char *what, unsigned index, Check check) {
    try {
      check();
    } catch (const Error &error) {
      fail("{} {}: {}", what, index, error.what());
    }
  }

  const Buffer &buffer(int index, Segment segment, uint64_t bytes, DataType type) {
    if (index < 0 || static_cast<unsigned>(index) >= stage.buffers()->size())
      fail("there is no buffer {}", index);
    const Buffer &found = *stage.buffers()->Get(static_cast<unsigned>(index));
    if (found.segment() != segment)
      fail("buffer {} is not in segment {}", index, EnumNameSegment(segment));
    if (found.type() != type || found.bytes() < bytes)
      fail("buffer {} must hold {} bytes of {}, it has {} of {}", index, bytes,
           EnumNameDataType(type), found.bytes(), EnumNameDataType(found.type()));
    return found;
  }

  void checkInput(const Input &input) {
    int64_t b = program.micro_batch(), c = program.chunk_length(), elements = 1;
    DataType type = DataType::I32;
    switch (input.kind()) {
    case InputKind::Tokens:
    case InputKind::Types:
    case InputKind::Positions:
    case InputKind::MaskedRows:
    case InputKind::MaskedLabels:
    case InputKind::RowSamples:
      elements = b * c;
      break;
    case InputKind::PaddingMask:
      elements = b * c * program.sp();
      break;
    case InputKind::SentenceOrder:
    case InputKind::SampleNumbers:
    case InputKind::FirstTokenRows:
      elements = b;
      break;
    case InputKind::Step:
    case InputKind::Seed:
    case InputKind::Training:
    case InputKind::Constant:
      break;
    case InputKind::InverseLossTokens:
    case InputKind::InverseSamples:
    case InputKind::LearningRate:
    case InputKind::BiasCorrection1:
    case InputKind::BiasCorrection2:
    case InputKind::ClipNorm:
    case InputKind::WeightDecay:
    case InputKind::ScaledInverseLossTokens:
    case InputKind::ScaledInverseSamples:
    case InputKind::InverseLossScale:
      type = DataType::F32;
      break;
    default:
      fail("unknown kind {}", static_cast<int>(input.kind()));
    }
    if (!kinds.insert(input.kind()).second && input.kind() != InputKind::Constant)
      fail("a second input of kind {}", EnumNameInputKind(input.kind()));
    buffer(input.buffer(), Segment::Input, product({elements, 4}), type);
  }

  void checkParameter(const Parameter &parameter) {
    uint64_t bytes = shapedBytes(parameter.shape(), 4);
    if (parameter.initializer() < Initializer::MIN || parameter.initializer() > Initializer::MAX)
      fail("unknown initializer {}", static_cast<int>(parameter.initializer()));
    if (!names.insert(parameter.name()->string_view()).second)
      fail("a second parameter {}", parameter.name()->string_view());
    buffer(parameter.value(), Segment::Parameter, bytes, DataType::F32);
    buffer(parameter.gradient(), Segment::Gradient, bytes, DataType::F32);
    for (int moment : {parameter.first_moment(), parameter.second_moment()})
      if (moment != -1)
        buffer(moment, Segment::OptimizerState, bytes, DataType::F32);
    if (stage.shards() && stage.shards()->size())
      checkShardOf(parameter);
  }

  void checkShards() {
    bool has = stage.shards() && stage.shards()->size();
    int axes = stage.shard_axes();
    if (has ? axes != 1 && axes != 4 && axes != 5 : axes != 0)
      fail("expected the shard axes {}, found {}", has ? "dp, sp or both" : "none", axes);
    for (unsigned i = 0; has && i < stage.shards()->size(); ++i)
      within("shard", i, [&] {
        const Shard &shard = *stage.shards()->Get(i);
        if (shard.offset() % 64 || shard.bytes() % 64 || shard.first_moment() % 64 ||
            shard.second_moment() % 64)
          fail("its offsets and size are not multiples of 64");
        uint64_t all = shardedBytes(program, stage, shard.bytes());
        auto inside = [&](Segment segment, uint64_t offset, uint64_t bytes) {
          uint64_t size = segmentBytes(stage, segment);
          if (offset > size || bytes > size - offset)
            fail("bytes {} to {} + {} are outside of segment {} of {} bytes", offset, offset, bytes,
                 EnumNameSegment(segment), size);
        };
        inside(Segment::Parameter, shard.offset(), all);
        inside(Segment::Gradient, shard.offset(), all);
        inside(Segment::OptimizerState, shard.first_moment(), shard.bytes());
        inside(Segment::OptimizerState, shard.second_moment(), shard.bytes());
      });
  }

  /// A parameter of a stage with shards lies in one of them, and its gradient at the same place.
  void checkShardOf(const Parameter &parameter) {
    uint64_t begin = stage.buffers()->Get(static_cast<unsigned>(parameter.value()))->offset();
    uint64_t end = begin + shapedBytes(parameter.shape(), 4);
    if (parameter.first_moment() != -1 || parameter.second_moment() != -1 ||
        stage.buffers()->Get(static_cast<unsigned>(parameter.gradient()))->offset() != begin)
      fail("in a stage with shards, expected its gradient at byte {} and no moments", begin);
    for (const Shard *shard : *stage.shards())
      if (begin >= shard->offset() &&
          end <= shard->offset() + shardedBytes(program, stage, shard->bytes()))
        return;
    fail("bytes {} to {} lie in no shard", begin, end);
  }

  void checkMetric(const Metric &metric) {
    if (metric.kind() < MetricKind::MIN || metric.kind() > MetricKind::MAX)
      fail("unknown kind {}", static_cast<int>(metric.kind()));
    auto index = static_cast<unsigned>(metric.buffer());
    bool isDouble =
        index < stage.buffers()->size() && stage.buffers()->Get(index)->type() == DataType::F64;
    buffer(metric.buffer(), Segment::Gradient, isDouble ? 8 : 4,
           isDouble ? DataType::F64 : DataType::F32);
  }

  const Program &program;
  const Stage &stage;
  std::set<InputKind> kinds;
  std::set<std::string_view> names;
};

void checkKernel(const Kernel &kernel) {
  if (kernel.symbol()->size() == 0)
    fail("its symbol is empty");
  for (const KernelOperand *operand : *kernel.operands()) {
    if (operand->access() < Access::MIN || operand->access() > Access::MAX)
      fail("unknown access {}", static_cast<int>(operand->access()));
    bytesOf(operand->type());
    product({operand->columns(), 8});
    if (operand->columns() < 1)
      fail("expected at least one column, found {}", operand->columns());
    if (operand->access() != Access::Gather && operand->access() != Access::ScatterAdd &&
        operand->access() != Access::Scatter)
      continue;
    int index = operand->index();
    if (index < 0 || static_cast<unsigned>(index) >= kernel.operands()->size() ||
        kernel.operands()->Get(static_cast<unsigned>(index))->access() != Access::RowScalar ||
        kernel.operands()->Get(static_cast<unsigned>(index))->type() != DataType::I32)
      fail("index {} is not an operand with one i32 a row", index);
  }
}

void checkExtents(const Program &program) {
  auto within = [](const char *name, int64_t value, int64_t most) {
    if (value < 1 || value > most)
      fail("{} is {}, expected 1 to {}", name, value, most);
  };
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max();
  within("dp", program.dp(), 1024);
  within("pp", program.pp(), 1024);
  within("sp", program.sp(), 64);
  within("micro_batch", program.micro_batch(), kLargest);
  within("micro_batches", program.micro_batches(), kLargest);
  within("seq_length", program.seq_length(), kLargest);
  within("chunk_length", program.chunk_length(), kLargest);
  within("vocabulary", program.vocabulary(), kLargest);
  if (product({program.chunk_length(), program.sp()}) < static_cast<uint64_t>(program.seq_length()))
    fail("{} chunks of {} positions do not hold a sequence of {}", program.sp(),
         program.chunk_length(), program.seq_length());
  // Row numbers of a micro-batch and samples of a step are int32.
  if (product({program.micro_batch(), program.chunk_length(), program.sp()}) > kLargest ||
      product({program.micro_batch(), program.micro_batches(), program.dp()}) > kLargest)
    fail("a micro-batch has too many positions or a step too many samples");
  if (program.stages()->size() != static_cast<unsigned>(program.pp()))
    fail("expected {} stages, found {}", program.pp(), program.stages()->size());
}

bool hasInput(const Stage &stage, InputKind kind) {
  return std::any_of(stage.inputs()->begin(), stage.inputs()->end(),
                     [=](const Input *input) { return input->kind() == kind; });
}

// Every rank must know of an overflow: the ranks' scales are the same ones.
void checkLossScale(const Program &program) {
  bool whole = hasInput(*program.stages()->Get(0), InputKind::InverseLossScale);
  for (unsigned i = 0; i < program.stages()->size(); ++i) {
    const Stage &stage = *program.stages()->Get(i);
    if (hasInput(stage, InputKind::InverseLossScale) != whole)
      fail("stage {}: expected the input InverseLossScale in all stages or in none", i);
    for (InputKind kind : {InputKind::ScaledInverseLossTokens, InputKind::ScaledInverseSamples})
      if (!whole && hasInput(stage, kind))
        fail("stage {}: the input {} needs InverseLossScale", i, EnumNameInputKind(kind));
    bool norm =
        std::any_of(stage.metrics()->begin(), stage.metrics()->end(), [](const Metric *metric) {
          return metric->kind() == MetricKind::GradientNorm;
        });
    if (whole && !norm)
      fail("stage {}: with InverseLossScale expected the metric GradientNorm", i);
  }
}

} // namespace

void checkProgram(const Program &program) {
  checkExtents(program);
  for (unsigned i = 0; i < program.kernels()->size(); ++i) {
    try {
      checkKernel(*program.kernels()->Get(i));
    } catch (const Error &error) {
      fail("kernel {}: {}", i, error.what());
    }
  }
  checkCuda(program);
  for (unsigned i = 0; i < program.stages()->size(); ++i) {
    try {
      StageChecker(program, *program.stages()->Get(i)).run();
    } catch (const Error &error) {
      fail("stage {}: {}", i, error.what());
    }
  }
  checkLossScale(program);
}

} // namespace seqpar::rt
