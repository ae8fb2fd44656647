#include "Options.h"

#include "seqpar/rt/Error.h"
#include "seqpar/rt/data/Blend.h"
#include "seqpar/rt/data/Splits.h"

#include <filesystem>
#include <unistd.h>

namespace seqpar::tool {

void requireFile(const char *option, const std::string &path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    usage("{}: no such file: {}", option, path);
  if (std::filesystem::is_directory(path, error) || access(path.c_str(), R_OK) != 0)
    usage("{}: not a readable file: {}", option, path);
}

void requireDataset(const char *option, const std::string &prefix) {
  requireFile(option, prefix + ".idx");
  requireFile(option, prefix + ".bin");
}

void addDataOptions(CLI::App &command, rt::data::DataOptions &options) {
  command
      .add_option(
          "--data-path", options.dataPath,
          "prefix P of the files P.bin and P.idx, or weights and prefixes in turn: \"3 A 1 B\"")
      ->required();
  command.add_option("--vocab", options.vocabFile, "vocabulary file, one token a line")->required();
  command.add_option("--splits", options.splits, "weights of train, valid and test");
  command.add_option("--seq-length", options.seqLength, "positions of a sample");
  command.add_option("--train-iters", options.trainIters, "training steps")->required();
  command.add_option("--global-batch", options.globalBatch, "samples of a step")->required();
  command.add_option("--eval-interval", options.evalInterval, "steps between evaluations");
  command.add_option("--eval-iters", options.evalIters, "steps of an evaluation");
  command.add_option("--seed", options.seed, "seed of the data order and masking, above 0");
  command.add_option("--mask-prob", options.maskProb, "share of the positions to predict");
  command.add_option("--short-seq-prob", options.shortSeqProb, "share of shortened samples");
  command.add_flag_callback(
      "--no-binary-head", [&options] { options.binaryHead = false; },
      "samples of one segment, without a sentence-order label");
  command.add_option("--cache-dir", options.cacheDir,
                     "folder of the sample-map files; without it maps stay in memory");
}

void checkDataOptions(const rt::data::DataOptions &options) {
  requireFile("--vocab", options.vocabFile);
  if (options.seqLength < 5)
    usage("--seq-length: expected 5 or more, found {}", options.seqLength);
  if (options.seed < 1)
    usage("--seed: expected a number above 0, found {}", options.seed);
  if (!(options.maskProb >= 0 && options.maskProb <= 1))
    usage("--mask-prob: expected 0 to 1, found {}", options.maskProb);
  if (!(options.shortSeqProb >= 0 && options.shortSeqProb <= 1))
    usage("--short-seq-prob: expected 0 to 1, found {}", options.shortSeqProb);
  if (options.trainIters < 0)
    usage("--train-iters: expected 0 or more, found {}", options.trainIters);
  if (options.evalIters < 0)
    usage("--eval-iters: expected 0 or more, found {}", options.evalIters);
  if (options.globalBatch < 1)
    usage("--global-batch: expected 1 or more, found {}", options.globalBatch);
  if (options.evalInterval < 1)
    usage("--eval-interval: expected 1 or more, found {}", options.evalInterval);
  std::vector<rt::data::WeightedPrefix> entries;
  try {
    rt::data::splitBoundaries(options.splits, 0);
  } catch (const rt::Error &error) {
    usage("--{}", error.what());
  }
  try {
    entries = rt::data::parseDataPath(options.dataPath);
  } catch (const rt::Error &error) {
    usage("--data-path: {}", error.what());
  }
  for (const auto &entry : entries)
    requireDataset("--data-path", entry.prefix);
}

} // namespace seqpar::tool
