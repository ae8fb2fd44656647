#include "seqpar/rt/data/Splits.h"

#include "GoldenFiles.h"

#include <gmock/gmock.h>

using namespace seqpar::test;
using namespace seqpar::rt::data;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

TEST(SplitsTest, GoldenBoundaries) {
  auto vectors = goldenJson("vectors.json")["splits"];
  ASSERT_EQ(vectors.size(), 21u);
  for (const auto &vector : vectors) {
    auto bounds = splitBoundaries(vector["split"], vector["num_docs"]);
    EXPECT_EQ(std::vector<int64_t>(bounds.begin(), bounds.end()),
              vector["bounds"].get<std::vector<int64_t>>())
        << vector;
  }
}

TEST(SplitsTest, ZeroWeightMayGetADocument) {
  EXPECT_THAT(splitBoundaries("0,1,1", 9), ElementsAre(0, 1, 5, 9));
}

TEST(SplitsTest, BadWeights) {
  auto error = [](const char *weights, int64_t documents = 100) {
    return errorOf([&] { splitBoundaries(weights, documents); });
  };
  for (const char *weights : {"", "a", "1,,2", "1,-1", "nan", "inf,1", "1 2", "0x10"})
    EXPECT_THAT(error(weights), HasSubstr("expected weights")) << weights;
  EXPECT_THAT(error("0,0,0"), HasSubstr("sum to 0"));
  EXPECT_THAT(error("0,0,0,5"), HasSubstr("first three"));
  EXPECT_THAT(error("0,1,1", 3), HasSubstr("boundaries 0 -1 1 3"));
}

} // namespace
