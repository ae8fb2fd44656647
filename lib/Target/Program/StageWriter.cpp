//===- StageWriter.cpp - one stage of a program ---------------------------===//
#include "StageWriter.h"

#include "seqpar/Dialect/Plan/Memory.h"
#include "seqpar/Transforms/Locations.h"
#include "seqpar/Transforms/Turns.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace seqpar;

std::optional<program::DataType> seqpar::getDataType(Type element) {
  if (element.isF32())
    return program::DataType::F32;
  if (element.isInteger(32))
    return program::DataType::I32;
  if (element.isF64())
    return program::DataType::F64;
  if (element.isBF16())
    return program::DataType::BF16;
  if (element.isF16())
    return program::DataType::F16;
  return std::nullopt;
}

program::DataType seqpar::getDataTypeOf(Value memory) {
  return *getDataType(cast<MemRefType>(memory.getType()).getElementType());
}

int64_t seqpar::getElementCount(Value memory) {
  return cast<MemRefType>(memory.getType()).getNumElements();
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

namespace {
struct Place {
  program::Segment segment;
  std::optional<uint64_t> offset;
  std::string name;
  bool communication = false;
  uint64_t slotBytes = 0;
  bool sharded = false;
};
} // namespace

static std::string joinWords(StringRef first, StringRef second) {
  return (first + (first.empty() || second.empty() ? "" : " ") + second).str();
}

static Place getPlace(Operation *op) {
  using program::Segment;
  return llvm::TypeSwitch<Operation *, Place>(op)
      .Case([](plan::ParameterOp parameter) {
        return Place{Segment::Parameter, parameter.getOffset(), parameter.getName().str()};
      })
      .Case([](plan::GradientOp gradient) {
        return Place{Segment::Gradient, gradient.getOffset(),
                     ("gradient of " + gradient.getName()).str()};
      })
      .Case([](plan::MomentOp moment) {
        return Place{Segment::OptimizerState, moment.getOffset(),
                     (moment.getOrder() == 1 ? "first moment of " : "second moment of ") +
                         moment.getName().str()};
      })
      .Case([](plan::InputOp input) {
        return Place{Segment::Input, input.getOffset(),
                     plan::stringifyInputKind(input.getKind()).str(), false,
                     input.getSlotBytes().value_or(0)};
      })
      .Case([](plan::MetricOp metric) {
        return Place{Segment::Gradient, metric.getOffset(),
                     plan::stringifyMetricKind(metric.getKind()).str()};
      })
      .Case([](plan::RangeOp range) {
        auto segment = static_cast<Segment>(range.getSegment());
        std::string what = range.getSharded() ? "shard of " : "range of ";
        return Place{segment,
                     range.getOffset(),
                     what + plan::stringifySegment(range.getSegment()).str(),
                     false,
                     0,
                     range.getSharded()};
      })
      .Case([](plan::BufferOp buffer) {
        return Place{Segment::Arena, buffer.getOffset(),
                     joinWords(buffer.getValue(), describeLocation(buffer.getLoc())),
                     buffer.getCommunication(), buffer.getSlotBytes().value_or(0)};
      })
      .DefaultUnreachable("only declarations, ranges and buffers make memory");
}

LogicalResult BufferTable::add(Operation *op) {
  Value memory = op->getResult(0);
  auto type = cast<MemRefType>(memory.getType());
  std::optional<program::DataType> element = getDataType(type.getElementType());
  if (!element || !type.hasStaticShape())
    return op->emitOpError(
               "expected elements of f32, i32, f64, bf16 or f16 and a static shape, found ")
           << type;
  Place place = getPlace(op);
  if (!place.offset)
    return op->emitOpError("has no offset: run assign-segments and assign-arena first");

  std::string key;
  llvm::raw_string_ostream(key) << static_cast<int>(place.segment) << " " << *place.offset << " "
                                << type << " " << place.communication << " " << place.slotBytes
                                << " " << place.sharded << " " << place.name;
  auto [known, isNew] = this->known.try_emplace(key, buffers.size());
  indices[memory] = known->second;
  if (isNew)
    buffers.push_back(program::CreateBuffer(
        builder, place.segment, *place.offset, plan::getByteCount(memory), *element,
        builder.CreateVector(type.getShape().data(), type.getRank()), place.communication,
        builder.CreateSharedString(place.name), place.slotBytes, place.sharded));
  return success();
}

program::Operand BufferTable::getOperand(Value memory) const {
  if (auto alternate = memory.getDefiningOp<sp::AlternateOp>())
    return {getIndex(alternate.getOdd()), getIndex(alternate.getEven())};
  // The present chunk of a rows loop is named by the whole; the executor advances it.
  if (auto argument = dyn_cast<BlockArgument>(memory)) {
    auto loop = cast<plan::RowsLoopOp>(argument.getOwner()->getParentOp());
    return getOperand(argument.getArgNumber() == 0 ? loop.getRows() : loop.getLabels());
  }
  return {getIndex(memory), -1};
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

using ParameterList =
    flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<program::Parameter>>>;

static ParameterList writeParameters(plan::StageOp stage, const BufferTable &buffers,
                                     flatbuffers::FlatBufferBuilder &builder) {
  llvm::StringMap<int> gradients, moments[2];
  for (auto op : stage.getOps<plan::GradientOp>())
    gradients[op.getName()] = buffers.getIndex(op.getResult());
  for (auto op : stage.getOps<plan::MomentOp>())
    moments[op.getOrder() == 2][op.getName()] = buffers.getIndex(op.getResult());
  auto find = [](const llvm::StringMap<int> &map, StringRef name) {
    auto it = map.find(name);
    return it == map.end() ? -1 : it->second;
  };
  std::vector<flatbuffers::Offset<program::Parameter>> parameters;
  for (auto op : stage.getOps<plan::ParameterOp>()) {
    StringRef name = op.getName();
    ArrayRef<int64_t> shape = cast<MemRefType>(op.getResult().getType()).getShape();
    parameters.push_back(program::CreateParameter(
        builder, builder.CreateString(name.data(), name.size()),
        builder.CreateVector(shape.data(), shape.size()), buffers.getIndex(op.getResult()),
        find(gradients, name), find(moments[0], name), find(moments[1], name),
        static_cast<program::Initializer>(op.getInit()), op.getDeviation().convertToFloat(),
        op.getDecay()));
  }
  return builder.CreateVector(parameters);
}

FailureOr<flatbuffers::Offset<program::Stage>>
seqpar::writeStage(plan::StageOp stage, const KernelTable &kernels,
                   flatbuffers::FlatBufferBuilder &builder) {
  if (!stage.getArenaBytes() || !stage.getParameterBytes())
    return stage.emitOpError("has no segment sizes: run assign-segments and assign-arena first");
  BufferTable buffers(builder);
  auto addBuffer = [&](Operation *op) {
    bool makesMemory = isa<plan::ParameterOp, plan::GradientOp, plan::MomentOp, plan::InputOp,
                           plan::MetricOp, plan::RangeOp, plan::BufferOp>(op);
    return makesMemory && failed(buffers.add(op)) ? WalkResult::interrupt() : WalkResult::advance();
  };
  if (stage.walk<WalkOrder::PreOrder>(addBuffer).wasInterrupted())
    return failure();

  std::vector<flatbuffers::Offset<program::Input>> inputs;
  for (auto op : stage.getOps<plan::InputOp>())
    inputs.push_back(program::CreateInput(builder, static_cast<program::InputKind>(op.getKind()),
                                          buffers.getIndex(op.getResult()),
                                          op.getValue().value_or(0)));
  std::vector<flatbuffers::Offset<program::Metric>> metrics;
  for (auto op : stage.getOps<plan::MetricOp>())
    metrics.push_back(program::CreateMetric(builder, static_cast<program::MetricKind>(op.getKind()),
                                            buffers.getIndex(op.getResult())));

  InstructionWriter writer(builder, buffers, kernels);
  auto microBatch = *stage.getOps<plan::MicroBatchOp>().begin();
  auto update = *stage.getOps<plan::UpdateOp>().begin();
  size_t forward = 0;
  FailureOr<InstructionWriter::List> microBatchList =
      writer.write(microBatch.getBody().front(), &forward);
  if (failed(microBatchList))
    return failure();
  FailureOr<InstructionWriter::List> updateList = writer.write(update.getBody().front());
  if (failed(updateList))
    return failure();

  std::vector<program::Turn> order;
  if (stage.getOrder())
    for (const Turn &turn : getTurns(stage))
      order.push_back({static_cast<int>(turn.microBatch), turn.backward});
  auto bufferList = builder.CreateVector(buffers.getBuffers().data(), buffers.getBuffers().size());
  ParameterList parameters = writeParameters(stage, buffers, builder);
  std::vector<flatbuffers::Offset<program::Shard>> shards;
  for (auto op : stage.getOps<plan::ShardOp>())
    shards.push_back(program::CreateShard(builder, op.getOffset(), op.getBytes(), op.getFirst(),
                                          op.getSecond()));
  return program::CreateStage(
      builder, *stage.getArenaBytes(), stage.getArenaLowerBound().value_or(0),
      *stage.getParameterBytes(), stage.getGradientBytes().value_or(0),
      stage.getOptimizerStateBytes().value_or(0), stage.getInputBytes().value_or(0), bufferList,
      parameters, builder.CreateVector(inputs), builder.CreateVector(metrics), *microBatchList,
      *updateList, forward, stage.getSlots(),
      order.empty() ? 0 : builder.CreateVectorOfStructs(order), getAxisBits(stage.getShardAxes()),
      builder.CreateVector(shards));
}
