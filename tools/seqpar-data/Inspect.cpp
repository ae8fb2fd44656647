//===- Inspect.cpp - the commands inspect and verify ------------------------===//

#include "Options.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/data/IndexedDataset.h"
#include "seqpar/rt/data/Vocabulary.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <vector>

namespace seqpar::tool {

using namespace seqpar::rt::data;

namespace {

/// Counts of whole numbers in the ranges 0, 1, 2-3, 4-7, ...
class Histogram {
public:
  void add(int64_t value) {
    size_t bin = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(value)));
    if (bins.size() <= bin)
      bins.resize(bin + 1);
    ++bins[bin];
    ++count;
    sum += value;
    least = count == 1 ? value : std::min(least, value);
    most = std::max(most, value);
  }

  void print(const char *title) const {
    if (count == 0)
      return;
    fmt::print("\n{}: least {}, mean {:.1f}, most {}\n", title, least,
               static_cast<double>(sum) / static_cast<double>(count), most);
    int64_t highest = *std::max_element(bins.begin(), bins.end());
    for (size_t bin = 0; bin < bins.size(); ++bin) {
      int64_t low = bin == 0 ? 0 : INT64_C(1) << (bin - 1);
      int64_t high = bin == 0 ? 0 : 2 * low - 1;
      std::string range = low == high ? fmt::format("{}", low) : fmt::format("{}-{}", low, high);
      if (high >= least)
        fmt::print("{:>15} {:>12}  {}\n", range, bins[bin],
                   std::string(static_cast<size_t>((bins[bin] * 50 + highest - 1) / highest), '#'));
    }
  }

private:
  std::vector<int64_t> bins;
  int64_t count = 0, sum = 0, least = 0, most = 0;
};

void runInspect(const std::string &prefix) {
  requireDataset("PREFIX", prefix);
  IndexedDataset data(prefix);
  const IndexView &index = data.index();
  Histogram sentences, documents;
  int64_t longSentences = 0, single = 0;
  for (int64_t i = 0; i < index.sentences(); ++i) {
    sentences.add(index.size(i));
    longSentences += index.size(i) > 512;
  }
  for (int64_t d = 0; d < index.documents(); ++d) {
    int64_t count = index.firstSentence(d + 1) - index.firstSentence(d);
    documents.add(count);
    single += count == 1;
  }
  fmt::print("{}\n  format       version 1, {} elements\n  documents    {}, {} of one sentence\n"
             "  sentences    {}, {} of more than 512 tokens\n  tokens       {}\n",
             prefix, elementName(index.elementType()), index.documents(), single, index.sentences(),
             longSentences, index.tokens());
  sentences.print("tokens of a sentence");
  documents.print("sentences of a document");
}

void runVerify(const std::string &prefix, const std::string &vocabFile) {
  requireDataset("PREFIX", prefix);
  if (!vocabFile.empty())
    requireFile("--vocab", vocabFile);
  IndexedDataset data(prefix); // checks every rule of the format
  const IndexView &index = data.index();
  std::string about;
  if (!vocabFile.empty()) {
    Vocabulary vocabulary = Vocabulary::load(vocabFile);
    std::vector<int32_t> ids;
    int64_t unknown = 0;
    for (int64_t i = 0; i < index.sentences(); ++i) {
      ids.resize(static_cast<size_t>(index.size(i)));
      data.read(i, 0, ids, vocabulary.size());
      unknown += std::count(ids.begin(), ids.end(), vocabulary.unk);
    }
    about = fmt::format(", every id below {}, {:.2f}% [UNK]", vocabulary.size(),
                        100.0 * static_cast<double>(unknown) /
                            static_cast<double>(std::max<int64_t>(1, index.tokens())));
  }
  fmt::print("{}: sound: {} documents, {} sentences, {} {} tokens{}\n", prefix, index.documents(),
             index.sentences(), index.tokens(), elementName(index.elementType()), about);
}

} // namespace

void addInspect(CLI::App &app) {
  auto prefix = std::make_shared<std::string>();
  CLI::App &command = *app.add_subcommand("inspect", "show counts and lengths of a data set");
  command.add_option("PREFIX", *prefix, "of the files PREFIX.bin and PREFIX.idx")->required();
  command.callback([prefix] { runInspect(*prefix); });
}

void addVerify(CLI::App &app) {
  struct Arguments {
    std::string prefix, vocab;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App &command = *app.add_subcommand(
      "verify", "check every rule of the format; the first violation is shown with its offset");
  command.add_option("PREFIX", arguments->prefix, "of the files PREFIX.bin and PREFIX.idx")
      ->required();
  command.add_option("--vocab", arguments->vocab, "also check that every token id is in this file");
  command.callback([arguments] { runVerify(arguments->prefix, arguments->vocab); });
}

} // namespace seqpar::tool
