//===- SegmentLayoutTest.cpp - parameters in groups -----------------------===//
#include "seqpar/Transforms/SegmentLayout.h"

#include "llvm/ADT/STLExtras.h"

#include <gtest/gtest.h>

using namespace seqpar;

namespace {

TEST(SegmentLayout, GroupsHoldEqualParametersWithoutHolesBetweenThem) {
  std::vector<ParameterInfo> parameters = {{5, {0, 2}, false},
                                           {5000, {2, 0}, true},
                                           {7, {0}, true},
                                           {1, {0, 2}, true},
                                           {4096, {}, false}};
  SegmentLayout layout = computeSegmentLayout(parameters);
  ASSERT_EQ(layout.groups.size(), 4u);
  int64_t end = 0;
  for (const SegmentGroup &group : layout.groups) {
    EXPECT_EQ(group.offset, end);
    end += group.rows * kUpdateColumns;
  }
  EXPECT_EQ(layout.elements, end);

  std::vector<int> members(layout.groups.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    int64_t offset = layout.offsets[i];
    EXPECT_EQ(offset * 4 % kBufferAlignment, 0);
    for (size_t g = 0; g < layout.groups.size(); ++g) {
      const SegmentGroup &group = layout.groups[g];
      if (offset < group.offset || offset >= group.offset + group.rows * kUpdateColumns)
        continue;
      ++members[g];
      EXPECT_LE(offset + parameters[i].elements, group.offset + group.rows * kUpdateColumns);
      EXPECT_EQ(group.decay, parameters[i].decay);
      auto axes = parameters[i].partialAxes;
      llvm::sort(axes);
      EXPECT_EQ(group.partialAxes, axes);
    }
    for (size_t j = 0; j < i; ++j)
      EXPECT_TRUE(offset + parameters[i].elements <= layout.offsets[j] ||
                  layout.offsets[j] + parameters[j].elements <= offset);
  }
  EXPECT_EQ(members, (std::vector<int>{2, 1, 1, 1}));
  // The order in which axes are named does not matter: {2, 0} is {0, 2}.
  EXPECT_EQ(layout.offsets[1], 0);
}

TEST(SegmentLayout, ReductionsCoverNeighbours) {
  SegmentLayout layout =
      computeSegmentLayout({{1, {0}, true}, {1, {2}, true}, {1, {0}, false}, {1, {2}, false}});
  ASSERT_EQ(layout.groups.size(), 4u);
  EXPECT_EQ(layout.groups[0].partialAxes, layout.groups[1].partialAxes);
  EXPECT_EQ(layout.groups[2].partialAxes, layout.groups[3].partialAxes);
}

TEST(SegmentLayout, WhatSeveralStagesHoldIsAGroupThatLiesAlike) {
  // The first and the last stage of a pipeline hold parameters 1 and 3; the rest differs.
  ParameterInfo tied{1000, {0, 2}, true, {0, 3}}, bias{10, {0, 2}, false, {0, 3}};
  SegmentLayout first = computeSegmentLayout({{64, {0, 2}, true}, tied, {7, {2}, true}, bias});
  SegmentLayout last = computeSegmentLayout({{5000, {0, 2}, true}, tied, bias});
  auto find = [](const SegmentLayout &layout, bool decay) {
    for (const SegmentGroup &group : layout.groups)
      if (!group.stages.empty() && group.decay == decay)
        return group;
    return SegmentGroup();
  };
  for (bool decay : {true, false}) {
    SegmentGroup a = find(first, decay), b = find(last, decay);
    EXPECT_EQ(a.stages, (llvm::SmallVector<int32_t, 2>{0, 3}));
    EXPECT_EQ(a.rows, 1);
    EXPECT_EQ(b.rows, a.rows);
    EXPECT_EQ(first.offsets[decay ? 1 : 3], a.offset);
    EXPECT_EQ(last.offsets[decay ? 1 : 2], b.offset);
  }
  // Groups with the same axes stay neighbours: one reduction for all of them.
  EXPECT_EQ(first.groups.back().partialAxes, (llvm::SmallVector<int32_t, 3>{2}));
}

TEST(SegmentLayout, BucketsHoldNeighboursUpToTheirSize) {
  // 4 KiB, 8 KiB, 4 KiB, 40 KiB and 4 KiB; the third does not decay.
  std::vector<ParameterInfo> parameters = {{1024, {2}, true},
                                           {2048, {2}, true},
                                           {1024, {2}, false},
                                           {10240, {2}, true},
                                           {1024, {2}, true}};
  SegmentLayout layout = computeSegmentLayout(parameters, {.bucketBytes = 12 << 10});
  // The first two, the large one alone, the last, and the one without decay.
  ASSERT_EQ(layout.groups.size(), 4u);
  EXPECT_EQ(layout.offsets[1], 1024);
  EXPECT_EQ(layout.offsets[3], layout.groups[1].offset);
  EXPECT_EQ(layout.groups[1].rows, 3);
  EXPECT_EQ(layout.offsets[4], layout.groups[2].offset);
  EXPECT_EQ(layout.offsets[2], layout.groups[3].offset);
  EXPECT_FALSE(layout.groups[3].decay);
}

TEST(SegmentLayout, MembersHaveEqualShares) {
  for (int64_t members : {1, 2, 3, 8}) {
    SegmentLayout layout =
        computeSegmentLayout({{40000, {2}, true}, {7, {2}, false}}, {.members = members});
    int64_t moments = 0;
    for (const SegmentGroup &group : layout.groups) {
      EXPECT_EQ(group.rows % members, 0);
      EXPECT_LT(group.rows, (40000 + layout.columns - 1) / layout.columns + members);
      EXPECT_EQ(layout.getMomentBytes(group), moments);
      moments += group.rows / members * layout.columns * 4;
    }
    EXPECT_EQ(layout.getSecondMomentBytes(), moments);
  }
}

TEST(SegmentLayout, NoParameters) {
  SegmentLayout layout = computeSegmentLayout({});
  EXPECT_EQ(layout.elements, 0);
  EXPECT_TRUE(layout.groups.empty());
}

} // namespace
