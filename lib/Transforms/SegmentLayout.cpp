//===- SegmentLayout.cpp - where parameters lie in their segments ---------===//
#include "seqpar/Transforms/SegmentLayout.h"

#include "llvm/ADT/STLExtras.h"

using namespace seqpar;

static int64_t roundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

SegmentLayout seqpar::computeSegmentLayout(llvm::ArrayRef<ParameterInfo> parameters,
                                           const SegmentOptions &options) {
  llvm::SmallVector<llvm::SmallVector<int32_t, 3>> axesOf, axesClasses;
  llvm::SmallVector<llvm::SmallVector<int32_t, 2>> stageClasses;
  for (const ParameterInfo &parameter : parameters) {
    auto &axes = axesOf.emplace_back(parameter.partialAxes);
    llvm::sort(axes);
    if (!llvm::is_contained(axesClasses, axes))
      axesClasses.push_back(axes);
    if (!llvm::is_contained(stageClasses, parameter.stages))
      stageClasses.push_back(parameter.stages);
  }

  SegmentLayout layout;
  layout.members = options.members;
  layout.columns = options.members > 1 ? kShardColumns : kUpdateColumns;
  layout.offsets.resize(parameters.size());
  auto close = [&](int64_t end, const SegmentGroup &like) {
    if (end == layout.elements)
      return;
    int64_t unit = options.members * layout.columns;
    int64_t rows = roundUp(end - layout.elements, unit) / layout.columns;
    layout.groups.push_back({layout.elements, rows, like.partialAxes, like.decay, like.stages});
    layout.elements += rows * layout.columns;
  };
  for (const auto &axes : axesClasses)
    for (const auto &stages : stageClasses)
      for (bool decay : {true, false}) {
        SegmentGroup like = {0, 0, axes, decay, stages};
        int64_t end = layout.elements;
        for (auto [i, parameter] : llvm::enumerate(parameters)) {
          if (axesOf[i] != axes || parameter.stages != stages || parameter.decay != decay)
            continue;
          int64_t bytes = (end + parameter.elements - layout.elements) * 4;
          if (options.bucketBytes && bytes > options.bucketBytes) {
            close(end, like);
            end = layout.elements;
          }
          layout.offsets[i] = end;
          end = roundUp(end + parameter.elements, kBufferAlignment / 4);
        }
        close(end, like);
      }
  return layout;
}
