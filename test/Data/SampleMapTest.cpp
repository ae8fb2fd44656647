#include "seqpar/rt/data/SampleMap.h"

#include "GoldenFiles.h"

#include <gmock/gmock.h>

using namespace seqpar::test;
using namespace seqpar::rt::data;
using testing::HasSubstr;

namespace {

std::vector<int32_t> sentence(int tokens) {
  return std::vector<int32_t>(static_cast<size_t>(tokens), 7);
}

class SampleMapTest : public testing::Test {
protected:
  IndexedDataset make(const Documents &documents) {
    writeDataset(prefix, documents);
    options.documentEnd = static_cast<int64_t>(documents.size());
    return IndexedDataset(prefix);
  }

  Scratch scratch;
  std::string prefix = scratch / "d", path = scratch / "map.npy";
  SampleMapOptions options;
};

TEST_F(SampleMapTest, GoldenTargetsAndShuffle) {
  auto vectors = goldenJson("vectors.json")["target_lengths"];
  ASSERT_EQ(vectors.size(), 5u);
  for (const auto &vector : vectors) {
    int count = vector["one_sentence_docs"];
    IndexedDataset data = make(Documents(static_cast<size_t>(count), {sentence(3)}));
    options.maxTokens = vector["max_seq_length_minus_3"];
    options.shortSeqProb = vector["short_seq_prob"];
    options.seed = vector["seed"];
    options.minSentences = 1;
    options.wanted = count;
    SampleMap map = SampleMap::build(data, options);
    ASSERT_EQ(map.rows(), count);
    for (int i = 0; i < count; ++i) {
      SampleRow row = map.row(i);
      EXPECT_EQ(row.first, vector["shuffled_first_column"][static_cast<size_t>(i)]);
      EXPECT_EQ(row.last, row.first + 1);
      EXPECT_EQ(row.target, vector["target_by_doc"][static_cast<size_t>(row.first)]);
    }
  }
}

TEST_F(SampleMapTest, GoldenNames) {
  int checked = 0;
  auto vectors = goldenJson("vectors.json")["indexmap_names"];
  for (const auto &vector : vectors) {
    if (!vector["num_epochs"].is_null())
      continue;
    options.wanted = vector["max_num_samples"];
    options.maxTokens = vector["max_seq_length"].get<int>() - 3;
    options.shortSeqProb = vector["short_seq_prob"];
    options.seed = vector["seed"];
    EXPECT_EQ(sampleMapName(vector["prefix"], vector["name"], options),
              vector["file"].get<std::string>());
    ++checked;
  }
  EXPECT_GE(checked, 2);
}

TEST_F(SampleMapTest, WhichDocumentsQualify) {
  Documents documents = {{sentence(600)},              // one long sentence
                         {sentence(600), sentence(1)}, // a long one among others
                         {sentence(512), sentence(1)}, // as long as may be
                         {},                           // empty
                         {sentence(5)}};
  IndexedDataset data = make(documents);
  options.maxTokens = 125;
  options.shortSeqProb = 0;
  options.minSentences = 2;
  SampleMap two = SampleMap::build(data, options);
  ASSERT_EQ(two.rows(), 1);
  EXPECT_EQ(two.row(0).first, 3);
  EXPECT_EQ(two.row(0).last, 5);
  options.minSentences = 1;
  EXPECT_EQ(SampleMap::build(data, options).rows(), 3);
}

TEST_F(SampleMapTest, NeverLeavesOneSentenceBehind) {
  IndexedDataset data = make({{sentence(4), sentence(4), sentence(4), sentence(4), sentence(4)}});
  options.maxTokens = 8;
  options.shortSeqProb = 0;
  options.minSentences = 1;
  SampleMap map = SampleMap::build(data, options);
  ASSERT_EQ(map.rows(), 2);
  int64_t covered = 0;
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_GE(map.row(i).last - map.row(i).first, 2);
    covered += map.row(i).last - map.row(i).first;
  }
  EXPECT_EQ(covered, 5);
}

TEST_F(SampleMapTest, WholeEpochsUntilThereAreEnough) {
  IndexedDataset data = make(Documents(10, {sentence(5), sentence(5)}));
  options.maxTokens = 125;
  options.wanted = 21;
  EXPECT_EQ(SampleMap::build(data, options).rows(), 30);
  options.wanted = 30;
  EXPECT_EQ(SampleMap::build(data, options).rows(), 30);
}

TEST_F(SampleMapTest, NoDocumentQualifies) {
  IndexedDataset data = make({{sentence(5)}, {sentence(600), sentence(2)}});
  options.maxTokens = 125;
  EXPECT_THAT(errorOf([&] { SampleMap::build(data, options); }),
              HasSubstr("none of the documents 0 to 1 makes a sample"));
}

class SampleMapFileTest : public SampleMapTest {
protected:
  SampleMapFileTest() {
    options.maxTokens = 20;
    options.wanted = 8;
    SampleMap::build(data, options).save(path);
    bytes = readFile(path);
  }
  std::string errorWith(const std::string &content) {
    writeFile(path, content);
    return errorOf([&] { SampleMap::load(path, data, options); });
  }

  IndexedDataset data = make(Documents(8, {sentence(5), sentence(6), sentence(7), sentence(8)}));
  std::string bytes;
};

TEST_F(SampleMapFileTest, RoundTrip) {
  SampleMap built = SampleMap::build(data, options), loaded = SampleMap::load(path, data, options);
  ASSERT_EQ(loaded.rows(), built.rows());
  for (int64_t i = 0; i < built.rows(); ++i) {
    EXPECT_EQ(loaded.row(i).first, built.row(i).first);
    EXPECT_EQ(loaded.row(i).last, built.row(i).last);
    EXPECT_EQ(loaded.row(i).target, built.row(i).target);
  }
}

TEST_F(SampleMapFileTest, WideElements) {
  std::string header = bytes.substr(0, 128), wide = header;
  wide.replace(wide.find("<u4"), 3, "<u8");
  for (size_t at = 128; at < bytes.size(); at += 4)
    wide += bytes.substr(at, 4) + std::string(4, '\0');
  writeFile(path, wide);
  EXPECT_EQ(SampleMap::load(path, data, options).rows(), SampleMap::build(data, options).rows());
}

TEST_F(SampleMapFileTest, CutAtEveryByte) {
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_THAT(errorWith(bytes.substr(0, length)), HasSubstr("map.npy: ")) << length;
  EXPECT_THAT(errorWith(bytes + "x"), HasSubstr("cut or extended"));
}

TEST_F(SampleMapFileTest, EveryDamagedRowIsFound) {
  for (size_t at = 128; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    EXPECT_THAT(errorWith(damaged), HasSubstr("made from other data, splits or options")) << at;
  }
}

TEST_F(SampleMapFileTest, StaleFilesAreRefused) {
  auto refused = [&] {
    EXPECT_THAT(errorOf([&] { SampleMap::load(path, data, options); }), HasSubstr("delete it"));
  };
  options.documentEnd = 6;
  refused();
  options.documentEnd = 8;
  options.wanted = 1000;
  refused();
  options.wanted = 8;
  options.maxTokens = 12;
  refused();
  options.maxTokens = 20;
  options.shortSeqProb = 0.9;
  refused();
}

TEST_F(SampleMapFileTest, OtherArraysAreRefused) {
  auto header = [&](const std::string &from, const std::string &to) {
    std::string changed = bytes;
    changed.replace(changed.find(from), from.size(), to);
    return changed;
  };
  EXPECT_THAT(errorWith(header("<u4", "<i4")), HasSubstr("not a sample map"));
  EXPECT_THAT(errorWith(header("False", "True ")), HasSubstr("not a sample map"));
  EXPECT_THAT(errorWith(header(", 3)", ", 2)")), HasSubstr("not a sample map"));
  EXPECT_THAT(errorWith(header("NUMPY", "NUMPX")), HasSubstr("magic"));
  EXPECT_THAT(errorWith(header("(", "(9")), HasSubstr("not"));
}

} // namespace
