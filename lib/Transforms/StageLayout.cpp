//===- StageLayout.cpp - the segments of a stage --------------------------===//
#include "seqpar/Transforms/StageLayout.h"

using namespace mlir;
using namespace seqpar;

SegmentLayout seqpar::computeStageLayout(plan::StageOp stage) {
  SmallVector<ParameterInfo> infos;
  for (auto parameter : stage.getOps<plan::ParameterOp>())
    infos.push_back({cast<MemRefType>(parameter.getResult().getType()).getNumElements(),
                     SmallVector<int32_t, 3>(parameter.getPartialAxes()), parameter.getDecay(),
                     SmallVector<int32_t, 2>(parameter.getStages())});
  SegmentOptions options;
  options.bucketBytes = stage.getBucketBytes();
  sp::GridAttr grid = stage->getParentOfType<plan::ProgramOp>().getGrid();
  for (int32_t axis : stage.getShardAxes())
    options.members *= grid.getSize(static_cast<sp::Axis>(axis));
  return computeSegmentLayout(infos, options);
}
