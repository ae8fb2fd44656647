//===- StageLayout.h - the segments of a stage ------------------*- C++ -*-===//
#pragma once

#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Transforms/SegmentLayout.h"

namespace seqpar {

/// The layout of the parameters that a stage declares, by the stage's buckets and shard axes. The
/// order is that of the declarations.
SegmentLayout computeStageLayout(plan::StageOp stage);

} // namespace seqpar
