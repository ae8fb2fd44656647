//===- MegatronFeed.h - batches from Megatron files -------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Feed.h"
#include "seqpar/rt/data/PretrainingData.h"

#include <memory>

namespace seqpar::rt {

/// Samples of one split in Megatron's "single" order: sample n of the run is sample n of the split,
/// and after the last one the first comes again. `data` is shared by the feeds of its splits.
std::unique_ptr<Feed> createMegatronFeed(std::shared_ptr<const data::PretrainingData> data,
                                         data::Split split, int64_t samples);

} // namespace seqpar::rt
