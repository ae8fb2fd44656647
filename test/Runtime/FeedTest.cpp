#include "seqpar/rt/Feed.h"
#include "Initialize.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/Safetensors.h"
#include "seqpar/rt/Schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <numeric>

namespace seqpar::rt::test {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string errorOf(const std::function<void()> &body) {
  try {
    body();
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

// Rates that torch's AdamW got from the reference's learning_rate().
TEST(Schedule, WarmsUpFromZeroAndDecaysLinearly) {
  Schedule schedule{1e-3, 1e-4, 2, 100, DecayStyle::Linear};
  EXPECT_EQ(schedule.rate(0), 0);
  EXPECT_DOUBLE_EQ(schedule.rate(1), 5e-4);
  EXPECT_DOUBLE_EQ(schedule.rate(2), 1e-3);
  EXPECT_DOUBLE_EQ(schedule.rate(51), 1e-4 + (1 - 49.0 / 98) * 9e-4);
  EXPECT_DOUBLE_EQ(schedule.rate(100), 1e-4);
  EXPECT_DOUBLE_EQ(schedule.rate(1000), 1e-4);
}

TEST(Schedule, OtherShapes) {
  Schedule cosine{1.0, 0.0, 0, 10, DecayStyle::Cosine};
  EXPECT_DOUBLE_EQ(cosine.rate(0), 1.0);
  EXPECT_NEAR(cosine.rate(5), 0.5, 1e-12);
  EXPECT_NEAR(cosine.rate(10), 0.0, 1e-12);
  Schedule constant{0.5, 0.1, 4, 10, DecayStyle::Constant};
  EXPECT_DOUBLE_EQ(constant.rate(2), 0.25);
  EXPECT_DOUBLE_EQ(constant.rate(500), 0.5);
  Schedule onlyWarmup{1.0, 0.1, 5, 5, DecayStyle::Linear};
  EXPECT_DOUBLE_EQ(onlyWarmup.rate(5), 1.0);
  EXPECT_DOUBLE_EQ(onlyWarmup.rate(6), 0.1);
}

flatbuffers::DetachedBuffer parameterNamed(const char *name, program::Initializer initializer) {
  flatbuffers::FlatBufferBuilder bytes;
  bytes.Finish(
      program::CreateParameterDirect(bytes, name, nullptr, -1, -1, -1, -1, initializer, 0.02f));
  return bytes.Release();
}

std::vector<float> valuesOf(const char *name, uint32_t seed, int64_t first, size_t count,
                            program::Initializer initializer = program::Initializer::Normal) {
  auto bytes = parameterNamed(name, initializer);
  std::vector<float> values(count);
  initialValues(*flatbuffers::GetRoot<program::Parameter>(bytes.data()), seed, first, values);
  return values;
}

TEST(Initialize, ValuesAreNormal) {
  std::vector<float> values = valuesOf("w", 7, 0, 400'000);
  double mean = 0, square = 0, fourth = 0;
  for (float value : values) {
    double x = value / 0.02;
    mean += x;
    square += x * x;
    fourth += x * x * x * x;
  }
  double n = static_cast<double>(values.size());
  EXPECT_NEAR(mean / n, 0, 0.01);
  EXPECT_NEAR(square / n, 1, 0.01);
  EXPECT_NEAR(fourth / n, 3, 0.1);
}

TEST(Initialize, AValueDependsOnSeedNameAndIndexOnly) {
  std::vector<float> all = valuesOf("w", 7, 0, 1003);
  std::vector<float> part = valuesOf("w", 7, 500, 503);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 500));
  EXPECT_NE(valuesOf("w", 8, 0, 8), valuesOf("w", 7, 0, 8));
  EXPECT_NE(valuesOf("v", 7, 0, 8), valuesOf("w", 7, 0, 8));
  EXPECT_THAT(valuesOf("b", 7, 0, 2, program::Initializer::Zeros), ElementsAre(0, 0));
  EXPECT_THAT(valuesOf("g", 7, 0, 2, program::Initializer::Ones), ElementsAre(1, 1));
}

TEST(Initialize, SharesCoverEverything) {
  for (int64_t elements : {1, 4, 5, 1000, 1003})
    for (int count : {1, 2, 3, 8}) {
      int64_t next = 0;
      for (int i = 0; i < count; ++i) {
        auto [begin, end] = ShareOfWork{i, count}.of(elements);
        EXPECT_EQ(begin, next);
        EXPECT_TRUE(begin % 4 == 0 || begin == end);
        next = end;
      }
      EXPECT_EQ(next, elements);
    }
}

GlobalBatch smallBatch() {
  GlobalBatch batch;
  batch.resize(2, 3);
  batch.firstSample = 10;
  std::fill(batch.paddingMask.begin(), batch.paddingMask.end(), 1);
  return batch;
}

TEST(CheckBatch, NamesTheSampleAndPositionOfABadNumber) {
  BatchLimits limits{2, 3, 100, 2};
  auto error = [&](auto change) {
    GlobalBatch batch = smallBatch();
    change(batch);
    return errorOf([&] { checkBatch(batch, limits); });
  };
  EXPECT_EQ(error([](GlobalBatch &) {}), "");
  EXPECT_EQ(error([](GlobalBatch &b) { b.tokens[4] = 100; }),
            "sample 11, position 1: token 100 is not in 0 to 99");
  EXPECT_EQ(error([](GlobalBatch &b) { b.types[5] = -1; }),
            "sample 11, position 2: type -1 is not in 0 to 1");
  EXPECT_EQ(error([](GlobalBatch &b) { b.labels[0] = 500; }), "");
  EXPECT_EQ(error([](GlobalBatch &b) {
              b.labels[0] = 500;
              b.lossMask[0] = 1;
            }),
            "sample 10, position 0: label 500 is not in 0 to 99");
  EXPECT_THAT(error([](GlobalBatch &b) { b.lossMask[1] = 2; }), HasSubstr("loss mask 2"));
  EXPECT_THAT(error([](GlobalBatch &b) { b.paddingMask[1] = -1; }), HasSubstr("padding mask -1"));
  EXPECT_EQ(error([](GlobalBatch &b) { b.isRandom[1] = 3; }),
            "sample 11: sentence order 3 is not 0 or 1");
  limits.length = 4;
  EXPECT_THAT(error([](GlobalBatch &) {}), HasSubstr("the program takes 2 of 4"));
}

TEST(SyntheticFeed, IsAFunctionOfSeedAndSampleNumber) {
  auto load = [](uint64_t seed, int64_t samples, int64_t first) {
    auto feed = createSyntheticFeed({samples, 24, 50, seed});
    GlobalBatch batch;
    feed->load(0, first, batch);
    return batch;
  };
  GlobalBatch four = load(3, 4, 8), two = load(3, 2, 10), other = load(4, 2, 10);
  EXPECT_TRUE(std::equal(two.tokens.begin(), two.tokens.end(), four.tokens.begin() + 48));
  EXPECT_TRUE(std::equal(two.labels.begin(), two.labels.end(), four.labels.begin() + 48));
  EXPECT_NE(other.tokens, two.tokens);
}

TEST(SyntheticFeed, BatchesFitTheProgramAndPredictTheAskedShare) {
  for (int64_t length : {1, 2, 3, 128}) {
    auto feed = createSyntheticFeed({64, length, 40, 1, 0.15, true});
    GlobalBatch batch;
    feed->load(0, 0, batch);
    EXPECT_EQ(errorOf([&] { checkBatch(batch, {64, length, 40, 2}); }), "");
    if (length < 128)
      continue;
    double real = std::accumulate(batch.paddingMask.begin(), batch.paddingMask.end(), 0.0);
    EXPECT_NEAR(static_cast<double>(batch.lossTokens) / real, 0.15, 0.02);
    EXPECT_NEAR(std::accumulate(batch.isRandom.begin(), batch.isRandom.end(), 0), 32, 16);
  }
}

TEST(SyntheticFeed, NeedsWords) {
  EXPECT_THAT(errorOf([] { createSyntheticFeed({1, 8, 4, 0}); }), HasSubstr("more than 4 ids"));
}

class SafetensorsFeedTest : public testing::Test {
protected:
  void TearDown() override { std::filesystem::remove(path); }

  void write(std::vector<std::string> without = {}) {
    std::vector<TensorToWrite> tensors;
    for (int k : {0, 1})
      for (const char *name :
           {"tokens", "types", "labels", "loss_mask", "padding_mask", "is_random"}) {
        std::string full = fmt::format("batch.{}.{}", k, name);
        if (std::find(without.begin(), without.end(), full) != without.end())
          continue;
        std::vector<int64_t> shape = {2, 3};
        if (std::string(name) == "is_random")
          shape.pop_back();
        size_t bytes = shape.size() == 2 ? 24 : 8;
        int32_t value = std::string(name) == "loss_mask" ? 1 : k;
        tensors.push_back({full, "I32", shape, bytes, [=](std::span<uint8_t> to) {
                             for (size_t i = 0; i < to.size(); i += 4)
                               std::memcpy(to.data() + i, &value, 4);
                           }});
      }
    writeSafetensors(path, tensors);
  }

  std::string path = testing::TempDir() + "seqpar-feed-test.safetensors";
};

TEST_F(SafetensorsFeedTest, GivesOneBatchAStep) {
  write();
  BatchShape shape = readBatchShape(path);
  EXPECT_EQ(shape.samples, 2);
  EXPECT_EQ(shape.length, 3);
  EXPECT_EQ(shape.steps, 2);
  auto feed = createSafetensorsFeed(path);
  GlobalBatch batch;
  feed->load(1, 2, batch);
  EXPECT_EQ(batch.tokens, std::vector<int32_t>(6, 1));
  EXPECT_EQ(batch.lossTokens, 6);
  EXPECT_EQ(batch.firstSample, 2);
  EXPECT_THAT(errorOf([&] { feed->load(2, 4, batch); }), HasSubstr("it has 2 batches, step 3"));
}

TEST_F(SafetensorsFeedTest, NamesWhatIsMissing) {
  write({"batch.1.labels"});
  auto feed = createSafetensorsFeed(path);
  GlobalBatch batch;
  EXPECT_THAT(errorOf([&] { feed->load(1, 2, batch); }), HasSubstr("batch.1.labels is missing"));
  write({"batch.0.tokens"});
  EXPECT_THAT(errorOf([&] { readBatchShape(path); }), HasSubstr("batch.0.tokens is missing"));
}

} // namespace

} // namespace seqpar::rt::test
