#include "seqpar/rt/data/Preprocess.h"

#include "GoldenFiles.h"
#include "TestPaths.h"

#include <gmock/gmock.h>

using namespace seqpar::test;
using namespace seqpar::rt::data;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

class PreprocessTest : public testing::Test {
protected:
  PreprocessTest() {
    std::filesystem::create_directory(scratch / "out");
    options.outputPrefix = scratch / "out/d";
    options.vocabFile = vocabPath("bert-uncased-vocab.txt");
    options.splitter = SentenceSplitter::newline;
  }
  PreprocessResult run(const std::string &lines) {
    options.input = scratch / "in.jsonl";
    writeFile(options.input, lines);
    return preprocess(options);
  }
  std::string error(const std::string &lines) {
    return errorOf([&] { run(lines); });
  }
  /// Tokens of each sentence, and sentences of each document.
  std::vector<int64_t> shape(const std::string &name = "d_text_sentence") {
    IndexedDataset data(scratch / ("out/" + name));
    std::vector<int64_t> result;
    for (int64_t i = 0; i < data.index().sentences(); ++i)
      result.push_back(data.index().size(i));
    result.push_back(-1);
    for (int64_t i = 0; i < data.index().documents(); ++i)
      result.push_back(data.index().firstSentence(i + 1) - data.index().firstSentence(i));
    return result;
  }

  Scratch scratch;
  PreprocessOptions options;
};

TEST(PreprocessGoldenTest, FilesAreEqual) {
  auto manifest = goldenJson("manifest.json");
  for (const auto &[name, set] : manifest["datasets"].items()) {
    EXPECT_EQ(fileCrc32(goldenData() + "/" + name + ".bin"), set["bin_crc32"]) << name;
    EXPECT_EQ(fileCrc32(goldenData() + "/" + name + ".idx"), set["idx_crc32"]) << name;
  }
}

TEST_F(PreprocessTest, BundledCorpusIsMadeFromTheGoldenTexts) {
  std::string text =
      readFile(goldenPath("corpora/jargon_a.jsonl")) + readFile(goldenPath("corpora/devil.jsonl"));
  for (int workers : {1, 3}) {
    options.workers = workers;
    auto result = run(text);
    EXPECT_EQ(result.counts.documents, 500);
    for (const char *ending : {".bin", ".idx"})
      EXPECT_EQ(readFile(result.prefixes[0] + ending),
                readFile(std::string(SEQPAR_TEST_DIR) + "/../models/corpus/corpus_text_sentence" +
                         ending));
  }
}

/// Several blocks of lines, so that workers finish out of order.
TEST_F(PreprocessTest, OrderDoesNotDependOnTheWorkers) {
  std::string one = readFile(goldenPath("corpora/devil.jsonl")), text;
  for (int i = 0; i < 12; ++i)
    text += one + "{\"text\": \"round " + std::to_string(i) + "\"}\n";
  std::string expected;
  for (int workers : {1, 2, 5}) {
    options.workers = workers;
    auto result = run(text);
    std::string bytes =
        readFile(result.prefixes[0] + ".idx") + readFile(result.prefixes[0] + ".bin");
    if (workers == 1)
      expected = bytes;
    EXPECT_EQ(bytes, expected) << workers;
    EXPECT_EQ(result.counts.lines, 12 * 299);
  }
}

TEST_F(PreprocessTest, DocumentsAndSentencesWithoutTokensVanish) {
  run("{\"text\": \"a b\\n\\n \\nc\"}\n{\"text\": \"\"}\n{\"text\": \" \\n\"}\n{\"text\": "
      "\"d\"}\n");
  EXPECT_THAT(shape(), ElementsAre(2, 1, 1, -1, 2, 1));
}

TEST_F(PreprocessTest, LineEnds) {
  run("{\"text\": \"a b\"}\r\n{\"text\": \"c\\u2028d\"}\r{\"text\": \"d\u2028e f\"}");
  EXPECT_THAT(shape(), ElementsAre(2, 2, 3, -1, 1, 1, 1));
}

TEST_F(PreprocessTest, ListsAreSentences) {
  run("{\"text\": [\"a b.\\nc\", \"\", \"d\"]}\n");
  EXPECT_THAT(shape(), ElementsAre(4, 1, -1, 2));
}

TEST_F(PreprocessTest, SeveralKeys) {
  options.keys = {"title", "text"};
  auto result = run("{\"text\": \"a b\", \"title\": \"c\"}\n{\"title\": \"\", \"text\": \"d\"}\n");
  EXPECT_THAT(result.prefixes,
              ElementsAre(scratch / "out/d_title_sentence", scratch / "out/d_text_sentence"));
  EXPECT_THAT(shape("d_title_sentence"), ElementsAre(1, -1, 1));
  EXPECT_THAT(shape("d_text_sentence"), ElementsAre(2, 1, -1, 1, 1));
}

TEST_F(PreprocessTest, WholeTextsAndLeadingPunctuation) {
  options.splitter = SentenceSplitter::none;
  options.dropLeadingPunctuation = true;
  run("{\"text\": \". a b\\nc\"}\n{\"text\": \"\u00bfd\"}\n");
  EXPECT_THAT(shape("d_text_document"), ElementsAre(3, 2, -1, 1, 1));
}

TEST_F(PreprocessTest, ElementTypes) {
  options.elementType = ElementType::int32;
  run("{\"text\": \"a\"}\n");
  EXPECT_EQ(readFile(scratch / "out/d_text_sentence.bin"), std::string("\x0d\x04\0\0", 4)); // 1037
  std::string vocabulary = "[CLS]\n[SEP]\n[PAD]\n[MASK]\n[UNK]\n";
  for (int i = 0; i < 65600; ++i)
    vocabulary += "w" + std::to_string(i) + "\n";
  options.vocabFile = scratch / "v.txt";
  writeFile(options.vocabFile, vocabulary);
  options.elementType = {};
  run("{\"text\": \"w65599\"}\n");
  EXPECT_EQ(IndexedDataset(scratch / "out/d_text_sentence").index().elementType(),
            ElementType::int32);
  options.elementType = ElementType::uint16;
  EXPECT_THAT(error("{\"text\": \"w65599\"}\n"), HasSubstr("do not fit uint16"));
}

TEST_F(PreprocessTest, BadLinesAreNamedAndLeaveNothing) {
  std::string good = "{\"text\": \"a b\"}\n";
  EXPECT_THAT(error(good + good + "{\"text\": 3}\n" + good),
              HasSubstr("in.jsonl:3: key \"text\": expected a string"));
  EXPECT_THAT(error(good + "\n"),
              HasSubstr("in.jsonl:2: expected a JSON object, found an empty line"));
  EXPECT_THAT(error(good + "{\"text\": \"\xff\"}\n"), HasSubstr("in.jsonl:2: not valid JSON"));
  std::string many;
  while (many.size() < 3 << 20)
    many += good;
  options.workers = 3;
  EXPECT_THAT(
      error(many + "{}\n" + many + "nonsense\n"),
      HasSubstr(fmt::format("in.jsonl:{}: the object has no key", many.size() / good.size() + 1)));
  EXPECT_THAT(error(""), HasSubstr("nothing was written"));
  EXPECT_THAT(error("{\"text\": \"\"}\n"), HasSubstr("in 1 lines; nothing was written"));
  EXPECT_THAT(std::filesystem::is_empty(scratch / "out"), true);
}

TEST_F(PreprocessTest, AFailedRunKeepsTheOldFiles) {
  run("{\"text\": \"a b c\"}\n");
  error("{\"text\": \"a\"}\nnonsense\n");
  EXPECT_THAT(shape(), ElementsAre(3, -1, 1));
}

TEST_F(PreprocessTest, BadOptions) {
  options.input = "/nowhere/in.jsonl";
  EXPECT_THAT(errorOf([&] { preprocess(options); }), HasSubstr("/nowhere/in.jsonl: cannot open"));
  options.outputPrefix = "/nowhere/d";
  EXPECT_THAT(error("{\"text\": \"a\"}\n"), HasSubstr("/nowhere/d_text_sentence.bin"));
  options.workers = 0;
  EXPECT_THAT(error("{\"text\": \"a\"}\n"), HasSubstr("workers"));
}

TEST_F(PreprocessTest, ProgressReachesTheEnd) {
  PreprocessProgress last;
  options.progress = [&](const PreprocessProgress &progress) { last = progress; };
  std::string text = "{\"text\": \"a b\"}\n";
  run(text + text);
  EXPECT_EQ(last.bytes, static_cast<int64_t>(2 * text.size()));
  EXPECT_EQ(last.totalBytes, last.bytes);
  EXPECT_EQ(last.tokens, 4);
}

} // namespace
