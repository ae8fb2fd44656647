//===- SegmentLayout.cpp - where parameters lie in their segments ---------===//
#include "seqpar/Transforms/SegmentLayout.h"

#include "llvm/ADT/STLExtras.h"

using namespace seqpar;

static int64_t roundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

SegmentLayout seqpar::computeSegmentLayout(llvm::ArrayRef<ParameterInfo> parameters) {
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
  layout.offsets.resize(parameters.size());
  for (const auto &axes : axesClasses)
    for (const auto &stages : stageClasses)
      for (bool decay : {true, false}) {
        int64_t end = layout.elements;
        for (auto [i, parameter] : llvm::enumerate(parameters)) {
          if (axesOf[i] != axes || parameter.stages != stages || parameter.decay != decay)
            continue;
          layout.offsets[i] = end;
          end = roundUp(end + parameter.elements, kBufferAlignment / 4);
        }
        if (end == layout.elements)
          continue;
        int64_t rows = roundUp(end - layout.elements, kUpdateColumns) / kUpdateColumns;
        layout.groups.push_back({layout.elements, rows, axes, decay, stages});
        layout.elements += rows * kUpdateColumns;
      }
  return layout;
}
