//===- RunFeeds.h - the feeds that a run's options name ---------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Feed.h"
#include "seqpar/rt/ProgramFile.h"
#include "seqpar/rt/RunOptions.h"

#include <memory>

namespace seqpar::rt {

struct RunFeeds {
  std::unique_ptr<Feed> train;
  std::unique_ptr<Feed> valid; ///< null when the run does not evaluate
};
/// Opens and checks the files. Sample maps are written unless it is a dry run. Throws Error.
RunFeeds createFeeds(const ProgramFile &file, const RunOptions &options);

/// What the program can take.
BatchLimits batchLimits(const ProgramFile &file);

} // namespace seqpar::rt
