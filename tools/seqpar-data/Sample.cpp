//===- Sample.cpp - the commands sample and index ---------------------------===//

#include "Options.h"
#include "SampleOutput.h"
#include "seqpar/rt/Error.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>

namespace seqpar::tool {

using namespace seqpar::rt::data;

namespace {

struct SampleArguments {
  DataOptions data;
  std::string split = "train", npy;
  int64_t from = 0, count = -1;
  bool crc32 = false, text = false;
};

void printText(const SampleArguments &arguments, int64_t index, const Sample &sample,
               const PretrainingData &data) {
  int64_t predicted = std::accumulate(sample.lossMask.begin(), sample.lossMask.end(), int64_t(0));
  std::string order = !arguments.data.binaryHead ? ""
                      : sample.isRandom          ? ", segments swapped"
                                                 : ", segments in order";
  fmt::print("{} {}: {} tokens, {} to predict{}{}\n{}\n", arguments.split, index, sample.tokens,
             predicted, order, sample.truncated ? ", truncated" : "", sampleText(sample, data));
}

void runSample(SampleArguments &arguments) {
  checkDataOptions(arguments.data);
  if (arguments.from < 0)
    usage("--from: expected 0 or more, found {}", arguments.from);
  Split split = parseSplit(arguments.split);
  PretrainingData data(arguments.data);
  int64_t size = data.size(split), count = arguments.count;
  if (size == 0)
    rt::fail("the {} split has no samples: no documents fall to it with --splits={}, or none are "
             "asked for",
             arguments.split, arguments.data.splits);
  if (count < 0)
    count = arguments.crc32 || !arguments.npy.empty() ? size - arguments.from : 1;
  if (arguments.from > size || count > size - arguments.from)
    usage("--from and --count: samples {} to {} are not all among the {} of the {} split",
          arguments.from, arguments.from + count - 1, size, arguments.split);
  std::optional<SampleArrays> arrays;
  if (!arguments.npy.empty())
    arrays.emplace(arguments.npy, arguments.split, count, data);
  bool text = arguments.text || (!arguments.crc32 && !arrays);
  Sample sample;
  for (int64_t i = arguments.from; i < arguments.from + count; ++i) {
    data.sample(split, i, sample);
    if (arguments.crc32)
      fmt::print("{} {}\n", i, sampleCrc32(sample));
    if (text)
      printText(arguments, i, sample, data);
    if (arrays)
      arrays->add(sample);
  }
  if (arrays)
    arrays->commit();
}

void runIndex(const DataOptions &options) {
  checkDataOptions(options);
  if (options.cacheDir.empty())
    usage("--cache-dir: required, the folder that gets the sample-map files");
  PretrainingData data(options);
  for (Split split : {Split::train, Split::valid, Split::test})
    fmt::print("{}: {} samples, {} wanted\n", splitName(split), data.size(split),
               data.wanted(split));
}

} // namespace

void addSample(CLI::App &app) {
  auto arguments = std::make_shared<SampleArguments>();
  CLI::App &command = *app.add_subcommand("sample", "build samples and show them");
  addDataOptions(command, arguments->data);
  command.add_option("--split", arguments->split, "train, valid or test")
      ->check(CLI::IsMember({"train", "valid", "test"}));
  command.add_option("--from", arguments->from, "first sample");
  command
      .add_option("--count", arguments->count,
                  "number of samples; without it 1 as text, all otherwise")
      ->check(CLI::NonNegativeNumber);
  command.add_flag("--crc32", arguments->crc32,
                   "a line INDEX CRC32 per sample, over its int64 arrays text, types, labels, "
                   "is_random, loss_mask, padding_mask, truncated");
  command.add_flag("--text", arguments->text,
                   "the sample as words; a position to predict shows its label behind an arrow");
  command.add_option("--npy", arguments->npy, "folder that gets the arrays as SPLIT_KEY.npy");
  command.callback([arguments] { runSample(*arguments); });
}

void addIndex(CLI::App &app) {
  auto options = std::make_shared<DataOptions>();
  CLI::App &command =
      *app.add_subcommand("index", "build the sample maps of all splits in a cache folder");
  addDataOptions(command, *options);
  command.callback([options] { runIndex(*options); });
}

} // namespace seqpar::tool
