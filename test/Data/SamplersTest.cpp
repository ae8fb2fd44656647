#include "seqpar/rt/data/Samplers.h"

#include "GoldenFiles.h"

#include <gmock/gmock.h>
#include <set>

using namespace seqpar::test;
using namespace seqpar::rt::data;
using testing::HasSubstr;

namespace {

TEST(SamplersTest, GlobalBatchIsTheSameForEveryLayout) {
  auto globalBatch = [](int64_t micro, int64_t dp) {
    SingleSampler sampler({100, micro, dp});
    std::multiset<int64_t> all;
    std::vector<int64_t> indices(static_cast<size_t>(micro));
    for (int64_t j = 0; j < 24 / (micro * dp); ++j)
      for (int64_t rank = 0; rank < dp; ++rank) {
        EXPECT_EQ(sampler.indices(24 + j * micro * dp, rank, indices), micro);
        all.insert(indices.begin(), indices.end());
      }
    return all;
  };
  auto whole = globalBatch(24, 1);
  EXPECT_EQ(*whole.begin(), 24);
  EXPECT_EQ(whole.size(), 24u);
  for (auto [micro, dp] : {std::pair<int64_t, int64_t>{1, 1}, {3, 2}, {2, 4}, {12, 2}, {1, 8}})
    EXPECT_EQ(globalBatch(micro, dp), whole);
}

TEST(SamplersTest, LastGroup) {
  std::vector<int64_t> indices(4);
  SingleSampler drop({10, 4, 2}), keep({10, 4, 2}, false);
  EXPECT_EQ(drop.indices(8, 0, indices), 0);
  EXPECT_EQ(keep.indices(8, 0, indices), 2);
  EXPECT_EQ(indices[0], 8);
  EXPECT_EQ(keep.indices(8, 1, indices), 0);
  EXPECT_EQ(keep.indices(10, 0, indices), 0);
}

TEST(SamplersTest, CyclicEpochsArePermutations) {
  CyclicSampler sampler({43, 4, 2});
  std::vector<int64_t> indices(4), orders[2];
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<int64_t> &order = orders[epoch];
    for (int64_t i = 0; i < 5; ++i)
      for (int64_t rank = 0; rank < 2; ++rank) {
        EXPECT_EQ(sampler.indices(40 * epoch + 8 * i, rank, indices), 4);
        order.insert(order.end(), indices.begin(), indices.end());
      }
    std::set<int64_t> all(order.begin(), order.end());
    EXPECT_EQ(all.size(), 40u);
    EXPECT_EQ(*all.begin(), 0);
    EXPECT_EQ(*all.rbegin(), 39);
  }
  EXPECT_NE(orders[0], orders[1]);
}

TEST(SamplersTest, BadArguments) {
  std::vector<int64_t> indices(4), small(3);
  SingleSampler single({10, 4, 2});
  CyclicSampler cyclic({10, 4, 2});
  EXPECT_THAT(errorOf([] { SingleSampler({0, 1, 1}); }), HasSubstr("1 or more"));
  EXPECT_THAT(errorOf([] { CyclicSampler({7, 4, 2}); }), HasSubstr("7 samples are fewer"));
  EXPECT_THAT(errorOf([&] { single.indices(0, 2, indices); }), HasSubstr("rank below 2"));
  EXPECT_THAT(errorOf([&] { single.indices(-1, 0, indices); }), HasSubstr("consumed"));
  EXPECT_THAT(errorOf([&] { single.indices(0, 0, small); }), HasSubstr("room for 4"));
  EXPECT_THAT(errorOf([&] { cyclic.indices(3, 0, indices); }), HasSubstr("not a multiple of 8"));
}

} // namespace
