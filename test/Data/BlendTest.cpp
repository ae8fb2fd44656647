#include "seqpar/rt/data/Blend.h"

#include "GoldenFiles.h"

#include <gmock/gmock.h>

using namespace seqpar::test;
using namespace seqpar::rt::data;
using testing::HasSubstr;

namespace {

TEST(BlendTest, GoldenOrders) {
  auto vectors = goldenJson("vectors.json")["blending"];
  ASSERT_EQ(vectors.size(), 3u);
  for (const auto &vector : vectors) {
    auto weights = vector["weights"].get<std::vector<double>>();
    double sum = 0;
    for (double weight : weights)
      sum += weight;
    for (double &weight : weights)
      weight /= sum;
    BlendIndex blend(weights, vector["size"]);
    std::vector<uint8_t> members;
    std::vector<int64_t> samples, counts(weights.size());
    for (int64_t i = 0; i < blend.size(); ++i) {
      auto [member, sample] = blend.at(i);
      EXPECT_EQ(sample, counts[static_cast<size_t>(member)]++);
      members.push_back(static_cast<uint8_t>(member));
      samples.push_back(sample);
    }
    EXPECT_EQ(counts, vector["counts"].get<std::vector<int64_t>>());
    EXPECT_EQ(crc32(members.data(), members.size()), vector["dataset_index_crc32"]);
    EXPECT_EQ(crc32(samples.data(), samples.size() * 8),
              vector["dataset_sample_index_int64_crc32"]);
  }
}

TEST(BlendTest, SampleNumbersOverManyBlocks) {
  std::vector<double> weights = {0.5, 0.3, 0.2};
  BlendIndex blend(weights, 20000);
  int64_t counts[3] = {};
  for (int64_t i = 0; i < blend.size(); ++i) {
    auto [member, sample] = blend.at(i);
    ASSERT_EQ(sample, counts[member]++) << i;
  }
  EXPECT_NEAR(static_cast<double>(counts[0]), 10000, 2);
}

TEST(BlendTest, GoldenMemberSamples) {
  auto vectors = goldenJson("vectors.json")["blend_num_samples"];
  for (const auto &vector : vectors)
    for (size_t m = 0; m < vector["normalized"].size(); ++m)
      for (size_t s = 0; s < 3; ++s)
        EXPECT_EQ(memberSamples(vector["train_valid_test"][s], vector["normalized"][m]),
                  vector["per_dataset"][m][s])
            << vector;
}

TEST(BlendTest, SumsAsNumPy) {
  // numpy.sum of 0.1·(1 + i % 7) for i < n, as NumPy 1.24 gives it.
  auto sum = [](int n) {
    std::vector<double> values;
    for (int i = 0; i < n; ++i)
      values.push_back(0.1 * (1 + i % 7));
    return numpySum(values);
  };
  EXPECT_EQ(sum(3), 0x1.3333333333334p-1);
  EXPECT_EQ(sum(8), 0x1.7333333333334p+1);
  EXPECT_EQ(sum(20), 0x1.ecccccccccccep+2);
  EXPECT_EQ(sum(127), 0x1.9400000000001p+5);
  EXPECT_EQ(sum(128), 0x1.959999999999ap+5);
  EXPECT_EQ(sum(129), 0x1.9800000000001p+5);
  EXPECT_EQ(sum(254), 0x1.9466666666667p+6);
  EXPECT_EQ(sum(300), 0x1.deccccccccccep+6);
}

TEST(BlendTest, DataPaths) {
  auto entries = parseDataPath("3 a 1 b/c");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].prefix, "a");
  EXPECT_EQ(entries[0].weight, 0.75);
  EXPECT_EQ(entries[1].prefix, "b/c");
  EXPECT_EQ(parseDataPath(" p ")[0].prefix, "p");
  EXPECT_THAT(errorOf([] { parseDataPath(""); }), HasSubstr("expected a prefix"));
  EXPECT_THAT(errorOf([] { parseDataPath("1 a 2"); }), HasSubstr("found 3 words"));
  EXPECT_THAT(errorOf([] { parseDataPath("a b"); }), HasSubstr("expected a weight above 0"));
  EXPECT_THAT(errorOf([] { parseDataPath("0 a 1 b"); }), HasSubstr("found \"0\""));
}

TEST(BlendTest, PrefixWithSpaces) {
  Scratch scratch;
  writeFile(scratch / "my data.idx", "");
  EXPECT_EQ(parseDataPath(scratch / "my data")[0].prefix, scratch / "my data");
}

} // namespace
