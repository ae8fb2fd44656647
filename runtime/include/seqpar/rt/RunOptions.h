//===- RunOptions.h - run-time options of the tools -------------*- C++ -*-===//
//
// The options that seqpar-run and seqpar-exec share: everything about a run that is not compiled
// into the program.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <string>

namespace CLI {
class App;
}

namespace seqpar::rt {

struct RunOptions {
  // Length of the run and randomness.
  int64_t steps = 200; ///< in all, those before a --load included; 0: none, for what is only saved
  uint32_t seed = 1234;

  // Optimiser and schedule.
  double lr = 1e-3;
  double minLr = -1;   ///< after the decay; -1: a hundredth of lr
  int64_t warmup = -1; ///< steps; -1: a tenth of the steps, at most 1000
  int64_t decay = -1;  ///< step at which the rate reaches minLr; -1: the last
  std::string decayStyle = "linear";
  double clip = 1.0; ///< largest gradient norm; 0: no clipping
  double weightDecay = 0.01;
  double lossScale = 65536; ///< at first, of a program that has one (see LossScale.h)

  // Data: a file of batches, "synthetic", or a Megatron data path. None: the bundled corpus.
  std::string batchFrom, data, vocab, cacheDir;
  std::string splits = "949,50,1";
  double maskProb = 0.15, shortSeqProb = 0.1;
  /// Refuses a model with a sentence-order head. Samples have a sentence order if the model has.
  bool noBinaryHead = false;
  int64_t evalInterval = 0, evalIters = 10;

  // Files.
  std::string initFrom, saveGradients, saveParameters, log, tensorboard, save, load, memoryReport,
      profile, trace;
  int64_t saveInterval = 0; ///< steps between checkpoints; 0: only at the end

  // Machine.
  std::string device;    ///< cpu or cuda; empty: see resolveDevice
  std::string cpuTarget; ///< instruction set of the kernels; empty: the best the host has
  int threads = 0;       ///< most threads of one rank, beside its share of the cores; 0: that share
  double timeout = 60;   ///< seconds that a rank waits for another before the run ends; 0: for ever
  bool dryRun = false;   ///< check all that a run needs, write the memory report, run nothing
  int64_t logInterval = 0; ///< steps between printed lines off a terminal; 0: about 50 in all
};

/// Adds the options, in groups, with units and defaults.
void addRunOptions(CLI::App &app, RunOptions &options);

/// Checks that the options go together. Throws UsageError.
void checkRunOptions(const RunOptions &options);

/// Names the bundled corpus when the options name no data. It is found from the folder of the
/// running program: ../../models/corpus in a build, ../share/seqpar/corpus when installed. Throws
/// UsageError when it is not there.
void useBundledCorpus(RunOptions &options);

/// Parses the command line. Returns -1 when the tool should go on, else its exit code: 0 after
/// --help. Throws UsageError with one lower-case line that names the option.
int parseCommandLine(CLI::App &app, int argc, char **argv);

} // namespace seqpar::rt
