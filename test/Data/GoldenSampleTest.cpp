//===- GoldenSampleTest.cpp - samples, maps, blends and batches of the reference ------------===//

#include "GoldenFiles.h"
#include "TestPaths.h"
#include "seqpar/rt/data/Prefetcher.h"
#include "seqpar/rt/data/Samplers.h"

#include <gmock/gmock.h>
#include <thread>

using namespace seqpar::test;
using namespace seqpar::rt::data;
using testing::HasSubstr;

namespace {

void addInt64(std::vector<int64_t> &to, const std::vector<int32_t> &from) {
  to.insert(to.end(), from.begin(), from.end());
}

uint32_t sampleCrc(const Sample &sample) {
  std::vector<int64_t> values;
  addInt64(values, sample.text);
  addInt64(values, sample.types);
  addInt64(values, sample.labels);
  values.push_back(sample.isRandom);
  addInt64(values, sample.lossMask);
  addInt64(values, sample.paddingMask);
  values.push_back(sample.truncated);
  return crc32(values.data(), values.size() * 8);
}

uint32_t batchCrc(const Batch &batch) {
  std::vector<int64_t> values;
  for (const auto *array : {&batch.text, &batch.types, &batch.labels, &batch.isRandom,
                            &batch.lossMask, &batch.paddingMask, &batch.truncated})
    addInt64(values, *array);
  return crc32(values.data(), values.size() * 8);
}

std::vector<nlohmann::json> configs() {
  auto manifest = goldenJson("manifest.json");
  return {manifest["configs"].begin(), manifest["configs"].end()};
}

class GoldenSampleTest : public testing::TestWithParam<size_t> {
protected:
  nlohmann::json config = configs()[GetParam()];
  Scratch scratch;
};

TEST_P(GoldenSampleTest, SamplesAreEqual) {
  PretrainingData data(goldenOptions(config));
  EXPECT_EQ(data.vocabSize(), config["vocab_size"]);
  int splits = 0;
  for (Split split : {Split::train, Split::valid, Split::test}) {
    const auto &expected = config["splits"][splitName(split)];
    if (expected.is_null()) {
      EXPECT_EQ(data.size(split), 0);
      continue;
    }
    ++splits;
    EXPECT_EQ(data.size(split), expected["length"]);
    std::string name =
        fmt::format("configs/{}_{}.crc32", config["name"].get<std::string>(), splitName(split));
    std::string file = readFile(goldenPath(name));
    std::vector<uint32_t> crcs(file.size() / 4);
    std::memcpy(crcs.data(), file.data(), file.size());
    ASSERT_FALSE(crcs.empty());
    Sample sample;
    for (size_t i = 0; i < crcs.size(); ++i) {
      data.sample(split, static_cast<int64_t>(i), sample);
      ASSERT_EQ(sampleCrc(sample), crcs[i]) << splitName(split) << " sample " << i;
    }
  }
  EXPECT_GE(splits, 1);
}

TEST_P(GoldenSampleTest, MapFilesAreEqual) {
  DataOptions options = goldenOptions(config);
  options.cacheDir = scratch / "cache";
  PretrainingData built(options);
  for (const auto &map : config["indexmaps"]) {
    std::string bytes = readFile(options.cacheDir + "/" + map["file"].get<std::string>());
    ASSERT_GT(bytes.size(), 128u);
    EXPECT_EQ(crc32(bytes.data() + 128, bytes.size() - 128), map["crc32"]) << map;
    EXPECT_EQ((bytes.size() - 128) / 12, map["shape"][0]);
    EXPECT_THAT(bytes.substr(0, 128),
                HasSubstr(fmt::format("({}, 3), }}", map["shape"][0].get<int>())));
  }
  PretrainingData loaded(options);
  Sample a, b;
  built.sample(Split::train, 5, a);
  loaded.sample(Split::train, 5, b);
  EXPECT_EQ(sampleCrc(a), sampleCrc(b));
}

TEST_P(GoldenSampleTest, BatchesAreEqual) {
  PretrainingData data(goldenOptions(config));
  int batches = 0;
  for (const auto &rank : config["loader_check"])
    for (const auto &expected : rank["batches"]) {
      Split split = parseSplit(expected["split"]);
      int64_t micro = rank["micro_batch_size"], dp = rank["dp_size"], dpRank = rank["dp_rank"];
      SingleSampler sampler({data.size(split), micro, dp});
      PrefetcherOptions prefetch;
      prefetch.split = split;
      Prefetcher prefetcher(data, prefetch, [&](int64_t n, std::vector<int64_t> &indices) {
        indices.resize(static_cast<size_t>(micro));
        return sampler.indices(n * micro * dp, dpRank, indices) == micro;
      });
      Batch batch;
      for (int64_t step = 0; step <= expected["step"]; ++step)
        ASSERT_TRUE(prefetcher.next(batch));
      EXPECT_EQ(batchCrc(batch), expected["crc32"]) << expected;
      ++batches;
    }
  EXPECT_GE(batches, 2);
}

TEST_P(GoldenSampleTest, SamplerOrdersAreEqual) {
  int kinds[2] = {0, 0};
  for (const auto &expected : config["samplers"]) {
    SamplerOptions options{expected["total_samples"], expected["micro_batch_size"],
                           expected["dp_size"]};
    int64_t consumed = expected["consumed_samples"], rank = expected["dp_rank"];
    int64_t group = options.microBatch * options.dpSize, batches = expected["num_batches"];
    std::vector<int64_t> indices(static_cast<size_t>(options.microBatch));
    if (expected["kind"] == "single") {
      SingleSampler sampler(options, expected["drop_last"]);
      EXPECT_EQ(sampler.indices(consumed, rank, indices), expected["first"][1]);
      EXPECT_EQ(indices[0], expected["first"][0]);
      int64_t last = sampler.indices(consumed + (batches - 1) * group, rank, indices);
      EXPECT_EQ(last, expected["last"].back()) << expected;
      if (last > 0)
        EXPECT_EQ(indices[0], expected["last"][0]) << expected;
      EXPECT_EQ(sampler.indices(consumed + batches * group, rank, indices), 0);
      ++kinds[0];
    } else {
      CyclicSampler sampler(options);
      std::vector<int32_t> order;
      for (int64_t i = 0; i < batches; ++i) {
        ASSERT_EQ(sampler.indices(consumed + i * group, rank, indices), options.microBatch);
        order.insert(order.end(), indices.begin(), indices.end());
      }
      EXPECT_EQ(crc32(order.data(), order.size() * 4), expected["order_crc32"]) << expected;
      ++kinds[1];
    }
  }
  EXPECT_EQ(kinds[0], 12);
  EXPECT_EQ(kinds[1], 9);
}

/// Samples do not depend on what was built before, on which thread.
TEST_P(GoldenSampleTest, ThreadsShareTheData) {
  PretrainingData data(goldenOptions(config));
  std::vector<uint32_t> alone(64);
  Sample sample;
  for (size_t i = 0; i < alone.size(); ++i) {
    data.sample(Split::train, static_cast<int64_t>(i), sample);
    alone[i] = sampleCrc(sample);
  }
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&, t] {
      Sample own;
      for (size_t i = alone.size(); i-- > 0;) {
        data.sample(Split::train, static_cast<int64_t>(i), own);
        wrong[t] += sampleCrc(own) != alone[i];
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_THAT(wrong, testing::Each(0));
}

INSTANTIATE_TEST_SUITE_P(Configurations, GoldenSampleTest, testing::Range<size_t>(0, 7),
                         [](const auto &info) {
                           return configs()[info.param]["name"].template get<std::string>();
                         });

TEST(GoldenBlendTest, OrderAndEnd) {
  int checked = 0;
  for (const auto &config : configs())
    for (const auto &[name, expected] : config["splits"].items()) {
      if (expected.is_null() || !expected.contains("first_out_of_range_index"))
        continue;
      PretrainingData data(goldenOptions(config));
      int64_t end = expected["first_out_of_range_index"];
      Sample sample;
      data.sample(parseSplit(name), end - 1, sample);
      EXPECT_THAT(errorOf([&] { data.sample(parseSplit(name), end, sample); }),
                  HasSubstr("the blend asks"));
      EXPECT_GE(end, data.wanted(parseSplit(name)));
      ++checked;
    }
  EXPECT_EQ(checked, 2);
}

TEST(PretrainingDataTest, BadOptions) {
  auto error = [](auto change) {
    DataOptions options = goldenOptions(configs()[2]);
    change(options);
    return errorOf([&] { PretrainingData data(options); });
  };
  EXPECT_THAT(error([](auto &o) { o.seqLength = 4; }), HasSubstr("expected 5 or more"));
  EXPECT_THAT(error([](auto &o) { o.seed = 0; }), HasSubstr("seed"));
  EXPECT_THAT(error([](auto &o) { o.maskProb = 1.5; }), HasSubstr("mask probability"));
  EXPECT_THAT(error([](auto &o) { o.shortSeqProb = -1; }), HasSubstr("short-sequence"));
  EXPECT_THAT(error([](auto &o) { o.trainIters = INT64_MAX; }), HasSubstr("smaller ones"));
  EXPECT_THAT(error([](auto &o) { o.trainIters = INT64_C(1) << 40; }), HasSubstr("GiB"));
  EXPECT_THAT(error([](auto &o) { o.evalInterval = 0; }), HasSubstr("evaluation interval"));
  EXPECT_THAT(error([](auto &o) { o.dataPath = "/nowhere/x"; }), HasSubstr("/nowhere/x.idx"));
  EXPECT_THAT(error([](auto &o) { o.vocabFile = "/nowhere/v"; }), HasSubstr("/nowhere/v"));
}

TEST(PretrainingDataTest, VocabularyOfOtherData) {
  DataOptions options = goldenOptions(configs()[2]);
  options.vocabFile = vocabPath("small-a-vocab.txt");
  PretrainingData data(options);
  Sample sample;
  EXPECT_THAT(
      errorOf([&] { data.sample(Split::train, 0, sample); }),
      HasSubstr("devil_text_sentence.bin: expected a token id below the vocabulary's 2002"));
}

TEST(PretrainingDataTest, SplitsWithoutDocumentsOrWishes) {
  DataOptions options = goldenOptions(configs()[2]);
  options.evalIters = 0;
  PretrainingData data(options);
  EXPECT_GT(data.size(Split::train), 0);
  EXPECT_EQ(data.size(Split::valid), 0);
  EXPECT_EQ(data.size(Split::test), 0);
  Sample sample;
  EXPECT_THAT(errorOf([&] { data.sample(Split::valid, 0, sample); }), HasSubstr("has 0 samples"));
  EXPECT_THAT(errorOf([&] { data.sample(Split::train, -1, sample); }),
              HasSubstr("train sample -1"));
}

TEST(PretrainingDataTest, BundledCorpusIsMadeFromTheGoldenTexts) {
  std::string folder = std::string(SEQPAR_TEST_DIR) + "/../models/corpus/";
  DataOptions options;
  options.dataPath = folder + "corpus_text_sentence";
  options.vocabFile = folder + "vocab.txt";
  options.seqLength = 128;
  options.trainIters = 100;
  options.globalBatch = 8;
  options.evalIters = 1;
  PretrainingData data(options);
  EXPECT_GE(data.size(Split::train), 800);
  EXPECT_GT(data.size(Split::valid), 0);
}

} // namespace
