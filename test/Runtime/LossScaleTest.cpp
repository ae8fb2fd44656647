#include "seqpar/rt/LossScale.h"

#include <gtest/gtest.h>

namespace seqpar::rt::test {
namespace {

void goodSteps(LossScale &scale, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    scale.update(true);
}

TEST(LossScale, DoublesAfterAThousandGoodSteps) {
  LossScale scale;
  EXPECT_EQ(scale.scale, 65536);
  goodSteps(scale, 999);
  EXPECT_EQ(scale.scale, 65536);
  goodSteps(scale, 1);
  EXPECT_EQ(scale.scale, 131072);
  EXPECT_EQ(scale.goodSteps, 0);
  goodSteps(scale, 1000);
  EXPECT_EQ(scale.scale, 262144);
}

TEST(LossScale, TheFirstOverflowIsForgiven) {
  LossScale scale;
  scale.update(false);
  EXPECT_EQ(scale.scale, 65536);
  EXPECT_EQ(scale.hysteresis, 1);
  scale.update(false);
  EXPECT_EQ(scale.scale, 32768);
  // From then on each overflow halves it, good steps between or not.
  goodSteps(scale, 500);
  scale.update(false);
  EXPECT_EQ(scale.scale, 16384);
  scale.update(false);
  EXPECT_EQ(scale.scale, 8192);
}

TEST(LossScale, ADoublingForgivesAgain) {
  LossScale scale;
  scale.update(false);
  scale.update(false);
  goodSteps(scale, 1000);
  EXPECT_EQ(scale.scale, 65536);
  scale.update(false);
  EXPECT_EQ(scale.scale, 65536);
  scale.update(false);
  EXPECT_EQ(scale.scale, 32768);
}

TEST(LossScale, AnOverflowStartsTheCountAgain) {
  LossScale scale;
  goodSteps(scale, 999);
  scale.update(false);
  goodSteps(scale, 999);
  EXPECT_EQ(scale.scale, 65536);
  goodSteps(scale, 1);
  EXPECT_EQ(scale.scale, 131072);
}

TEST(LossScale, HasALeastAndAMost) {
  LossScale scale{.scale = 3};
  EXPECT_FALSE(scale.exhausted());
  for (double expected : {3.0, 1.5, 1.0, 1.0}) {
    scale.update(false);
    EXPECT_EQ(scale.scale, expected);
  }
  EXPECT_TRUE(scale.exhausted());
  LossScale one{.scale = 1};
  EXPECT_FALSE(one.exhausted()); // its first overflow is forgiven
  goodSteps(scale, 1000 * 64);
  EXPECT_EQ(scale.scale, LossScale::kMost);
  goodSteps(scale, 1000);
  EXPECT_EQ(scale.scale, LossScale::kMost);
  EXPECT_FALSE(scale.exhausted());
}

} // namespace
} // namespace seqpar::rt::test
