//===- ArenaPlannerTest.cpp - properties of arenas ------------------------===//
#include "seqpar/Transforms/ArenaPlanner.h"
#include "seqpar/Transforms/SegmentLayout.h"

#include <gtest/gtest.h>
#include <random>

using namespace seqpar;

namespace {

using Items = std::vector<ArenaItem>;

void expectValid(const Items &items, const ArenaPlan &plan) {
  ASSERT_EQ(plan.offsets.size(), items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_GE(plan.offsets[i], 0);
    EXPECT_EQ(plan.offsets[i] % kBufferAlignment, 0);
    EXPECT_LE(plan.offsets[i] + items[i].bytes, plan.bytes);
    for (size_t j = 0; j < i; ++j) {
      bool liveTogether = items[i].start <= items[j].end && items[j].start <= items[i].end;
      bool shareBytes = plan.offsets[i] < plan.offsets[j] + items[j].bytes &&
                        plan.offsets[j] < plan.offsets[i] + items[i].bytes;
      EXPECT_FALSE(liveTogether && shareBytes) << "items " << i << " and " << j;
    }
  }
}

/// By its definition, time for time.
int64_t sumAtWorstTime(const Items &items, int64_t times) {
  int64_t most = 0;
  for (int64_t time = 0; time < times; ++time) {
    int64_t sum = 0;
    for (const ArenaItem &item : items)
      sum += item.start <= time && time <= item.end ? item.bytes : 0;
    most = std::max(most, sum);
  }
  return most;
}

/// Saved activations of `layers` layers, which the backward pass uses in reverse, and values that
/// live from one op to the next.
Items makeStep(std::mt19937 &random, int layers) {
  Items items;
  int64_t end = 20 * layers;
  auto size = [&] { return kBufferAlignment * (1 + static_cast<int64_t>(random() % 64)); };
  for (int layer = 0; layer < layers; ++layer)
    for (int value = 0; value < 8; ++value) {
      int64_t start = 10 * layer + value;
      items.push_back({size(), start, end - start});
      items.push_back({size(), start, start + 1});
      items.push_back({size(), end - start - 1, end - start});
    }
  return items;
}

TEST(ArenaPlanner, NothingNeedsNoMemory) {
  ArenaPlan plan = planArena({});
  EXPECT_EQ(plan.bytes, 0);
  EXPECT_TRUE(plan.offsets.empty());
}

TEST(ArenaPlanner, LifetimesIncludeTheirEnds) {
  Items items = {{64, 0, 1}, {64, 1, 2}, {64, 2, 3}};
  ArenaPlan plan = planArena(items);
  expectValid(items, plan);
  EXPECT_EQ(plan.bytes, 128);
  EXPECT_EQ(plan.offsets[0], plan.offsets[2]);
}

TEST(ArenaPlanner, LowerBoundIsTheWorstTimeOfRandomItems) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    Items items;
    for (unsigned i = 0; i < 1 + random() % 60; ++i) {
      int64_t start = random() % 40;
      items.push_back({kBufferAlignment * (1 + static_cast<int64_t>(random() % 30)), start,
                       start + static_cast<int64_t>(random() % 12)});
    }
    int64_t bound = computeArenaLowerBound(items);
    EXPECT_EQ(bound, sumAtWorstTime(items, 60)) << "seed " << seed;
    ArenaPlan plan = planArena(items);
    expectValid(items, plan);
    EXPECT_GE(plan.bytes, bound);
  }
}

TEST(ArenaPlanner, StepsFitWithinFivePercentOfTheLowerBound) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    Items items = makeStep(random, 2 + static_cast<int>(random() % 12));
    ArenaPlan plan = planArena(items);
    expectValid(items, plan);
    EXPECT_LE(plan.bytes, 1.05 * computeArenaLowerBound(items)) << "seed " << seed;
  }
}

TEST(ArenaPlanner, IsDeterministic) {
  std::mt19937 random(7);
  Items items = makeStep(random, 6);
  EXPECT_EQ(planArena(items).offsets, planArena(items).offsets);
}

} // namespace
