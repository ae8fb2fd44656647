#include "seqpar/rt/RunOptions.h"

#include "seqpar/rt/Error.h"
#include "seqpar/rt/LossScale.h"

#include <CLI/CLI.hpp>

#include <cctype>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>

namespace seqpar::rt {

namespace {

CLI::Validator inRange(double least, double most) {
  std::string range = std::isfinite(most) ? fmt::format("from {} to {}", least, most)
                                          : fmt::format("of at least {}", least);
  return {[=](std::string &text) {
            char *end = nullptr;
            double value = std::strtod(text.c_str(), &end);
            bool good = end && !*end && !text.empty() && value >= least && value <= most &&
                        std::isfinite(value);
            return good ? std::string()
                        : fmt::format("expected a number {}, found {}", range, text);
          },
          "", "range"};
}

CLI::Validator existingFile() {
  return {[](std::string &path) {
            std::error_code error;
            auto status = std::filesystem::status(path, error);
            if (std::filesystem::is_regular_file(status))
              return std::string();
            return fmt::format("there is no file {}", path);
          },
          "", "existing file"};
}

CLI::Validator oneOf(const std::string &first, const std::string &second,
                     const std::string &third = "") {
  std::string names =
      third.empty() ? first + " or " + second : first + ", " + second + " or " + third;
  return {[=](std::string &text) {
            if (text == first || text == second || (text == third && !third.empty()))
              return std::string();
            return fmt::format("expected {}, found {}", names, text);
          },
          "", "one of"};
}

/// Options under one heading of the help text.
struct Group {
  CLI::App &app;
  std::string name;

  template <typename T>
  CLI::Option *add(const std::string &option, T &value, const std::string &description) {
    return app.add_option(option, value, description)->group(name);
  }
};

constexpr double kAny = std::numeric_limits<double>::infinity();
constexpr double kMostSteps = 1e9;

void addTraining(CLI::App &app, RunOptions &o) {
  Group group{app, "Training"};
  group
      .add("--steps", o.steps,
           "steps in all, those before a --load included; 0: none, for what is only saved")
      ->check(inRange(0, kMostSteps))
      ->capture_default_str();
  group.add("--seed", o.seed, "of initialisation, dropout and data")
      ->check(inRange(1, 2147483647))
      ->capture_default_str();
  group.add("--lr", o.lr, "peak learning rate")->check(inRange(0, kAny))->capture_default_str();
  group.add("--min-lr", o.minLr, "learning rate after the decay (default: a hundredth of --lr)")
      ->check(inRange(0, kAny));
  group
      .add("--warmup", o.warmup,
           "steps over which the rate grows from 0 (default: a tenth of --steps, at most 1000)")
      ->check(inRange(0, kMostSteps));
  group.add("--decay", o.decay, "step at which the rate is --min-lr (default: --steps)")
      ->check(inRange(1, kMostSteps));
  group.add("--decay-style", o.decayStyle, "linear, cosine or constant")
      ->check(oneOf("linear", "cosine", "constant"))
      ->capture_default_str();
  group.add("--clip", o.clip, "largest global gradient norm; 0: no clipping")
      ->check(inRange(0, kAny))
      ->capture_default_str();
  group.add("--weight-decay", o.weightDecay, "except on biases and layer norms")
      ->check(inRange(0, kAny))
      ->capture_default_str();
  group.add("--loss-scale", o.lossScale, "first loss scale of an fp16 program, which adapts it")
      ->check(inRange(LossScale::kLeast, LossScale::kLargestInitial))
      ->capture_default_str();
}

void addData(CLI::App &app, RunOptions &o) {
  Group group{app, "Data"};
  group.add("--data", o.data,
            "prefix of Megatron files P.bin and P.idx, weighted prefixes \"3 P1 1 P2\", or "
            "synthetic (default: the bundled corpus)");
  group.add("--vocab", o.vocab, "vocabulary file of the Megatron data")->check(existingFile());
  group.add("--splits,--split", o.splits, "weights of train, valid and test")
      ->capture_default_str();
  group.add("--mask-prob", o.maskProb, "share of the positions to predict")
      ->check(inRange(0, 1))
      ->capture_default_str();
  group.add("--short-seq-prob", o.shortSeqProb, "share of shorter samples")
      ->check(inRange(0, 1))
      ->capture_default_str();
  app.add_flag("--no-binary-head", o.noBinaryHead,
               "refuse a model with a sentence-order head; without one samples have no such order")
      ->group(group.name);
  group.add("--cache-dir", o.cacheDir, "folder for the sample maps of Megatron data");
  group.add("--batch-from", o.batchFrom, "safetensors file with the global batch of every step")
      ->check(existingFile());
  group.add("--eval-interval", o.evalInterval, "steps between evaluations; 0: none")
      ->check(inRange(0, kMostSteps))
      ->capture_default_str();
  group.add("--eval-iters", o.evalIters, "global batches of one evaluation")
      ->check(inRange(1, kMostSteps))
      ->capture_default_str();
}

void addFiles(CLI::App &app, RunOptions &o) {
  Group group{app, "Files"};
  group.add("--init-from", o.initFrom, "safetensors file with the initial parameters")
      ->check(existingFile());
  group.add("--save-gradients", o.saveGradients,
            "safetensors file for the first step's gradients, before clipping");
  group.add("--save-parameters", o.saveParameters,
            "safetensors file for the parameters after the last step");
  group.add("--log", o.log, "JSON lines, one per step");
  group.add("--tensorboard", o.tensorboard,
            "folder for an event file of TensorBoard, read as it grows");
  group.add("--save", o.save, "folder for checkpoints");
  group
      .add("--save-interval", o.saveInterval,
           "steps between checkpoints; 0: only after the last step")
      ->check(inRange(0, kMostSteps))
      ->capture_default_str();
  group.add("--load", o.load, "checkpoint, or folder of which the newest one is taken");
  group.add("--memory-report", o.memoryReport, "JSON file, bytes of each rank");
  group.add("--profile", o.profile,
            "JSON file, time of each rank by category and bytes it sent by kind");
  group.add("--trace", o.trace, "Chrome trace of the run's first events, a row per rank");
}

void addMachine(CLI::App &app, RunOptions &o) {
  Group group{app, "Machine"};
  group.add("--device", o.device,
            "cpu or cuda (default: cuda where there is a GPU for it); not needed with --steps=0");
  group
      .add("--cpu-target", o.cpuTarget,
           "instruction set of the kernels: x86-64-v3 or x86-64-v4 (default: the best)")
      ->check(oneOf("x86-64-v3", "x86-64-v4"));
  group
      .add(
          "--threads", o.threads,
          "most threads of a rank, which has never more than its share of the cores; 0: that share")
      ->check(inRange(0, 1024))
      ->capture_default_str();
  group
      .add("--timeout", o.timeout,
           "seconds that a rank waits for another before the run ends with an error; 0: for ever")
      ->check(inRange(0, kMostSteps))
      ->capture_default_str();
  app.add_flag("--dry-run", o.dryRun,
               "check all that a run reads, writes and needs, the first batch too; run nothing and "
               "write no file but the memory report")
      ->group(group.name);
  group
      .add("--log-interval", o.logInterval,
           "steps between printed lines off a terminal; 0: about 50 lines in all")
      ->check(inRange(0, kMostSteps))
      ->capture_default_str();
}

// CLI11's sentences begin with a capital letter; names in capitals stay.
std::string lowerCaseMessage(std::string text) {
  if (text.size() > 1 && !std::isupper(static_cast<unsigned char>(text[1])))
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

} // namespace

void addRunOptions(CLI::App &app, RunOptions &options) {
  addTraining(app, options);
  addData(app, options);
  addFiles(app, options);
  addMachine(app, options);
}

void checkRunOptions(const RunOptions &o) {
  auto wrong = [](const std::string &message) { throw UsageError(message); };
  if (o.minLr > o.lr)
    wrong(fmt::format("--min-lr: {} is above --lr {}", o.minLr, o.lr));
  if (o.warmup >= 0 && o.decay >= 0 && o.decayStyle != "constant" && o.warmup > o.decay)
    wrong(fmt::format("--warmup: {} steps are more than --decay {}", o.warmup, o.decay));
  if (!o.batchFrom.empty() && !o.data.empty())
    wrong("--batch-from: cannot be combined with --data");
  if (!o.batchFrom.empty() && o.evalInterval > 0)
    wrong("--eval-interval: a --batch-from file has no samples to evaluate on");
  if (!o.initFrom.empty() && !o.load.empty())
    wrong("--init-from: cannot be combined with --load");
  const std::pair<const char *, const std::string &> ofSteps[] = {
      {"--save-gradients", o.saveGradients},
      {"--log", o.log},
      {"--tensorboard", o.tensorboard},
      {"--profile", o.profile},
      {"--trace", o.trace}};
  for (auto &[option, path] : ofSteps)
    if (o.steps == 0 && !path.empty())
      wrong(fmt::format("{}: needs at least one step", option));
  if (!o.data.empty() && o.data != "synthetic" && o.vocab.empty())
    wrong("--vocab: Megatron data needs its vocabulary file");
}

void useBundledCorpus(RunOptions &options) {
  if (!options.data.empty() || !options.batchFrom.empty())
    return;
  std::error_code error;
  std::filesystem::path folder =
      std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const char *place :
       {"../../models/corpus", "../../../models/corpus", "../share/seqpar/corpus"}) {
    std::filesystem::path corpus = (folder / place).lexically_normal();
    if (!std::filesystem::exists(corpus / "corpus_text_sentence.idx", error))
      continue;
    options.data = corpus / "corpus_text_sentence";
    if (options.vocab.empty())
      options.vocab = corpus / "vocab.txt";
    return;
  }
  throw UsageError("--data: the bundled corpus is not beside the program: expected Megatron files, "
                   "synthetic, or a --batch-from file");
}

int parseCommandLine(CLI::App &app, int argc, char **argv) {
  try {
    app.parse(argc, argv);
    return -1;
  } catch (const CLI::ParseError &error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success))
      return app.exit(error);
    throw UsageError(lowerCaseMessage(error.what()));
  }
}

} // namespace seqpar::rt
