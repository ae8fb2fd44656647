//===- Preprocess.cpp - the commands preprocess and tokenize ----------------===//

#include "seqpar/rt/data/Preprocess.h"

#include "Options.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/data/JsonText.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>
#include <thread>
#include <unistd.h>

namespace seqpar::tool {

using namespace seqpar::rt;
using namespace seqpar::rt::data;

namespace {

std::string duration(double seconds) {
  int64_t whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 60)
    return fmt::format("{} s", whole);
  if (whole < 3600)
    return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

/// A line that is written over on a terminal, else a new line every ten seconds.
class ProgressLine {
public:
  void show(const PreprocessProgress &progress) {
    auto now = Clock::now();
    if (std::chrono::duration<double>(now - shown).count() < (terminal ? 0.2 : 10))
      return;
    shown = now;
    double seconds = elapsed(), rate = static_cast<double>(progress.bytes) / seconds;
    std::string text =
        fmt::format("{:.1f} MB, {:.1f} MB/s, {} documents",
                    static_cast<double>(progress.bytes) / 1e6, rate / 1e6, progress.documents);
    if (progress.totalBytes > 0 && rate > 0)
      text =
          fmt::format("{:3d}%  {}, {} left", 100 * progress.bytes / progress.totalBytes, text,
                      duration(static_cast<double>(progress.totalBytes - progress.bytes) / rate));
    if (terminal)
      fmt::print(stderr, "\r{}\x1b[K", text);
    else
      fmt::print(stderr, "{}\n", text);
    open = terminal;
  }

  double elapsed() const {
    return std::max(1e-9, std::chrono::duration<double>(Clock::now() - start).count());
  }

  ~ProgressLine() {
    if (open)
      fmt::print(stderr, "\r\x1b[K");
  }

private:
  using Clock = std::chrono::steady_clock;
  bool terminal = isatty(STDERR_FILENO), open = false;
  Clock::time_point start = Clock::now(), shown = start;
};

struct PreprocessArguments {
  PreprocessOptions options;
  std::string tokenizer = "BertWordPieceLowerCase", splitter = "prose", elements = "auto";
};

void runPreprocess(PreprocessArguments &arguments) {
  PreprocessOptions &options = arguments.options;
  if (options.input != "-")
    requireFile("--input", options.input);
  requireFile("--vocab", options.vocabFile);
  std::filesystem::path folder = std::filesystem::path(options.outputPrefix).parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder))
    usage("--output-prefix: no such folder: {}", folder.string());
  options.casing = parseCasing(arguments.tokenizer);
  options.splitter = parseSentenceSplitter(arguments.splitter);
  if (arguments.elements != "auto")
    options.elementType = arguments.elements == "uint16" ? ElementType::uint16 : ElementType::int32;
  PreprocessResult result;
  double seconds = 0;
  {
    ProgressLine line;
    options.progress = [&](const PreprocessProgress &progress) { line.show(progress); };
    result = preprocess(options);
    seconds = line.elapsed();
  }
  for (const std::string &prefix : result.prefixes)
    fmt::print("{}\n", prefix);
  const PreprocessProgress &counts = result.counts;
  fmt::print(stderr, "{} lines, {} documents, {} sentences, {} tokens in {:.1f} s ({:.1f} MB/s)\n",
             counts.lines, counts.documents, counts.sentences, counts.tokens, seconds,
             static_cast<double>(counts.bytes) / 1e6 / seconds);
}

void runTokenize(const std::string &vocabFile, const std::string &tokenizerName) {
  requireFile("--vocab", vocabFile);
  Vocabulary vocabulary = Vocabulary::load(vocabFile);
  Tokenizer tokenizer(vocabulary, parseCasing(tokenizerName));
  std::vector<int32_t> ids;
  std::string line;
  for (int64_t number = 1; std::getline(std::cin, line); ++number) {
    ids.clear();
    try {
      tokenizer.encode(parseJsonString(line), ids);
    } catch (const Error &error) {
      fail("standard input:{}: {}", number, error.what());
    }
    fmt::print("[{}]\n", fmt::join(ids, ", "));
  }
}

CLI::Option *addTokenizerOption(CLI::App &command, std::string &name) {
  return command.add_option("--tokenizer", name, "BertWordPieceLowerCase or BertWordPieceCase")
      ->check(CLI::IsMember({"BertWordPieceLowerCase", "BertWordPieceCase"}));
}

} // namespace

void addPreprocess(CLI::App &app) {
  auto arguments = std::make_shared<PreprocessArguments>();
  PreprocessOptions &options = arguments->options;
  CLI::App &command = *app.add_subcommand("preprocess", "make .bin/.idx files from JSON lines");
  command
      .add_option("--input", options.input,
                  "file with one JSON object a line; - reads the standard input")
      ->required();
  command
      .add_option("--output-prefix", options.outputPrefix,
                  "P gives P_text_sentence.bin and P_text_sentence.idx")
      ->required();
  command.add_option("--vocab", options.vocabFile, "vocabulary file, one token a line")->required();
  addTokenizerOption(command, arguments->tokenizer);
  command.add_option("--json-keys", options.keys, "keys to read; each gives a data set")
      ->delimiter(',');
  command
      .add_option(
          "--sentence-splitter", arguments->splitter,
          "prose: our rules for plain prose; newline: one sentence a line, as Megatron after "
          "splitting; none: a text is one sentence, files are named P_text_document")
      ->check(CLI::IsMember({"prose", "newline", "none"}));
  command.add_flag("--drop-leading-punctuation", options.dropLeadingPunctuation,
                   "drop the first character of a text if it is ASCII punctuation");
  command
      .add_option("--element-type", arguments->elements,
                  "uint16 for vocabularies below 65500, else int32")
      ->check(CLI::IsMember({"auto", "uint16", "int32"}));
  options.workers = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 64u));
  command.add_option("--workers", options.workers, "threads that tokenize")
      ->check(CLI::Range(1, 1024));
  command.callback([arguments] { runPreprocess(*arguments); });
}

void addTokenize(CLI::App &app) {
  struct Arguments {
    std::string vocab, tokenizer = "BertWordPieceLowerCase";
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App &command = *app.add_subcommand(
      "tokenize", "read one JSON string a line, write one JSON array of token ids a line");
  command.add_option("--vocab", arguments->vocab, "vocabulary file, one token a line")->required();
  addTokenizerOption(command, arguments->tokenizer);
  command.callback([arguments] { runTokenize(arguments->vocab, arguments->tokenizer); });
}

} // namespace seqpar::tool
