//===- Report.h - what a run tells ------------------------------*- C++ -*-===//
#pragma once

#include "TensorBoard.h"
#include "seqpar/rt/Communicator.h"
#include "seqpar/rt/Profiler.h"
#include "seqpar/rt/Trainer.h"

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

namespace seqpar::rt {

/// Losses of an evaluation.
struct Evaluation {
  double loss = 0, mlmLoss = 0, sopLoss = 0;
};

/// What is told of a step.
struct LoggedStep {
  StepRecord record;
  Evaluation evaluation;
  bool evaluated = false;
};

/// The log file, the event file and the printed lines. Used by the thread that reports.
class Report {
public:
  /// Opens the log; `append` goes on with the one that is there. `plain` prints lines even on a
  /// terminal: that of a launcher, which passes on what processes print, may be a file.
  Report(const RunOptions &options, bool append, bool plain);
  ~Report();

  void step(const LoggedStep &logged);
  /// Ends the progress line. Throws Error when the log could not be written.
  void finish();

private:
  void write(const LoggedStep &logged);
  void writeEvents(const LoggedStep &logged);
  void print(const LoggedStep &logged);

  const RunOptions &options;
  std::FILE *log = nullptr;
  std::optional<TensorBoard> events;
  bool terminal = false, lineOpen = false;
  int64_t interval = 1;
  double smoothMs = 0; ///< of the steps, for the time left
};

/// Writes {"steps": N, "ranks": [{"rank": 0, "gemm_ms": ...}, ...]}. Collective: rank 0 writes.
void writeProfile(const std::string &path, int64_t steps, const Profiler &profiler,
                  Communicator &communicator);

/// Writes the events of all ranks in Chrome's trace format, two or more rows per rank. Collective: rank 0
/// writes.
void writeTrace(const std::string &path, const Profiler &profiler, Communicator &communicator);

} // namespace seqpar::rt
