//===- RunOutputs.h - the files that a run writes ---------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/RunOptions.h"

namespace seqpar::rt {

/// Checks that each file the options name can be written, so that a run does not find out at its
/// end. Leaves nothing behind. Throws UsageError naming the option.
void checkOutputs(const RunOptions &options);

} // namespace seqpar::rt
