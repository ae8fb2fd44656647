#include "seqpar/rt/data/RandomState.h"

#include "GoldenFiles.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <numeric>

using namespace seqpar::test;
using namespace seqpar::rt::data;

namespace {

int64_t numberAfter(const std::string &key, const std::string &prefix) {
  return std::atoll(key.c_str() + prefix.size());
}

TEST(RandomStateTest, GoldenDraws) {
  auto vectors = goldenJson("vectors.json")["rng"];
  ASSERT_EQ(vectors.size(), 5u);
  int checked = 0;
  for (const auto &vector : vectors)
    for (const auto &[key, expected] : vector.items()) {
      RandomState random(vector["seed"].get<uint32_t>());
      if (key == "u32") {
        for (uint32_t value : expected)
          EXPECT_EQ(random.bits(), value);
      } else if (key == "random") {
        for (const std::string value : expected)
          EXPECT_EQ(random.random(), std::strtod(value.c_str(), nullptr));
      } else if (key.starts_with("randint_")) {
        int64_t low = numberAfter(key, "randint_");
        int64_t high = numberAfter(key.substr(key.rfind('_')), "_");
        for (int64_t value : expected)
          EXPECT_EQ(random.randint(low, high), value) << key;
      } else {
        continue;
      }
      ++checked;
    }
  EXPECT_GE(checked, 5 * 5);
}

TEST(RandomStateTest, NgramLengths) {
  auto cdf = goldenJson("vectors.json")["ngram_cdf_hex"];
  double bounds[2] = {std::strtod(cdf[0].get<std::string>().c_str(), nullptr),
                      std::strtod(cdf[1].get<std::string>().c_str(), nullptr)};
  RandomState lengths(42), uniform(42);
  int seen[4] = {};
  for (int i = 0; i < 10000; ++i) {
    double u = uniform.random();
    int length = lengths.ngramLength();
    ASSERT_EQ(length, 1 + (u >= bounds[0]) + (u >= bounds[1]));
    ++seen[length];
  }
  EXPECT_GT(seen[1], seen[2]);
  EXPECT_GT(seen[2], seen[3]);
  EXPECT_GT(seen[3], 1500);
}

TEST(RandomStateTest, NothingIsDrawnForOneChoice) {
  RandomState a(5), b(5);
  EXPECT_EQ(a.randint(3, 4), 3);
  std::vector<int> one = {7};
  a.shuffle(std::span(one));
  EXPECT_EQ(a.bits(), b.bits());
}

} // namespace
