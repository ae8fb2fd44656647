//===- ExecutorRecording.cpp - what a device runs as one --------*- C++ -*-===//
//
// Launching the instructions of a step one by one takes the host longer than a GPU needs for the
// small ones. Where the device can record, spans of instructions that do the same in every step are
// recorded once and replayed: compute whose operands, extents and scalars depend on nothing but the
// micro-batch's slot and whether it is the first. Not in a span are exchanges, loops with
// exchanges, and the loop over masked rows, whose number of rows is another in every step: its
// instructions are launched one by one. Scalars of a step (learning rate, seed, ...) lie in input
// buffers, which spans read.
//
// A span runs as it is the first time, which lets the device search for algorithms and allocate,
// and is recorded the second time.
//
//===----------------------------------------------------------------------===//

#include "ExecutorScope.h"

#include <algorithm>
#include <exception>

namespace seqpar::rt {

using namespace program;

namespace {

/// A shorter one is launched as fast.
constexpr unsigned kShortestSpan = 2;

} // namespace

bool Executor::isStatic(const Instruction &instruction) const {
  auto words = [&](float rate) { return rate == 0 || (seedInput >= 0 && stepInput >= 0); };
  switch (instruction.operation_type()) {
  case Operation::Gemm:
  case Operation::RowKernel:
  case Operation::Fill:
    return true;
  case Operation::AttentionForward:
    return words(instruction.operation_as_AttentionForward()->dropout());
  case Operation::AttentionBackward:
    return words(instruction.operation_as_AttentionBackward()->dropout());
  case Operation::AllReduce:
    return communicator.grid().groupSize(instruction.operation_as_AllReduce()->axes()) == 1;
  case Operation::RingLoop:
    return program.sp() == 1;
  default:
    return false;
  }
}

void Executor::addStaticSpans(const flatbuffers::Vector<flatbuffers::Offset<Instruction>> &list,
                              unsigned begin, unsigned end, size_t variants) {
  for (unsigned i = begin; i < end;) {
    unsigned last = i;
    while (last < end && isStatic(*list.Get(last)))
      ++last;
    if (last - i >= kShortestSpan)
      spans.push_back(
          {list.Get(i), i, last, std::vector<Device::Recording>(variants, StaticSpan::kNew)});
    i = std::max(last, i + 1);
  }
}

void Executor::findStaticSpans() {
  if (!device.canRecord())
    return;
  const auto &list = *theStage.micro_batch();
  unsigned middle = std::min(theStage.backward_begin(), list.size());
  size_t variants = 2 * static_cast<size_t>(theStage.slots());
  addStaticSpans(list, 0, middle, variants);
  addStaticSpans(list, middle, list.size(), variants);
  addStaticSpans(*theStage.update(), 0, theStage.update()->size(), 1);
}

void Executor::runTop(const flatbuffers::Vector<flatbuffers::Offset<Instruction>> &list,
                      unsigned begin, unsigned end, const Scope &scope) {
  for (unsigned i = begin; i < end;) {
    // Without an update, as in an evaluation, dropout is off.
    auto span = !updates ? spans.end()
                         : std::find_if(spans.begin(), spans.end(), [&](const StaticSpan &each) {
                             return each.first == list.Get(i);
                           });
    if (span == spans.end()) {
      run(*list.Get(i++), scope);
    } else {
      runSpan(list, *span, scope);
      i = span->end;
    }
  }
}

void Executor::runSpan(const flatbuffers::Vector<flatbuffers::Offset<Instruction>> &list,
                       StaticSpan &span, const Scope &scope) {
  bool update = scope.microBatch == Scope::kUpdate;
  size_t variant = update ? 0 : 2 * scope.slot + (scope.microBatch == 0 ? 1 : 0);
  Device::Recording &recording = span.recordings[variant];
  if (recording == StaticSpan::kNew) {
    recording = StaticSpan::kRunOnce;
    return runList(list, span.begin, span.end, scope);
  }
  if (recording == StaticSpan::kRunOnce) {
    device.beginRecording();
    try {
      runList(list, span.begin, span.end, scope);
    } catch (...) {
      device.cancelRecording();
      throw;
    }
    recording = device.endRecording();
  }
  uint64_t begin = profiler ? Profiler::now() : 0;
  try {
    device.replay(recording);
  } catch (const std::exception &error) {
    fail("rank {}: {} instructions from {} on: {}", communicator.rank(), span.end - span.begin,
         span.first->location() ? span.first->location()->c_str() : "the first", error.what());
  }
  if (profiler)
    profiler->add(Category::RowKernel, "recorded instructions", begin, Profiler::now(), 0);
}

} // namespace seqpar::rt
