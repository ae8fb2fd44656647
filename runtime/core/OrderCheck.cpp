//===- OrderCheck.cpp - the turns and exchanges of a stage ------*- C++ -*-===//

#include "OrderCheck.h"

#include "seqpar/rt/Error.h"

#include <algorithm>
#include <limits>
#include <set>
#include <span>
#include <vector>

namespace seqpar::rt {

using namespace program;

using InstructionList = flatbuffers::Vector<flatbuffers::Offset<Instruction>>;

std::string locationOf(const Instruction &instruction) {
  if (instruction.location() && instruction.location()->size())
    return instruction.location()->str();
  return EnumNameOperation(instruction.operation_type());
}

//===----------------------------------------------------------------------===//
// Turns
//===----------------------------------------------------------------------===//

void checkOrder(const Program &program, const Stage &stage) {
  if (stage.slots() < 1 || stage.slots() > program.micro_batches())
    fail("expected 1 to {} slots, found {}", program.micro_batches(), stage.slots());
  if (!stage.order()) {
    if (stage.slots() != 1)
      fail("expected 1 slot in a stage whose micro-batches follow each other, found {}",
           stage.slots());
    return;
  }
  const auto count = static_cast<uint64_t>(program.micro_batches());
  if (stage.order()->size() != 2 * count)
    fail("expected {} turns for {} micro-batches, found {}", 2 * count, count,
         stage.order()->size());
  enum class State : char { Waiting, Live, Done };
  std::vector<State> states(count, State::Waiting);
  std::vector<int> inSlot(static_cast<size_t>(stage.slots()), -1);
  // Micro-batch 0 sets sums that the others add to, the last one begins reductions, and the k-th
  // send meets the k-th receive.
  int next[] = {0, 0};
  for (const Turn *turn : *stage.order()) {
    int i = turn->micro_batch();
    const char *part = turn->backward() ? "backward" : "forward";
    if (i < 0 || static_cast<uint64_t>(i) >= count)
      fail("{} of micro-batch {}: there are {}", part, i, count);
    State &state = states[static_cast<size_t>(i)];
    int &slot = inSlot[static_cast<size_t>(i % stage.slots())];
    if (state != (turn->backward() ? State::Live : State::Waiting))
      fail("{} of micro-batch {} is out of order", part, i);
    if (!turn->backward() && slot != -1)
      fail("forward of micro-batch {}: its slot still holds micro-batch {}", i, slot);
    if (int expected = next[turn->backward()]++; i != expected)
      fail("{} of micro-batch {} comes before that of micro-batch {}", part, i, expected);
    state = turn->backward() ? State::Done : State::Live;
    slot = turn->backward() ? -1 : i;
  }
}

//===----------------------------------------------------------------------===//
// Exchanges
//===----------------------------------------------------------------------===//

namespace {

/// A start or a wait, loops unrolled.
struct Event {
  const Instruction *instruction;
  int tag;
  bool start;
  bool lastOnly = false; ///< in the last micro-batch only
};

class ExchangeChecker {
public:
  ExchangeChecker(const Program &program, const Stage &stage) : program(program) {
    const InstructionList &list = *stage.micro_batch();
    unsigned middle = std::min(stage.backward_begin(), list.size());
    collect(list, 0, middle, 0, forward);
    collect(list, middle, list.size(), 0, backward);
    collect(*stage.update(), 0, stage.update()->size(), 0, update);
  }

  void turn(int64_t microBatch, bool isBackward, bool isLast) {
    for (const Event &event : isBackward ? backward : forward)
      if (isLast || !event.lastOnly)
        follow(event, microBatch);
  }

  void finish() {
    for (const Event &event : update)
      follow(event, std::numeric_limits<int64_t>::max());
    if (!pending.empty())
      fail("exchange {} is never waited for", pending.begin()->first);
  }

private:
  void collect(const InstructionList &list, unsigned begin, unsigned end, int iteration,
               std::vector<Event> &events) {
    bool last = iteration != 0 && iteration == program.sp() - 1;
    for (unsigned i = begin; i < end; ++i) {
      const Instruction *each = list.Get(i);
      if (auto *op = each->operation_as_RingShiftStart(); op && !(op->skip_last() && last)) {
        events.push_back({each, op->tag(), true});
      } else if (auto *op = each->operation_as_Send()) {
        events.push_back({each, op->tag(), true});
        sent.insert(op->tag());
      } else if (auto *op = each->operation_as_Receive()) {
        events.push_back({each, op->tag(), true});
      } else if (auto *op = each->operation_as_Wait(); op && !(op->skip_last() && last)) {
        events.push_back({each, op->tag(), false});
      } else if (auto *op = each->operation_as_AllReduce(); op && op->tag() >= 0) {
        events.push_back({each, op->tag(), true, true});
      } else if (auto *op = each->operation_as_ReduceScatter(); op && op->tag() >= 0) {
        events.push_back({each, op->tag(), true, true});
      } else if (auto *op = each->operation_as_RingLoop()) {
        for (int k = 1; k < program.sp(); ++k)
          collect(*op->body(), 0, op->body()->size(), k, events);
      }
    }
  }

  void follow(const Event &event, int64_t microBatch) {
    if (event.start) {
      if (!pending.insert({event.tag, microBatch}).second)
        fail("{}: exchange {} is started again before it is waited for",
             locationOf(*event.instruction), event.tag);
      return;
    }
    auto first = pending.lower_bound({event.tag, std::numeric_limits<int64_t>::min()});
    auto end = pending.upper_bound({event.tag, microBatch});
    // A send may be waited for before a later one takes its buffer: at first there is none.
    if (first == end && !sent.count(event.tag))
      fail("{}: waits for exchange {}, which is not started", locationOf(*event.instruction),
           event.tag);
    pending.erase(first, end);
  }

  const Program &program;
  std::vector<Event> forward, backward, update;
  std::set<int> sent;
  std::set<std::pair<int, int64_t>> pending; // tag, micro-batch
};

} // namespace

void checkExchanges(const Program &program, const Stage &stage) {
  ExchangeChecker checker(program, stage);
  if (stage.order()) {
    for (const Turn *turn : *stage.order())
      checker.turn(turn->micro_batch(), turn->backward(),
                   turn->micro_batch() == program.micro_batches() - 1);
  } else {
    // All micro-batches after the first do the same.
    int64_t count = std::min<int64_t>(program.micro_batches(), 3);
    for (int64_t i = 0; i < count; ++i) {
      checker.turn(i, false, i == count - 1);
      checker.turn(i, true, i == count - 1);
    }
  }
  checker.finish();
}

} // namespace seqpar::rt
