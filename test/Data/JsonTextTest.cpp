#include "seqpar/rt/data/JsonText.h"

#include "GoldenFiles.h"

#include <gmock/gmock.h>

using namespace seqpar::test;
using namespace seqpar::rt::data;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

class JsonTextTest : public testing::Test {
protected:
  const TextValue &read(std::string_view line) { return reader.read(line)[0]; }
  std::string error(std::string_view line) {
    return errorOf([&] { reader.read(line); });
  }
  JsonTextReader reader{{"text"}};
};

TEST_F(JsonTextTest, TextAmongOtherKeys) {
  EXPECT_THAT(read(R"({"id": 3, "text": "a\nb\u00e9", "url": {"text": "no"}})").parts,
              ElementsAre("a\nb\u00e9"));
  EXPECT_THAT(read(R"( {"text": ["one", "two"]} )").parts, ElementsAre("one", "two"));
  EXPECT_TRUE(read(R"({"text": []})").isList);
  EXPECT_THAT(read(R"({"text": "a", "text": "b"})").parts, ElementsAre("b"));
  EXPECT_THAT(read(R"({"te\u0078t": "a"})").parts, ElementsAre("a"));
  EXPECT_THAT(read(R"({"text": "a\u0000b"})").parts, ElementsAre(std::string_view("a\0b", 3)));
}

TEST_F(JsonTextTest, Surrogates) {
  EXPECT_THAT(read(R"({"text": "\ud83d\ude00"})").parts, ElementsAre("\U0001F600"));
  EXPECT_THAT(read(R"({"text": "a\ud800b"})").parts, ElementsAre("a\xed\xa0\x80"
                                                                 "b"));
  EXPECT_THAT(read(R"({"text": "\uDC00\uD800"})").parts, ElementsAre("\xed\xb0\x80\xed\xa0\x80"));
  EXPECT_THAT(read(R"({"text": "\ud800\ud83d\ude00"})").parts,
              ElementsAre("\xed\xa0\x80\U0001F600"));
  EXPECT_THAT(read(R"({"text": "\\ud800"})").parts, ElementsAre("\\ud800"));
  EXPECT_THAT(read(R"({"text": ["\ud800\u0000s\u0000"]})").parts,
              ElementsAre(std::string_view("\xed\xa0\x80\0s\0", 6)));
  EXPECT_EQ(parseJsonString(R"("x\udfff")"), "x\xed\xbf\xbf");
}

TEST_F(JsonTextTest, NumbersOfAnySize) {
  EXPECT_THAT(read(R"({"id": 123456789012345678901234567890, "text": "a\ud800"})").parts,
              ElementsAre("a\xed\xa0\x80"));
}

TEST_F(JsonTextTest, BadLines) {
  EXPECT_THAT(error(""), HasSubstr("empty line"));
  EXPECT_THAT(error("  \t"), HasSubstr("empty line"));
  EXPECT_THAT(error("{"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error(R"({"text": "a"} x)"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error(R"({"text": "a)"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error(R"({"text": "\ud8"})"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error("{\"text\": \"\xff\"}"), HasSubstr("UTF-8"));
  EXPECT_THAT(error("{\"text\": \"\xed\xa0\x80\"}"), HasSubstr("UTF-8"));
  EXPECT_THAT(error(R"(["text"])"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(error(R"({"other": "a"})"), HasSubstr("no key \"text\""));
  EXPECT_THAT(error(R"({"text": 3})"), HasSubstr("expected a string or a list of strings"));
  EXPECT_THAT(error(R"({"text": ["a", 3]})"), HasSubstr("expected a string or a list of strings"));
  EXPECT_THAT(error(R"({"text": null})"), HasSubstr("expected a string or a list of strings"));
  EXPECT_THAT(error(std::string(5000, '[')), HasSubstr("not valid JSON"));
  EXPECT_THAT(errorOf([] { parseJsonString("3"); }), HasSubstr("expected a JSON string"));
  EXPECT_THAT(errorOf([] { parseJsonString("\"a\",\"b\""); }), HasSubstr("expected a JSON string"));
}

} // namespace
