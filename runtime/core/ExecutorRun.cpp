//===- ExecutorRun.cpp - the instructions -----------------------*- C++ -*-===//

#include "ExecutorScope.h"
#include "ProgramCheck.h"

#include <algorithm>
#include <exception>
#include <type_traits>

namespace seqpar::rt {

using namespace program;

namespace {

Category categoryOf(Operation operation) {
  switch (operation) {
  case Operation::Gemm:
    return Category::Gemm;
  case Operation::AttentionForward:
  case Operation::AttentionBackward:
    return Category::Attention;
  case Operation::RowKernel:
  case Operation::Fill:
    return Category::RowKernel;
  default:
    return Category::Exchange;
  }
}

const char *locationOf(const Instruction &instruction) {
  if (instruction.location() && instruction.location()->size())
    return instruction.location()->c_str();
  return EnumNameOperation(instruction.operation_type());
}

bool isCollective(Operation operation) {
  return operation == Operation::AllReduce || operation == Operation::AllGather ||
         operation == Operation::ReduceScatter;
}

ElementType elementType(DataType type) {
  switch (type) {
  case DataType::F64:
    return ElementType::F64;
  case DataType::I32:
    return ElementType::I32;
  case DataType::F32:
    return ElementType::F32;
  default: // InstructionCheck lets them be gathered only
    return ElementType::Byte;
  }
}

} // namespace

template <typename T> T *Executor::at(const Operand *operand, const Scope &scope) const {
  bool other = operand->alternate() >= 0 && scope.iteration != 0 && scope.iteration % 2 == 0;
  int buffer = other ? operand->alternate() : operand->buffer();
  uint8_t *found = address(buffer, scope.slot);
  if (scope.rows && (buffer == scope.rows->rows() || buffer == scope.rows->labels()))
    found += static_cast<size_t>(scope.firstRow) * sizeof(int32_t);
  return reinterpret_cast<T *>(found);
}

FloatType Executor::floatType(const Operand *operand) const {
  switch (theStage.buffers()->Get(static_cast<unsigned>(operand->buffer()))->type()) {
  case DataType::BF16:
    return FloatType::BF16;
  case DataType::F16:
    return FloatType::F16;
  default:
    return FloatType::F32;
  }
}

void Executor::runList(const flatbuffers::Vector<flatbuffers::Offset<Instruction>> &list,
                       unsigned begin, unsigned end, const Scope &scope) {
  for (unsigned i = begin; i < end; ++i)
    run(*list.Get(i), scope);
}

void Executor::run(const Instruction &instruction, const Scope &scope) {
  // A loop's instructions report for themselves.
  if (auto *loop = instruction.operation_as_RingLoop())
    return ringLoop(*loop, scope);
  if (auto *loop = instruction.operation_as_RowsLoop())
    return rowsLoop(*loop, scope);
  uint64_t begin = profiler ? Profiler::now() : 0, waited = communicator.waitedNanoseconds();
  communicator.setActivity(locationOf(instruction));
  try {
    size_t before = pending.size();
    dispatch(instruction, scope);
    for (size_t i = before; i < pending.size(); ++i) {
      pending[i].name = locationOf(instruction);
      pending[i].begin = begin;
    }
    if (profiler && pending.size() == before && isCollective(instruction.operation_type()))
      profiler->addExchange(Category::Collective, locationOf(instruction), begin, Profiler::now());
  } catch (const Aborted &) {
    throw;
  } catch (const std::exception &error) {
    const char *operation = EnumNameOperation(instruction.operation_type());
    const char *location = locationOf(instruction);
    fail("rank {}: {}{}{}: {}", communicator.rank(), operation, location == operation ? "" : " of ",
         location == operation ? "" : location, error.what());
  }
  if (profiler)
    profiler->add(categoryOf(instruction.operation_type()), locationOf(instruction), begin,
                  Profiler::now(), communicator.waitedNanoseconds() - waited);
}

void Executor::dispatch(const Instruction &instruction, const Scope &scope) {
  switch (instruction.operation_type()) {
  case Operation::Gemm:
    return gemm(*instruction.operation_as_Gemm(), scope);
  case Operation::RowKernel:
    return rowKernel(*instruction.operation_as_RowKernel(), scope);
  case Operation::AttentionForward:
    return attentionForward(*instruction.operation_as_AttentionForward(), scope);
  case Operation::AttentionBackward:
    return attentionBackward(*instruction.operation_as_AttentionBackward(), scope);
  case Operation::RingShiftStart:
    return ringShift(*instruction.operation_as_RingShiftStart(), scope);
  case Operation::Wait: {
    auto &op = *instruction.operation_as_Wait();
    return op.skip_last() && scope.lastIteration ? void() : wait(scope.microBatch, op.tag());
  }
  case Operation::AllReduce:
    return reduce(*instruction.operation_as_AllReduce(), scope);
  case Operation::AllGather: {
    auto &op = *instruction.operation_as_AllGather();
    ElementType type = elementType(op.type());
    uint64_t inner = op.inner() * bytesOf(op.type()) / elementBytes(type);
    settle();
    return communicator.allGather(at<void>(op.send(), scope), at<void>(op.receive(), scope),
                                  op.outer(), inner, type, op.axes());
  }
  case Operation::ReduceScatter:
    return reduce(*instruction.operation_as_ReduceScatter(), scope);
  case Operation::Send:
    return exchangeWithStage(*instruction.operation_as_Send(), scope);
  case Operation::Receive:
    return exchangeWithStage(*instruction.operation_as_Receive(), scope);
  case Operation::Fill: {
    auto &op = *instruction.operation_as_Fill();
    if (!op.first_micro_batch_only() || scope.microBatch == 0)
      device.zero(at<void>(op.buffer(), scope), op.bytes());
    return;
  }
  default:
    fail("unknown operation {}", static_cast<int>(instruction.operation_type()));
  }
}

void Executor::gemm(const Gemm &op, const Scope &scope) {
  GemmArgs args{.a = at<void>(op.a(), scope),
                .b = at<void>(op.b(), scope),
                .c = at<void>(op.c(), scope),
                .m = op.active_rows() == ActiveRows::M ? scope.activeRows : op.m(),
                .n = op.n(),
                .k = op.active_rows() == ActiveRows::K ? scope.activeRows : op.k(),
                .transposeA = op.transpose_a(),
                .transposeB = op.transpose_b(),
                .lda = op.lda(),
                .ldb = op.ldb(),
                .ldc = op.ldc(),
                .alpha = op.alpha(),
                .accumulate = scope.accumulates(op.combine()),
                .type = floatType(op.a()),
                .resultType = floatType(op.c()),
                .bias = op.bias() ? at<void>(op.bias(), scope) : nullptr,
                .saved = op.saved() ? at<void>(op.saved(), scope) : nullptr};
  device.gemm(args);
}

void Executor::rowKernel(const RowKernel &op, const Scope &scope) {
  size_t count = op.operands()->size();
  for (size_t i = 0; i < count; ++i)
    kernelOperands[i] = at<void>(op.operands()->Get(static_cast<unsigned>(i)), scope);
  RowKernelArgs args{.kernel = op.kernel(),
                     .operands = std::span<void *const>(kernelOperands.data(), count),
                     .rows = op.active_rows() ? scope.activeRows : op.rows(),
                     .accumulate = scope.accumulates(op.combine())};
  device.rowKernel(args);
}

namespace {

template <typename Op>
AttentionShape attentionShape(const Op &op, const Coordinates &at, int sp, int iteration) {
  // The block that has arrived after i shifts started at the rank i places before.
  int64_t source = op.block() == KeyBlock::Whole ? 0
                   : op.block() == KeyBlock::Own ? at.sp
                                                 : (at.sp - iteration + sp) % sp;
  return {.batch = op.batch(),
          .heads = op.heads(),
          .headDim = op.head_dim(),
          .queries = op.query_length(),
          .keys = op.key_length(),
          .maskLength = op.mask_length(),
          .maskOffset = source * op.key_length(),
          .scale = op.scale()};
}

} // namespace

AttentionDropout Executor::dropout(float rate, int site, int64_t keyOffset,
                                   const Scope &scope) const {
  if (rate == 0 || !stepInputs.training)
    return {};
  return {.rate = rate,
          .seed = stepInputs.seed,
          .step = static_cast<uint32_t>(stepInputs.step),
          .site = static_cast<uint32_t>(site),
          .samples = reinterpret_cast<const int32_t *>(address(sampleNumbers, scope.slot)),
          .queryOffset = coordinates.sp * program.chunk_length(),
          .keyOffset = keyOffset,
          .seedAddress =
              seedInput < 0 ? nullptr : reinterpret_cast<const uint32_t *>(address(seedInput)),
          .stepAddress =
              stepInput < 0 ? nullptr : reinterpret_cast<const uint32_t *>(address(stepInput))};
}

void Executor::attentionForward(const AttentionForward &op, const Scope &scope) {
  AttentionShape shape = attentionShape(op, coordinates, program.sp(), scope.iteration);
  AttentionForwardArgs args{.shape = shape,
                            .q = at<void>(op.q(), scope),
                            .k = at<void>(op.k(), scope),
                            .v = at<void>(op.v(), scope),
                            .mask = at<int32_t>(op.mask(), scope),
                            .out = at<void>(op.out(), scope),
                            .lse = at<float>(op.lse(), scope),
                            .sum = at<float>(op.sum(), scope),
                            .initialize = op.initialize(),
                            .finish = op.finish() && (scope.iteration == 0 || scope.lastIteration),
                            .dropout = dropout(op.dropout(), op.site(), shape.maskOffset, scope),
                            .type = floatType(op.q()),
                            .outType = floatType(op.out())};
  device.attentionForward(args);
}

void Executor::attentionBackward(const AttentionBackward &op, const Scope &scope) {
  AttentionShape shape = attentionShape(op, coordinates, program.sp(), scope.iteration);
  // Gradients of keys and values travel with their block: whoever has them next adds.
  bool laterBlock = op.combine_kv() == Combine::Overwrite && scope.iteration > 1;
  AttentionBackwardArgs args{.shape = shape,
                             .q = at<void>(op.q(), scope),
                             .k = at<void>(op.k(), scope),
                             .v = at<void>(op.v(), scope),
                             .mask = at<int32_t>(op.mask(), scope),
                             .out = at<void>(op.out(), scope),
                             .lse = at<float>(op.lse(), scope),
                             .dout = at<void>(op.dout(), scope),
                             .delta = at<float>(op.delta(), scope),
                             .dq = at<float>(op.dq(), scope),
                             .dk = at<float>(op.dk(), scope),
                             .dv = at<float>(op.dv(), scope),
                             .initialize = op.initialize(),
                             .accumulateKV = laterBlock || scope.accumulates(op.combine_kv()),
                             .dropout = dropout(op.dropout(), op.site(), shape.maskOffset, scope),
                             .type = floatType(op.q())};
  device.attentionBackward(args);
}

void Executor::ringShift(const RingShiftStart &op, const Scope &scope) {
  if (op.skip_last() && scope.lastIteration)
    return;
  settle();
  const Grid &grid = communicator.grid();
  Coordinates next = coordinates, previous = coordinates;
  next.sp = (coordinates.sp + 1) % grid.sp;
  previous.sp = (coordinates.sp + grid.sp - 1) % grid.sp;
  communicator.beginGroup();
  for (const Operand *each : *op.receive())
    pending.push_back(
        {op.tag(), scope.microBatch,
         communicator.receive(at<void>(each, scope), op.bytes(), grid.rankOf(previous), op.tag())});
  for (const Operand *each : *op.send())
    pending.push_back({op.tag(), scope.microBatch,
                       communicator.send(at<void>(each, scope), op.bytes(), grid.rankOf(next),
                                         op.tag(), Traffic::RingShift)});
  communicator.endGroup();
}

template <typename Op> void Executor::exchangeWithStage(const Op &op, const Scope &scope) {
  settle();
  Coordinates there = coordinates;
  there.pp = op.stage();
  int peer = communicator.grid().rankOf(there);
  void *data = at<void>(op.buffer(), scope);
  Communicator::Request request;
  communicator.beginGroup();
  if constexpr (std::is_same_v<Op, Send>)
    request = communicator.send(data, op.bytes(), peer, op.tag(), Traffic::PointToPoint);
  else
    request = communicator.receive(data, op.bytes(), peer, op.tag());
  communicator.endGroup();
  pending.push_back({op.tag(), scope.microBatch, request});
}

void Executor::settle() {
  if (!communicator.followsDevice())
    device.synchronize();
}

void Executor::reduce(const AllReduce &op, const Scope &scope) {
  if (scope.skipsReduction(op.tag()) || communicator.grid().groupSize(op.axes()) == 1)
    return;
  settle();
  void *buffer = at<void>(op.buffer(), scope);
  if (op.tag() < 0)
    return communicator.allReduce(buffer, op.elements(), elementType(op.type()), op.axes());
  pending.push_back(
      {op.tag(), scope.microBatch,
       communicator.startAllReduce(buffer, op.elements(), elementType(op.type()), op.axes())});
}

void Executor::reduce(const ReduceScatter &op, const Scope &scope) {
  if (scope.skipsReduction(op.tag()))
    return;
  settle();
  const void *from = at<void>(op.send(), scope);
  void *to = at<void>(op.receive(), scope);
  if (op.tag() < 0)
    return communicator.reduceScatter(from, to, op.outer(), op.inner(), elementType(op.type()),
                                      op.axes());
  pending.push_back({op.tag(), scope.microBatch,
                     communicator.startReduceScatter(from, to, op.outer(), op.inner(),
                                                     elementType(op.type()), op.axes())});
}

void Executor::wait(int64_t lastMicroBatch, std::optional<int> tag) {
  auto awaited = [&](const Pending &exchange) {
    return exchange.microBatch <= lastMicroBatch && exchange.tag == tag.value_or(exchange.tag);
  };
  for (size_t i = 0; i < pending.size(); ++i) {
    if (!awaited(pending[i]))
      continue;
    communicator.wait(pending[i].request);
    if (profiler)
      profiler->addExchange(Category::Exchange, pending[i].name, pending[i].begin,
                            communicator.doneNanoseconds());
  }
  std::erase_if(pending, awaited);
}

void Executor::ringLoop(const RingLoop &op, const Scope &scope) {
  Scope inside = scope;
  for (int i = 1; i < program.sp(); ++i) {
    inside.iteration = i;
    inside.lastIteration = i == program.sp() - 1;
    runList(*op.body(), inside);
  }
}

// What is recorded has the same extents in every step: so where it is, the last chunk is a whole
// one too, and the entries past the masked rows, which are -1, come to nothing.
void Executor::rowsLoop(const RowsLoop &op, const Scope &scope) {
  Scope inside = scope;
  inside.rows = &op;
  const int64_t count = maskedRows[scope.slot];
  const int64_t end = device.canRecord() ? static_cast<int64_t>(stagedRows.size()) : count;
  for (int64_t first = 0; first < count; first += op.chunk()) {
    inside.firstRow = first;
    inside.activeRows = std::min(op.chunk(), end - first);
    runTop(*op.body(), 0, op.body()->size(), inside);
  }
}

} // namespace seqpar::rt
