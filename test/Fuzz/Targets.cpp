#include "Targets.h"

#include "seqpar/rt/Error.h"
#include "seqpar/rt/data/IndexedDataset.h"
#include "seqpar/rt/data/JsonText.h"
#include "seqpar/rt/data/SampleMap.h"
#include "seqpar/rt/data/SentenceSplitter.h"
#include "seqpar/rt/data/Tokenizer.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace seqpar::test {

using namespace seqpar::rt;
using namespace seqpar::rt::data;

namespace {

void require(bool holds, const char *what) {
  if (!holds) {
    std::fprintf(stderr, "fuzz: does not hold: %s\n", what);
    std::abort();
  }
}

std::string_view asText(const uint8_t *data, size_t size) {
  return {reinterpret_cast<const char *>(data), size};
}

std::span<const std::byte> asBytes(const uint8_t *data, size_t size) {
  return {reinterpret_cast<const std::byte *>(data), size};
}

/// Runs `body` and lets an Error with a text pass.
template <typename Body> void allowErrors(Body body) {
  try {
    body();
  } catch (const Error &error) {
    require(error.what()[0] != '\0', "an error says something");
  }
}

const Vocabulary &smallVocabulary() {
  static const Vocabulary vocabulary = Vocabulary::parse(
      "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nb\n##b\nab\n##ab\nthe\n.\n,\n##ing\n"
      "\xc3\xa9\n##\xc3\xa9\n\xe4\xb8\xad\n\xe1\x84\x92\n##\xe1\x85\xa1\n\xcf\x83\n##\xcf\x82\n",
      "vocabulary");
  return vocabulary;
}

} // namespace

void fuzzIdx(const uint8_t *data, size_t size) {
  uint32_t binBytes = 0;
  if (size < sizeof binBytes)
    return;
  std::memcpy(&binBytes, data, sizeof binBytes);
  allowErrors([&] {
    IndexView index(asBytes(data + 4, size - 4), binBytes, "fuzz.idx");
    int64_t tokens = 0;
    for (int64_t i = 0; i < index.sentences(); ++i) {
      int64_t end = index.pointer(i) + int64_t(index.size(i)) * elementSize(index.elementType());
      require(index.pointer(i) >= 0 && end <= binBytes, "sentences lie inside the .bin file");
      tokens += index.size(i);
    }
    require(tokens == index.tokens(), "tokens are counted");
    require(index.firstSentence(index.documents()) == index.sentences(), "documents cover all");
  });
}

void fuzzJson(const uint8_t *data, size_t size) {
  static JsonTextReader reader({"text", "title"});
  allowErrors([&] {
    for (const TextValue &value : reader.read(asText(data, size)))
      require(value.isList || value.parts.size() == 1, "a string has one part");
  });
  allowErrors([&] { parseJsonString(asText(data, size)); });
}

void fuzzVocab(const uint8_t *data, size_t size) {
  allowErrors([&] {
    Vocabulary vocabulary = Vocabulary::parse(asText(data, size), "vocab.txt");
    for (int32_t id = 0; id < vocabulary.size(); ++id)
      require(vocabulary.find(vocabulary.token(id)) == id, "ids and tokens belong together");
    Tokenizer tokenizer(vocabulary, Casing::lower);
    std::vector<int32_t> ids;
    tokenizer.encode("The quick brown fox", ids);
  });
}

void fuzzText(const uint8_t *data, size_t size) {
  static Tokenizer lower(smallVocabulary(), Casing::lower), cased(smallVocabulary(), Casing::cased);
  std::string_view text = asText(data, size);
  std::vector<std::string_view> sentences;
  splitSentences(text, SentenceSplitter::prose, sentences);
  size_t covered = 0;
  for (std::string_view sentence : sentences)
    covered += sentence.size();
  require(covered == text.size(), "sentences cover the text");
  for (Tokenizer *tokenizer : {&lower, &cased})
    allowErrors([&] {
      std::vector<int32_t> whole, words;
      tokenizer->encode(text, whole);
      for (const std::string &word : tokenizer->words(text))
        cased.encode(word, words);
      require(whole == words, "the fast paths give what the rules give");
    });
}

void fuzzMap(const uint8_t *data, size_t size) {
  allowErrors([&] {
    SampleMap map = SampleMap::parse(asBytes(data, size), "map.npy");
    for (int64_t i = 0; i < map.rows(); ++i)
      map.row(i);
  });
}

} // namespace seqpar::test
