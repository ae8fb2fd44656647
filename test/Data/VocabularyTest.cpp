#include "seqpar/rt/data/Vocabulary.h"

#include "GoldenFiles.h"

#include <gmock/gmock.h>

using namespace seqpar::test;
using namespace seqpar::rt::data;
using testing::HasSubstr;

namespace {

TEST(VocabularyTest, BertUncased) {
  Vocabulary vocabulary = Vocabulary::load(vocabPath("bert-uncased-vocab.txt"));
  EXPECT_EQ(vocabulary.size(), 30524);
  EXPECT_EQ(vocabulary.pad, 0);
  EXPECT_EQ(vocabulary.unk, 100);
  EXPECT_EQ(vocabulary.cls, 101);
  EXPECT_EQ(vocabulary.sep, 102);
  EXPECT_EQ(vocabulary.mask, 103);
  EXPECT_EQ(vocabulary.find("[BOS]"), 30522);
  EXPECT_EQ(vocabulary.find("[EOS]"), 30523);
  EXPECT_TRUE(vocabulary.continues(vocabulary.find("##ing")));
  EXPECT_FALSE(vocabulary.continues(vocabulary.find("the")));
}

TEST(VocabularyTest, SpecialTokensAnywhere) {
  Vocabulary vocabulary = Vocabulary::load(vocabPath("small-a-vocab.txt"));
  EXPECT_EQ(vocabulary.size(), 2002);
  EXPECT_EQ(vocabulary.pad, 5);
  EXPECT_EQ(vocabulary.cls, 6);
  EXPECT_EQ(vocabulary.sep, 9);
  EXPECT_EQ(vocabulary.mask, 1999);
  EXPECT_EQ(vocabulary.unk, 0);
}

TEST(VocabularyTest, LineEndsAndWhiteSpace) {
  Vocabulary vocabulary =
      Vocabulary::parse("[CLS]\r\n [SEP]\t\n[PAD]\r[MASK]\u3000\n[EOS]\n\u00a0x\u2028", "v");
  EXPECT_EQ(vocabulary.size(), 7); // [BOS] is added, [EOS] is there
  EXPECT_EQ(vocabulary.find("[MASK]"), 3);
  EXPECT_EQ(vocabulary.find("[EOS]"), 4);
  EXPECT_EQ(vocabulary.find("x"), 5);
  EXPECT_EQ(vocabulary.find("[BOS]"), 6);
}

TEST(VocabularyTest, DamagedFiles) {
  auto error = [](std::string_view text) {
    return errorOf([&] { Vocabulary::parse(text, "v.txt"); });
  };
  EXPECT_THAT(error(""), HasSubstr("v.txt: [CLS] is missing"));
  EXPECT_THAT(error("[CLS]\n[PAD]\n[MASK]\n"), HasSubstr("v.txt: [SEP] is missing"));
  EXPECT_THAT(error("a\nb\na \n"), HasSubstr("v.txt:3: token \"a\" is already in line 1"));
  EXPECT_THAT(error("a\nb\xff\n"), HasSubstr("v.txt:2: invalid UTF-8 at byte 1"));
  EXPECT_THAT(errorOf([] { Vocabulary::load("/nowhere/v.txt"); }),
              HasSubstr("/nowhere/v.txt: cannot open"));
  EXPECT_THAT(errorOf([] { Vocabulary::load("/"); }), HasSubstr("expected a regular file"));
}

TEST(VocabularyTest, PaddedSize) {
  auto vectors = goldenJson("vectors.json")["padded_vocab"];
  for (const auto &entry : vectors)
    EXPECT_EQ(paddedVocabSize(entry["vocab_size"], entry["tensor_size"]), entry["padded"]) << entry;
}

} // namespace
