//===- RunInputs.h - what a run reads ---------------------------*- C++ -*-===//
#pragma once

#include "ParameterFiles.h"
#include "RunFeeds.h"
#include "seqpar/rt/ProgramFile.h"
#include "seqpar/rt/RunOptions.h"
#include "seqpar/rt/Safetensors.h"

#include <memory>

namespace seqpar::rt {

class Processes;

struct RunInputs {
  std::unique_ptr<SafetensorsFile> initial, checkpoint; ///< null: not given
  RunPosition start;                                    ///< that of the checkpoint
  RunFeeds feeds;                                       ///< none when no step is asked for
};

/// Opens and checks all that the options name, but for the batches themselves. Of several processes
/// all call it, and what each reads must be the same, whatever its path. Sample maps are written
/// unless it is a dry run. Throws Error.
RunInputs openInputs(const ProgramFile &file, const RunOptions &options, Processes *processes);

} // namespace seqpar::rt
