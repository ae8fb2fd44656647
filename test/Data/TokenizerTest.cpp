#include "seqpar/rt/data/Tokenizer.h"

#include "GoldenFiles.h"
#include "Unicode.h"
#include "seqpar/rt/data/JsonText.h"

#include <gmock/gmock.h>
#include <random>

using namespace seqpar::test;
using namespace seqpar::rt::data;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

std::string utf8(char32_t c) {
  return parseJsonString(c < 0x10000
                             ? fmt::format("\"\\u{:04x}\"", static_cast<uint32_t>(c))
                             : fmt::format("\"\\u{:04x}\\u{:04x}\"",
                                           static_cast<uint32_t>(0xD800 + ((c - 0x10000) >> 10)),
                                           static_cast<uint32_t>(0xDC00 + (c & 0x3FF))));
}

class TokenizerTest : public testing::Test {
protected:
  std::vector<int32_t> encode(std::string_view text, Casing casing = Casing::lower) {
    std::vector<int32_t> ids;
    (casing == Casing::lower ? lower : cased).encode(text, ids);
    return ids;
  }
  std::vector<std::string> tokens(std::string_view text, Casing casing = Casing::lower) {
    std::vector<std::string> result;
    for (int32_t id : encode(text, casing))
      result.push_back(vocabulary.token(id));
    return result;
  }

  Vocabulary vocabulary = Vocabulary::load(vocabPath("bert-uncased-vocab.txt"));
  Tokenizer lower{vocabulary, Casing::lower}, cased{vocabulary, Casing::cased};
};

TEST_F(TokenizerTest, GoldenCases) {
  auto cases = goldenJson("tokenizer/cases.json");
  ASSERT_EQ(cases.size(), 52u);
  for (int round = 0; round < 2; ++round) // the second time from the memory of words
    for (const auto &entry : cases) {
      std::string text = entry["text"];
      EXPECT_EQ(encode(text), entry["lower_ids"].get<std::vector<int32_t>>()) << text;
      EXPECT_EQ(encode(text, Casing::cased), entry["cased_ids"].get<std::vector<int32_t>>())
          << text;
      EXPECT_EQ(tokens(text), entry["lower_tokens"].get<std::vector<std::string>>()) << text;
    }
}

bool isAssigned(char32_t c) { return category(c) != UTF8PROC_CATEGORY_CN; }

/// The words of a + c + b for every code point c that Unicode 14 assigns.
TEST_F(TokenizerTest, GoldenUnicodeBlocks) {
  std::string file = readFile(goldenPath("tokenizer/unicode_blocks.npy"));
  const size_t header = 128;
  ASSERT_GT(file.size(), header);
  size_t rows = (file.size() - header) / 16;
  int64_t total = 0;
  for (size_t r = 0; r < rows; ++r) {
    uint32_t row[4];
    std::memcpy(row, file.data() + header + r * 16, 16);
    uint32_t count = 0, crc[2] = {0, 0};
    for (char32_t c = row[0] * 256; c < row[0] * 256 + 256; ++c) {
      if ((c >= 0xD800 && c < 0xE000) || !isAssigned(c))
        continue;
      ++count;
      std::string text = "a" + utf8(c) + "b";
      for (int i = 0; i < 2; ++i) {
        std::string line;
        for (const std::string &word : (i == 0 ? lower : cased).words(text))
          line += (line.empty() ? "" : " ") + word;
        line += '\n';
        crc[i] = crc32(line.data(), line.size(), crc[i]);
      }
    }
    EXPECT_EQ(count, row[1]) << "block " << row[0];
    EXPECT_EQ(crc[0], row[2]) << "lower, block " << row[0];
    EXPECT_EQ(crc[1], row[3]) << "cased, block " << row[0];
    total += count;
  }
  EXPECT_EQ(total, 141988);
}

/// What encode() finds by its fast paths and memories is what WordPiece of each word gives.
TEST_F(TokenizerTest, FastPathsAgreeWithTheRules) {
  std::mt19937 random(7);
  const char *parts[] = {"The",
                         "quick",
                         "X",
                         "\u00e9",
                         "e\u0301",
                         "\u03a3",
                         "'",
                         ".",
                         " ",
                         "\t",
                         "\u00a0",
                         "\u4e2d",
                         "\u0001",
                         "\u200b",
                         "-",
                         "123",
                         "abcdefghijklmnopq",
                         "\u2019",
                         "\u0130",
                         "\uAC00",
                         "\u2028",
                         "!?",
                         "\u00df"};
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (unsigned n = random() % 12; n-- > 0;)
      text += parts[random() % std::size(parts)];
    for (Casing casing : {Casing::lower, Casing::cased}) {
      std::vector<int32_t> expected;
      for (const std::string &word : (casing == Casing::lower ? lower : cased).words(text)) {
        auto ids = encode(word, Casing::cased); // already lowered; alone
        expected.insert(expected.end(), ids.begin(), ids.end());
      }
      ASSERT_EQ(encode(text, casing), expected) << text;
    }
  }
}

/// The room that encode() provides: tokens never outnumber it, even if each byte is a token.
TEST_F(TokenizerTest, DecompositionGrowsAtMostThreefold) {
  for (char32_t c = 0x80; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000)
      continue;
    std::string text = utf8(c);
    size_t bytes = 0;
    for (const std::string &word : lower.words(text))
      bytes += word.size();
    ASSERT_LE(bytes, 3 * text.size()) << static_cast<uint32_t>(c);
  }
}

TEST_F(TokenizerTest, LongWordsAreUnknown) {
  EXPECT_EQ(encode(std::string(200, 'x')).size(), 100u);
  EXPECT_THAT(tokens(std::string(201, 'x')), ElementsAre("[UNK]"));
  EXPECT_THAT(tokens(std::string(100000, 'x') + " y"), ElementsAre("[UNK]", "y"));
}

TEST_F(TokenizerTest, LoneSurrogatesAreUnknownWords) {
  EXPECT_THAT(tokens(parseJsonString("\"a \\ud800 b\"")), ElementsAre("a", "[UNK]", "b"));
  EXPECT_THAT(tokens(parseJsonString("\"a\\udc00b c\"")), ElementsAre("[UNK]", "c"));
}

TEST_F(TokenizerTest, InvalidUtf8IsAnErrorWithItsOffset) {
  EXPECT_THAT(errorOf([&] { encode("ab \xff"); }), HasSubstr("invalid UTF-8 at byte 3"));
  EXPECT_THAT(errorOf([&] { encode("\xc3"); }), HasSubstr("invalid UTF-8 at byte 0"));
  EXPECT_THAT(errorOf([&] { encode("\xf4\x90\x80\x80"); }), HasSubstr("invalid UTF-8 at byte 0"));
}

TEST(TokenizerWithoutUnknownTest, UnknownWordIsAnError) {
  Vocabulary vocabulary = Vocabulary::parse("[CLS]\n[SEP]\n[PAD]\n[MASK]\na\n##b\n", "v");
  Tokenizer tokenizer(vocabulary, Casing::lower);
  std::vector<int32_t> ids;
  tokenizer.encode("a Ab ABB", ids);
  EXPECT_THAT(ids, ElementsAre(4, 4, 5, 4, 5, 5));
  EXPECT_THAT(errorOf([&] { tokenizer.encode("c", ids); }), HasSubstr("no [UNK]"));
  EXPECT_THAT(errorOf([&] { tokenizer.encode("a.", ids); }), HasSubstr("no [UNK]"));
}

TEST(TokenizerNamesTest, AreMegatrons) {
  EXPECT_EQ(parseCasing("BertWordPieceLowerCase"), Casing::lower);
  EXPECT_EQ(parseCasing("BertWordPieceCase"), Casing::cased);
  EXPECT_THAT(errorOf([] { parseCasing("GPT2"); }), HasSubstr("BertWordPieceLowerCase"));
}

} // namespace
