//===- TurnsTest.cpp - orders of micro-batches ----------------------------===//
#include "seqpar/Transforms/Turns.h"

#include <gtest/gtest.h>
#include <set>

using namespace seqpar;

namespace {

/// Counted by what has been started and not yet finished.
int64_t countByHand(llvm::ArrayRef<Turn> turns) {
  std::set<int64_t> live;
  size_t most = 0;
  for (const Turn &turn : turns) {
    if (turn.backward)
      EXPECT_EQ(live.erase(turn.microBatch), 1u);
    else
      EXPECT_TRUE(live.insert(turn.microBatch).second);
    most = std::max(most, live.size());
  }
  EXPECT_TRUE(live.empty());
  return static_cast<int64_t>(most);
}

TEST(Turns, LiveMicroBatchesAreAsManyAsInTheory) {
  for (int64_t stages = 1; stages <= 8; ++stages)
    for (int64_t microBatches = 1; microBatches <= 20; ++microBatches)
      for (int64_t stage = 0; stage < stages; ++stage) {
        auto one = makeTurns(Schedule::OneForwardOneBackward, stage, stages, microBatches);
        auto gpipe = makeTurns(Schedule::GPipe, stage, stages, microBatches);
        EXPECT_EQ(countByHand(one), std::min(microBatches, stages - stage));
        EXPECT_EQ(countByHand(gpipe), microBatches);
        EXPECT_EQ(countLive(one), countByHand(one));
        EXPECT_EQ(countLive(gpipe), countByHand(gpipe));
        EXPECT_EQ(one.size(), 2u * microBatches);
        EXPECT_EQ(gpipe.size(), 2u * microBatches);
      }
}

TEST(Turns, BothPartsRunInTheOrderOfMicroBatches) {
  for (Schedule schedule : {Schedule::OneForwardOneBackward, Schedule::GPipe})
    for (int64_t stage = 0; stage < 4; ++stage) {
      int64_t next[2] = {0, 0};
      for (const Turn &turn : makeTurns(schedule, stage, 4, 9))
        EXPECT_EQ(turn.microBatch, next[turn.backward]++);
    }
}

TEST(Turns, TheLastStageOf1F1BTakesTurns) {
  auto turns = makeTurns(Schedule::OneForwardOneBackward, 2, 3, 2);
  EXPECT_EQ(turns, (llvm::SmallVector<Turn>{{0, false}, {0, true}, {1, false}, {1, true}}));
}

} // namespace
