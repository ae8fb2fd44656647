#include "seqpar/rt/data/SentenceSplitter.h"

#include "GoldenFiles.h"

#include <gmock/gmock.h>

using namespace seqpar::test;
using namespace seqpar::rt::data;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

std::vector<std::string> split(std::string_view text, SentenceSplitter splitter) {
  std::vector<std::string_view> parts;
  splitSentences(text, splitter, parts);
  std::vector<std::string> result;
  for (std::string_view part : parts) {
    size_t begin = std::min(part.find_first_not_of(" \n"), part.size());
    part.remove_prefix(begin);
    result.emplace_back(part.substr(0, part.find_last_not_of('\n') + 1));
  }
  return result;
}

std::vector<std::string> prose(std::string_view text) {
  return split(text, SentenceSplitter::prose);
}

TEST(SentenceSplitterTest, NewlineAndNone) {
  EXPECT_THAT(split("a. B\n\nc\n", SentenceSplitter::newline), ElementsAre("a. B", "", "c", ""));
  EXPECT_THAT(split("a. B\nc", SentenceSplitter::none), ElementsAre("a. B\nc"));
}

TEST(SentenceSplitterTest, Prose) {
  EXPECT_THAT(prose("One. Two! Three? Four"), ElementsAre("One.", "Two!", "Three?", "Four"));
  EXPECT_THAT(prose("A line\ngoes on. Next."), ElementsAre("A line\ngoes on.", "Next."));
  EXPECT_THAT(prose("Title\n\nText here."), ElementsAre("Title", "Text here."));
  EXPECT_THAT(prose("\u201cStop.\u201d He ran... Then (so.) It ended."),
              ElementsAre("\u201cStop.\u201d", "He ran...", "Then (so.)", "It ended."));
  EXPECT_THAT(prose("\u4f60\u597d\u3002\u518d\u89c1"),
              ElementsAre("\u4f60\u597d\u3002", "\u518d\u89c1"));
}

TEST(SentenceSplitterTest, ProseStopsThatEndNothing) {
  EXPECT_THAT(prose("Mr. Smith met Dr. J. R. Jones, e.g. Bob, at 3.14 p.m. and left."),
              ElementsAre("Mr. Smith met Dr. J. R. Jones, e.g. Bob, at 3.14 p.m. and left."));
  EXPECT_THAT(prose("See seqpar.org. It is I. You know."),
              ElementsAre("See seqpar.org.", "It is I.", "You know."));
}

TEST(SentenceSplitterTest, NothingIsLost) {
  std::string text = readFile(goldenPath("corpora/devil.jsonl")).substr(0, 100000);
  std::vector<std::string_view> parts;
  splitSentences(text, SentenceSplitter::prose, parts);
  std::string joined;
  for (std::string_view part : parts)
    joined += part;
  EXPECT_EQ(joined, text);
  EXPECT_GT(parts.size(), 100u);
}

TEST(SentenceSplitterTest, UnknownName) {
  EXPECT_THAT(errorOf([] { parseSentenceSplitter("punkt"); }),
              HasSubstr("expected newline, none or prose"));
}

} // namespace
