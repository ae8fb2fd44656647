#include "seqpar/rt/data/Prefetcher.h"

#include "GoldenFiles.h"

#include <atomic>
#include <gmock/gmock.h>

using namespace seqpar::test;
using namespace seqpar::rt::data;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

class PrefetcherTest : public testing::Test {
protected:
  static DataOptions options() { return goldenOptions(goldenJson("manifest.json")["configs"][2]); }

  /// Batches of two rows: 2n and 2n + 1, `count` of them.
  static BatchIndices pairs(int64_t count) {
    return [count](int64_t n, std::vector<int64_t> &indices) {
      indices = {2 * n, 2 * n + 1};
      return n < count;
    };
  }

  PretrainingData data{options()};
};

TEST_F(PrefetcherTest, BatchesInOrderThenTheEnd) {
  Prefetcher prefetcher(data, {}, pairs(7));
  Batch batch;
  Sample sample;
  for (int64_t n = 0; n < 7; ++n) {
    ASSERT_TRUE(prefetcher.next(batch));
    EXPECT_THAT(batch.indices, ElementsAre(2 * n, 2 * n + 1));
    int64_t masked = 0;
    for (size_t row = 0; row < 2; ++row) {
      data.sample(Split::train, 2 * n + static_cast<int64_t>(row), sample);
      auto rowOf = [&](const std::vector<int32_t> &array) {
        return std::vector<int32_t>(array.begin() + static_cast<ptrdiff_t>(512 * row),
                                    array.begin() + static_cast<ptrdiff_t>(512 * row + 512));
      };
      EXPECT_EQ(rowOf(batch.text), sample.text);
      EXPECT_EQ(rowOf(batch.labels), sample.labels);
      EXPECT_EQ(rowOf(batch.paddingMask), sample.paddingMask);
      EXPECT_EQ(batch.isRandom[row], sample.isRandom);
      masked += std::count(sample.lossMask.begin(), sample.lossMask.end(), 1);
    }
    EXPECT_EQ(batch.maskedTokens, masked);
    EXPECT_GT(masked, 0);
  }
  EXPECT_FALSE(prefetcher.next(batch));
  EXPECT_FALSE(prefetcher.next(batch));
}

/// Three sequence-parallel ranks with chunks of 176, the last with 16 positions of padding.
TEST_F(PrefetcherTest, SlicesMakeTheWhole) {
  Prefetcher whole(data, {}, pairs(2));
  std::vector<std::unique_ptr<Prefetcher>> ranks;
  for (int64_t r = 0; r < 3; ++r) {
    PrefetcherOptions slice;
    slice.begin = 176 * r;
    slice.end = 176 * (r + 1);
    ranks.push_back(std::make_unique<Prefetcher>(data, slice, pairs(2)));
  }
  Batch all, part;
  for (int n = 0; n < 2; ++n) {
    ASSERT_TRUE(whole.next(all));
    std::vector<int32_t> joined[2];
    for (auto &rank : ranks) {
      ASSERT_TRUE(rank->next(part));
      EXPECT_EQ(part.maskedTokens, all.maskedTokens);
      for (size_t row = 0; row < 2; ++row) {
        auto from = part.text.begin() + static_cast<ptrdiff_t>(row) * 176;
        joined[row].insert(joined[row].end(), from, from + 176);
      }
    }
    for (size_t row = 0; row < 2; ++row) {
      std::vector<int32_t> padding(joined[row].begin() + 512, joined[row].end());
      EXPECT_EQ(padding.size(), 16u);
      EXPECT_THAT(padding, Each(data.padId()));
      joined[row].resize(512);
      EXPECT_EQ(joined[row],
                std::vector<int32_t>(all.text.begin() + static_cast<ptrdiff_t>(512 * row),
                                     all.text.begin() + static_cast<ptrdiff_t>(512 * row + 512)));
    }
    EXPECT_THAT(std::vector<int32_t>(part.labels.end() - 16, part.labels.end()), Each(-1));
    EXPECT_THAT(std::vector<int32_t>(part.paddingMask.end() - 16, part.paddingMask.end()), Each(0));
  }
}

TEST_F(PrefetcherTest, ErrorReachesTheConsumerAtItsBatch) {
  Prefetcher prefetcher(data, {}, [](int64_t n, std::vector<int64_t> &indices) {
    indices = {n < 3 ? n : INT64_C(1) << 40};
    return true;
  });
  Batch batch;
  for (int n = 0; n < 3; ++n)
    EXPECT_TRUE(prefetcher.next(batch));
  for (int n = 0; n < 2; ++n)
    EXPECT_THAT(errorOf([&] { prefetcher.next(batch); }), HasSubstr("train sample 1099511627776"));
}

TEST_F(PrefetcherTest, WorksAheadByItsDepthOnly) {
  std::atomic<int64_t> asked = 0;
  PrefetcherOptions prefetch;
  prefetch.depth = 3;
  Prefetcher prefetcher(data, prefetch, [&](int64_t n, std::vector<int64_t> &indices) {
    asked = n + 1;
    indices = {n};
    return true;
  });
  Batch batch;
  for (int64_t n = 0; n < 20; ++n) {
    ASSERT_TRUE(prefetcher.next(batch));
    EXPECT_LE(asked, n + 1 + 4);
  }
}

TEST_F(PrefetcherTest, StopsAtOnceWhenNobodyReads) {
  for (int i = 0; i < 50; ++i)
    Prefetcher(data, {}, pairs(1000));
}

TEST_F(PrefetcherTest, BadOptions) {
  PrefetcherOptions prefetch;
  prefetch.depth = 0;
  EXPECT_THAT(errorOf([&] { Prefetcher(data, prefetch, pairs(1)); }), HasSubstr("depth"));
  prefetch.depth = 1;
  prefetch.begin = 10;
  prefetch.end = 10;
  EXPECT_THAT(errorOf([&] { Prefetcher(data, prefetch, pairs(1)); }),
              HasSubstr("columns 10 to 10"));
}

} // namespace
