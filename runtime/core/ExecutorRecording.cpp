//===- ExecutorRecording.cpp - what a device runs as one --------*- C++ -*-===//
//
// Launching the instructions of a step one by one takes the host longer than a GPU needs for the
// small ones. Where the device can record, spans of instructions that do the same in every step are
// recorded once and replayed: compute whose operands, extents and scalars depend on nothing but the
// micro-batch's slot and whether it is the first or the last of the step. How often the loop over
// masked rows runs is known with the batch: it divides spans, and each of its chunks, which are
// whole ones here (rowsLoop), has spans of its own. Scalars of a step (learning rate, seed, ...) lie
// in input buffers, which spans read.
//
// Exchanges are recorded where the communicator can (Communicator::canRecord). What follows a
// recording comes after all that is in it, so its exchanges are over at its end. Within a stage
// this is no danger: its ranks run the same instructions, so all come to that point with the same
// exchanges behind them. Between stages it is one: in the order of a pipeline, what lets the other
// stage receive may come later. So an exchange between stages is recorded when the same span waits
// for it, and otherwise divides the span and is started by itself.
//
// A span runs as it is the first time, which lets the device search for algorithms and allocate,
// and the communicator connect; it is recorded the second time.
//
//===----------------------------------------------------------------------===//

#include "ExecutorScope.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace seqpar::rt {

using namespace program;

namespace {

/// A shorter one is launched as fast.
constexpr unsigned kShortestSpan = 2;

/// Of a slot: by whether the micro-batch is the first, and whether it is the last.
constexpr size_t kVariants = 4;

/// The tag of what has to be waited for; -1: nothing.
int startedTag(const Instruction &instruction) {
  switch (instruction.operation_type()) {
  case Operation::RingShiftStart:
    return instruction.operation_as_RingShiftStart()->tag();
  case Operation::AllReduce:
    return instruction.operation_as_AllReduce()->tag();
  case Operation::ReduceScatter:
    return instruction.operation_as_ReduceScatter()->tag();
  case Operation::Send:
    return instruction.operation_as_Send()->tag();
  case Operation::Receive:
    return instruction.operation_as_Receive()->tag();
  default:
    return -1;
  }
}

/// Calls found(instruction) for those of a list and of the loops in it.
template <typename Found>
void forEach(const flatbuffers::Vector<flatbuffers::Offset<Instruction>> &list,
             const Found &found) {
  for (const Instruction *instruction : list) {
    found(*instruction);
    if (auto *ring = instruction->operation_as_RingLoop())
      forEach(*ring->body(), found);
    else if (auto *rows = instruction->operation_as_RowsLoop())
      forEach(*rows->body(), found);
  }
}

} // namespace

bool Executor::isBetweenStages(const Instruction &instruction) const {
  auto spans = [&](int axes) { return program.pp() > 1 && (axes & kAxisPp); };
  switch (instruction.operation_type()) {
  case Operation::Send:
  case Operation::Receive:
    return true;
  case Operation::AllReduce:
    return spans(instruction.operation_as_AllReduce()->axes());
  case Operation::ReduceScatter:
    return spans(instruction.operation_as_ReduceScatter()->axes());
  default:
    return false;
  }
}

bool Executor::isStatic(const Instruction &instruction) const {
  auto words = [&](float rate) { return rate == 0 || (seedInput >= 0 && stepInput >= 0); };
  bool records = communicator.canRecord();
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
    if (communicator.grid().groupSize(instruction.operation_as_AllReduce()->axes()) == 1)
      return true;
    [[fallthrough]];
  case Operation::ReduceScatter:
  case Operation::AllGather:
  case Operation::RingShiftStart:
  case Operation::Send:
  case Operation::Receive:
    return records && !openTags.contains(startedTag(instruction));
  case Operation::Wait:
    return records && !openTags.contains(instruction.operation_as_Wait()->tag());
  case Operation::RingLoop: {
    auto &body = *instruction.operation_as_RingLoop()->body();
    return program.sp() == 1 ||
           std::all_of(body.begin(), body.end(), [&](const auto *each) { return isStatic(*each); });
  }
  default:
    return false;
  }
}

void Executor::addStaticSpans(const flatbuffers::Vector<flatbuffers::Offset<Instruction>> &list,
                              unsigned begin, unsigned end, size_t variants) {
  for (unsigned i = begin; i < end;) {
    unsigned last = i;
    ExchangeState state;
    while (last < end && isStatic(*list.Get(last)))
      follow(*list.Get(last++), false, state);
    if (last - i >= kShortestSpan) {
      spans.push_back({list.Get(i), i, last, state.reducesGradients, state.awaited,
                       std::vector<StaticSpan::Recorded>(variants)});
      openTags.insert(state.started.begin(), state.started.end());
      openTags.insert(state.unknown.begin(), state.unknown.end());
    }
    i = std::max(last, i + 1);
  }
}

void Executor::follow(const Instruction &instruction, bool lastIteration,
                      ExchangeState &state) const {
  if (auto *ring = instruction.operation_as_RingLoop()) {
    for (int i = 1; i < program.sp(); ++i)
      for (const Instruction *each : *ring->body())
        follow(*each, i == program.sp() - 1, state);
    return;
  }
  if (auto *wait = instruction.operation_as_Wait()) {
    state.awaited.insert(wait->tag());
    if (!(wait->skip_last() && lastIteration) && state.started.erase(wait->tag()) == 0 &&
        stageTags.contains(wait->tag()))
      state.unknown.insert(wait->tag());
    return;
  }
  if (isBetweenStages(instruction) && startedTag(instruction) >= 0)
    state.started.insert(startedTag(instruction));
  Operation operation = instruction.operation_type();
  state.reducesGradients |=
      (operation == Operation::AllReduce || operation == Operation::ReduceScatter) &&
      startedTag(instruction) >= 0;
}

void Executor::addLoopSpans(const flatbuffers::Vector<flatbuffers::Offset<Instruction>> &list,
                            size_t variants) {
  for (const Instruction *instruction : list)
    if (auto *loop = instruction->operation_as_RowsLoop()) {
      size_t chunk = static_cast<size_t>(loop->chunk());
      addStaticSpans(*loop->body(), 0, loop->body()->size(),
                     variants * ((stagedRows.size() + chunk - 1) / chunk));
    }
}

// Leaving an exchange out divides spans, which may part others from their waits.
void Executor::findStaticSpans() {
  if (!device.canRecord())
    return;
  const auto &list = *theStage.micro_batch(), &update = *theStage.update();
  auto found = [&](const Instruction &instruction) {
    if (isBetweenStages(instruction) && startedTag(instruction) >= 0)
      stageTags.insert(startedTag(instruction));
  };
  forEach(list, found);
  forEach(update, found);
  unsigned middle = std::min(theStage.backward_begin(), list.size());
  size_t variants = kVariants * maskedRows.size(), open;
  do {
    open = openTags.size();
    spans.clear();
    addStaticSpans(list, 0, middle, variants);
    addStaticSpans(list, middle, list.size(), variants);
    addLoopSpans(list, variants);
    addStaticSpans(update, 0, update.size(), 1);
  } while (openTags.size() > open);
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

// Nothing of this runs, so nothing is profiled.
void Executor::record(const flatbuffers::Vector<flatbuffers::Offset<Instruction>> &list,
                      const StaticSpan &span, StaticSpan::Recorded &recorded, const Scope &scope) {
  Profiler *kept = std::exchange(profiler, nullptr);
  size_t before = pending.size();
  device.beginRecording();
  communicator.beginRecording();
  try {
    runList(list, span.begin, span.end, scope);
    for (size_t i = before; i < pending.size(); ++i)
      communicator.wait(pending[i].request);
    pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(before), pending.end());
    recorded.exchanges = communicator.endRecording();
    recorded.recording = device.endRecording();
  } catch (...) {
    communicator.endRecording();
    device.cancelRecording();
    profiler = kept;
    throw;
  }
  profiler = kept;
}

size_t Executor::variantOf(const StaticSpan &span, const Scope &scope) const {
  if (scope.microBatch == Scope::kUpdate)
    return 0;
  size_t chunk = scope.rows ? static_cast<size_t>(scope.firstRow / scope.rows->chunk()) : 0;
  return kVariants * (chunk * maskedRows.size() + scope.slot) + (scope.microBatch == 0 ? 2 : 0) +
         (span.reducesGradients && scope.lastOfStep ? 1 : 0);
}

void Executor::runSpan(const flatbuffers::Vector<flatbuffers::Offset<Instruction>> &list,
                       StaticSpan &span, const Scope &scope) {
  StaticSpan::Recorded &recorded = span.variants[variantOf(span, scope)];
  // What was started by itself is waited for in the same way.
  bool isAwaited = std::any_of(pending.begin(), pending.end(), [&](const Pending &each) {
    return span.awaited.contains(each.tag);
  });
  if (recorded.recording == StaticSpan::Recorded::kNew || isAwaited) {
    if (recorded.recording == StaticSpan::Recorded::kNew)
      recorded.recording = StaticSpan::Recorded::kRunOnce;
    return runList(list, span.begin, span.end, scope);
  }
  if (recorded.recording == StaticSpan::Recorded::kRunOnce)
    record(list, span, recorded, scope);
  const char *location = span.first->location() ? span.first->location()->c_str() : "the first";
  uint64_t begin = profiler ? Profiler::now() : 0;
  communicator.setActivity(location);
  try {
    communicator.beginReplay(recorded.exchanges, location);
    device.replay(recorded.recording);
    communicator.endReplay();
  } catch (const Aborted &) {
    throw;
  } catch (const std::exception &error) {
    fail("rank {}: {} instructions from {} on: {}", communicator.rank(), span.end - span.begin,
         location, error.what());
  }
  if (profiler)
    profiler->add(Category::RowKernel, "recorded instructions", begin, Profiler::now(), 0);
}

} // namespace seqpar::rt
