//===- Executor.cpp - memory, inputs and results of one rank ----*- C++ -*-===//

#include "seqpar/rt/Executor.h"

#include "ExecutorScope.h"
#include "ProgramCheck.h"

#include <algorithm>
#include <cmath>

namespace seqpar::rt {

using namespace program;

Executor::Executor(const ProgramFile &file, Device &device, Communicator &communicator,
                   Profiler *profiler)
    : program(file.program()), theStage(file.stage(communicator.coordinates().pp)), device(device),
      communicator(communicator), profiler(profiler), coordinates(communicator.coordinates()) {
  const uint64_t sizes[] = {theStage.arena_bytes(), theStage.parameter_bytes(),
                            theStage.gradient_bytes(), theStage.optimizer_state_bytes(),
                            theStage.input_bytes()};
  for (size_t i = 0; i < segments.size(); ++i) {
    if (sizes[i] == 0)
      continue;
    if (i == static_cast<size_t>(Segment::Parameter) && sharesParameters()) {
      segments[i] = shareParameters(sizes[i]);
      continue;
    }
    segments[i] = {static_cast<uint8_t *>(device.allocate(sizes[i])), Release{&device}};
    device.zero(segments[i].get(), sizes[i]);
  }
  size_t rows = static_cast<size_t>(program.micro_batch() * program.chunk_length());
  staging.resize(rows * static_cast<size_t>(program.sp()));
  stagedRows.resize(rows);
  stagedLabels.resize(rows);
  size_t operands = 0;
  for (const Kernel *kernel : *program.kernels())
    operands = std::max<size_t>(operands, kernel->operands()->size());
  kernelOperands.resize(operands);
  maskedRows.resize(static_cast<size_t>(theStage.slots()));
  pending.reserve(64 + 8 * maskedRows.size());
  for (const Input *input : *theStage.inputs()) {
    if (input->kind() == InputKind::SampleNumbers)
      sampleNumbers = input->buffer();
    if (input->kind() == InputKind::Seed)
      seedInput = input->buffer();
    if (input->kind() == InputKind::Step)
      stepInput = input->buffer();
    if (input->kind() == InputKind::Constant) {
      int32_t value = input->value();
      device.copyToDevice(address(input->buffer()), &value, sizeof(value));
      device.synchronize();
    }
  }
  findLossReductions();
  findStaticSpans();
}

Executor::~Executor() = default;

/// Whether the range of `bytes` bytes that begins with `range` has the buffer `loss` in it.
static bool covers(const Buffer &range, uint64_t bytes, const Buffer &loss) {
  return range.segment() == loss.segment() && range.offset() <= loss.offset() &&
         loss.offset() < range.offset() + bytes;
}

// What the update does to the losses alone, in its order: all-reduces that sum one, and kernels
// whose one output it is. evaluate() runs these and nothing else of the update. A loss that no
// all-reduce sums is the same on all ranks already.
void Executor::findLossReductions() {
  for (const Metric *metric : *theStage.metrics()) {
    if (metric->kind() == MetricKind::GradientNorm)
      continue;
    const Buffer &loss = *theStage.buffers()->Get(metric->buffer());
    for (const Instruction *instruction : *theStage.update()) {
      const Buffer *written = nullptr;
      uint64_t bytes = 0;
      if (const AllReduce *op = instruction->operation_as_AllReduce()) {
        written = theStage.buffers()->Get(op->buffer()->buffer());
        bytes = op->elements() * bytesOf(op->type());
      } else if (const RowKernel *op = instruction->operation_as_RowKernel()) {
        const Kernel &kernel = *program.kernels()->Get(op->kernel());
        unsigned last = kernel.operands()->size() - 1;
        auto outputs =
            std::count_if(kernel.operands()->begin(), kernel.operands()->end(),
                          [](const KernelOperand *operand) { return operand->output(); });
        if (outputs == 1 && kernel.operands()->Get(last)->output()) {
          written = theStage.buffers()->Get(op->operands()->Get(last)->buffer());
          bytes = written->bytes();
        }
      }
      if (!written || !covers(*written, bytes, loss))
        continue;
      if (std::find(lossReductions.begin(), lossReductions.end(), instruction) ==
          lossReductions.end())
        lossReductions.push_back(instruction);
    }
  }
}

uint8_t *Executor::address(int buffer, size_t slot) const {
  const Buffer &found = *theStage.buffers()->Get(buffer);
  return segments[static_cast<size_t>(found.segment())].get() + found.offset() +
         slot * found.slot_bytes() + (found.sharded() ? shardIndex() * found.bytes() : 0);
}

double Executor::metric(MetricKind kind) const {
  for (const Metric *metric : *theStage.metrics()) {
    if (metric->kind() != kind)
      continue;
    bool isDouble = theStage.buffers()->Get(metric->buffer())->type() == DataType::F64;
    float single = 0;
    double value = 0;
    if (isDouble)
      device.copyToHost(&value, address(metric->buffer()), sizeof(value));
    else
      device.copyToHost(&single, address(metric->buffer()), sizeof(single));
    device.synchronize();
    return isDouble ? value : single;
  }
  return 0;
}

void Executor::step(const StepInputs &inputs, const GlobalBatch &batch) {
  beginStep(inputs, batch);
  updates = true;
  if (theStage.order()) {
    for (const Turn *each : *theStage.order())
      turn(each->micro_batch(), each->backward(), batch);
  } else {
    for (int64_t i = 0; i < program.micro_batches(); ++i) {
      turn(i, false, batch);
      turn(i, true, batch);
    }
  }
  runTop(*theStage.update(), 0, theStage.update()->size(), Scope());
  device.synchronize();
}

void Executor::evaluate(const StepInputs &inputs, const GlobalBatch &batch) {
  beginStep(inputs, batch);
  updates = false;
  for (int64_t i = 0; i < program.micro_batches(); ++i) {
    // What a micro-batch sends is waited for in its backward part: here, when its slot is needed.
    wait(i - theStage.slots());
    turn(i, false, batch);
  }
  wait(Scope::kUpdate);
  for (const Instruction *reduction : lossReductions)
    run(*reduction, Scope());
  wait(Scope::kUpdate);
  device.synchronize();
}

void Executor::beginStep(const StepInputs &inputs, const GlobalBatch &batch) {
  int64_t samples = program.micro_batch() * program.micro_batches() * program.dp();
  if (batch.samples != samples || batch.length != program.seq_length())
    fail("expected a global batch of {} samples of {} positions, found {} of {}", samples,
         program.seq_length(), batch.samples, batch.length);
  stepInputs = inputs;
  writeStepInputs(batch);
}

void Executor::turn(int64_t microBatch, bool backward, const GlobalBatch &batch) {
  Scope scope;
  scope.microBatch = microBatch;
  scope.slot = static_cast<size_t>(microBatch % theStage.slots());
  scope.lastOfStep = updates && microBatch == program.micro_batches() - 1;
  if (!backward)
    writeMicroBatch(batch, scope);
  const auto &list = *theStage.micro_batch();
  unsigned middle = std::min(theStage.backward_begin(), list.size());
  if (backward)
    runTop(list, middle, list.size(), scope);
  else
    runTop(list, 0, middle, scope);
}

} // namespace seqpar::rt
