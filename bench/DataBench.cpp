//===- DataBench.cpp - tokenizer, preprocessing and samples -----------------===//
//
// Prints JSON lines. tokenizer: megabytes of UTF-8 text a second on one thread, with a memory of
// words that starts empty. samples: samples a second on one thread at each sequence length.
//
//===----------------------------------------------------------------------===//

#include "Bench.h"
#include "seqpar/rt/data/JsonText.h"
#include "seqpar/rt/data/PretrainingData.h"
#include "seqpar/rt/data/SentenceSplitter.h"
#include "seqpar/rt/data/Tokenizer.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fstream>
#include <string>
#include <vector>

namespace {

using namespace seqpar::rt::data;

std::vector<std::string> readSentences(const std::vector<std::string> &files) {
  std::vector<std::string> sentences;
  JsonTextReader reader({"text"});
  for (const std::string &path : files) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      std::vector<std::string_view> parts;
      splitSentences(reader.read(line)[0].parts[0], SentenceSplitter::newline, parts);
      sentences.insert(sentences.end(), parts.begin(), parts.end());
    }
  }
  return sentences;
}

void benchTokenizer(const std::vector<std::string> &files, const std::string &vocabFile,
                    double minSeconds) {
  std::vector<std::string> sentences = readSentences(files);
  Vocabulary vocabulary = Vocabulary::load(vocabFile);
  Tokenizer first(vocabulary, Casing::lower);
  int64_t bytes = 0, tokens = 0;
  for (const std::string &sentence : sentences)
    bytes += static_cast<int64_t>(sentence.size());
  std::vector<int32_t> ids;
  double best = INFINITY;
  for (double end = seqpar::bench::seconds() + minSeconds; seqpar::bench::seconds() < end;) {
    Tokenizer tokenizer(first);
    double start = seqpar::bench::seconds();
    ids.clear();
    for (const std::string &sentence : sentences)
      tokenizer.encode(sentence, ids);
    best = std::min(best, seqpar::bench::seconds() - start);
    tokens = static_cast<int64_t>(ids.size());
  }
  fmt::print("{{\"bench\": \"tokenizer\", \"bytes\": {}, \"tokens\": {}, \"mb_per_s\": {:.1f}}}\n",
             bytes, tokens, static_cast<double>(bytes) / 1e6 / best);
}

void benchSamples(const std::string &prefix, const std::string &vocabFile, double minSeconds) {
  for (int length : {128, 512, 2048}) {
    DataOptions options;
    options.dataPath = prefix;
    options.vocabFile = vocabFile;
    options.seqLength = length;
    options.trainIters = 1000;
    PretrainingData data(options);
    Sample sample;
    int64_t count = 0, tokens = 0;
    double start = seqpar::bench::seconds(), elapsed = 0;
    for (; elapsed < minSeconds; elapsed = seqpar::bench::seconds() - start)
      for (int64_t i = 0; i < 100; ++i) {
        data.sample(Split::train, count++ % data.size(Split::train), sample);
        tokens += sample.tokens;
      }
    fmt::print("{{\"bench\": \"samples\", \"seq_length\": {}, \"mean_tokens\": {:.0f}, "
               "\"samples_per_s\": {:.0f}}}\n",
               length, static_cast<double>(tokens) / static_cast<double>(count),
               static_cast<double>(count) / elapsed);
  }
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app{"Measures the tokenizer and the building of samples on one thread."};
  std::vector<std::string> files;
  std::string prefix, vocab;
  double minSeconds = 1;
  app.add_option("--jsonl", files, "JSON lines with one sentence a line of \"text\"");
  app.add_option("--data-path", prefix, "data set to build samples from");
  app.add_option("--vocab", vocab, "vocabulary file")->required();
  app.add_option("--min-seconds", minSeconds, "seconds of each measurement");
  CLI11_PARSE(app, argc, argv);
  if (!files.empty())
    benchTokenizer(files, vocab, minSeconds);
  if (!prefix.empty())
    benchSamples(prefix, vocab, minSeconds);
  return 0;
}
