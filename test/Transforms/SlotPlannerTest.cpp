//===- SlotPlannerTest.cpp - arenas of several live micro-batches ---------===//
#include "seqpar/Transforms/SlotPlanner.h"
#include "seqpar/Transforms/SegmentLayout.h"
#include "seqpar/Transforms/Turns.h"

#include <gtest/gtest.h>
#include <random>

using namespace seqpar;

namespace {

struct Step {
  std::vector<ArenaItem> items;
  std::vector<Lifetime> lifetimes;
};

constexpr int64_t kBackward = 50, kUpdate = 100, kEnd = 120; // times of one micro-batch

Step makeStep(std::mt19937 &random) {
  Step step;
  auto add = [&](Lifetime lifetime, int64_t start, int64_t end) {
    step.items.push_back(
        {kBufferAlignment * (1 + static_cast<int64_t>(random() % 20)), start, end});
    step.lifetimes.push_back(lifetime);
  };
  auto within = [&](int64_t begin, int64_t end) {
    return begin + static_cast<int64_t>(random() % (end - begin));
  };
  for (int i = 0; i < 12; ++i) {
    add(Lifetime::Stash, within(0, kBackward), within(kBackward + 1, kUpdate));
    int64_t forward = within(0, kBackward), backward = within(kBackward + 1, kUpdate);
    add(Lifetime::Part, forward, std::min(forward + within(0, 8), kBackward - 1));
    add(Lifetime::Part, backward, std::min(backward + within(0, 8), kUpdate - 1));
  }
  int64_t update = within(kUpdate, kEnd);
  add(Lifetime::Update, update, kEnd);
  add(Lifetime::Step, 0, kEnd);
  return step;
}

/// An item in use at a moment of the step.
struct Live {
  size_t item;
  int64_t begin, end;
};

/// What is in use at time `time` of micro-batch `running`, while the others in `started` wait for
/// their backward parts.
std::vector<Live> getLive(const Step &step, const SlotPlan &plan, int64_t slots, int64_t running,
                          int64_t time, const std::vector<int64_t> &waiting) {
  std::vector<Live> live;
  auto add = [&](size_t i, int64_t microBatch) {
    int64_t offset = plan.places[i].offset;
    if (plan.places[i].perSlot)
      offset += microBatch % slots * plan.slotBytes;
    live.push_back({i, offset, offset + step.items[i].bytes});
  };
  for (size_t i = 0; i < step.items.size(); ++i) {
    bool now = step.items[i].start <= time && time <= step.items[i].end;
    if (step.lifetimes[i] == Lifetime::Step || now)
      add(i, running);
    if (step.lifetimes[i] == Lifetime::Stash)
      for (int64_t other : waiting)
        add(i, other);
  }
  return live;
}

TEST(SlotPlanner, NoTwoLiveItemsShareBytesInAWholeStep) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    Step step = makeStep(random);
    int64_t stages = 2 + random() % 4, microBatches = 1 + random() % 7;
    auto schedule = random() % 2 ? Schedule::GPipe : Schedule::OneForwardOneBackward;
    auto turns = makeTurns(schedule, 0, stages, microBatches);
    int64_t slots = countLive(turns);
    SlotPlan plan = planSlots(step.items, step.lifetimes, slots);
    int64_t worst = 0;
    auto check = [&](int64_t running, int64_t time, const std::vector<int64_t> &waiting) {
      int64_t sum = 0;
      auto live = getLive(step, plan, slots, running, time, waiting);
      for (size_t a = 0; a < live.size(); ++a) {
        sum += live[a].end - live[a].begin;
        EXPECT_GE(live[a].begin, 0);
        EXPECT_LE(live[a].end, plan.bytes);
        EXPECT_EQ(live[a].begin % kBufferAlignment, 0);
        for (size_t b = 0; b < a; ++b)
          ASSERT_TRUE(live[a].end <= live[b].begin || live[b].end <= live[a].begin)
              << "seed " << seed << " items " << live[a].item << " and " << live[b].item;
      }
      worst = std::max(worst, sum);
    };
    std::vector<int64_t> waiting;
    for (const Turn &turn : turns) {
      std::erase(waiting, turn.microBatch);
      for (int64_t time = turn.backward ? kBackward : 0;
           time < (turn.backward ? kUpdate : kBackward); ++time)
        check(turn.microBatch, time, waiting);
      if (!turn.backward)
        waiting.push_back(turn.microBatch);
    }
    for (int64_t time = kUpdate; time <= kEnd; ++time)
      check(0, time, {});
    int64_t bound = computeSlotLowerBound(step.items, step.lifetimes, slots);
    EXPECT_EQ(bound, worst) << "seed " << seed;
    EXPECT_GE(plan.bytes, bound);
  }
}

TEST(SlotPlanner, TemporariesUseTheHolesOfTheStash) {
  // The stash grows through the forward and shrinks through the backward; what is free of it takes
  // each temporary.
  std::vector<ArenaItem> items;
  std::vector<Lifetime> lifetimes;
  for (int64_t layer = 0; layer < 8; ++layer) {
    items.push_back({640, layer, 17 - layer});
    lifetimes.push_back(Lifetime::Stash);
    items.push_back({layer < 7 ? 640 : 64, layer, layer});
    lifetimes.push_back(Lifetime::Part);
    items.push_back({layer < 7 ? 640 : 64, 17 - layer, 17 - layer});
    lifetimes.push_back(Lifetime::Part);
  }
  SlotPlan plan = planSlots(items, lifetimes, 4);
  EXPECT_EQ(plan.slotBytes, 8 * 640);
  EXPECT_EQ(plan.bytes, 4 * plan.slotBytes + 64);
  EXPECT_EQ(computeSlotLowerBound(items, lifetimes, 4), plan.bytes);
}

} // namespace
