//===- Report.h - what a run tells ------------------------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Profiler.h"
#include "seqpar/rt/Trainer.h"

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace seqpar::rt {

/// Losses of an evaluation.
struct Evaluation {
  double loss = 0, mlmLoss = 0, sopLoss = 0;
};

/// The log file and the printed lines. Used by the thread that reports.
class Report {
public:
  /// Opens the log; `append` goes on with the one that is there.
  Report(const RunOptions &options, bool append);
  ~Report();

  void step(const StepRecord &record, const std::optional<Evaluation> &evaluation);
  /// Ends the progress line. Throws Error when the log could not be written.
  void finish();

private:
  void write(const StepRecord &record, const std::optional<Evaluation> &evaluation);
  void print(const StepRecord &record, const std::optional<Evaluation> &evaluation);

  const RunOptions &options;
  std::FILE *log = nullptr;
  bool terminal = false, lineOpen = false;
  int64_t interval = 1;
  double smoothMs = 0; ///< of the steps, for the time left
};

/// Writes {"steps": N, "ranks": [{"rank": 0, "gemm_ms": ...}, ...]}.
void writeProfile(const std::string &path, int64_t steps,
                  std::span<const std::unique_ptr<Profiler>> ranks);

} // namespace seqpar::rt
