//===- SegmentLayout.h - where parameters lie in their segments -*- C++ -*-===//
//
// Values, gradients and both moments of a parameter lie at the same element offset of their arrays,
// so that the update runs over many parameters at once. Parameters whose gradients are partial sums
// over the same axes, and which agree on weight decay and on the pipeline stages that hold them,
// form a group: a whole number of rows of elements. The elements between and behind the
// parameters of a group are zero from the start (the runtime clears the segments) and the update
// keeps them so. What several stages hold lies alike in each of them, so that they can exchange
// whole groups. A group is a bucket, whose gradients are reduced together, so its size may be
// limited. Ranks that share the update each have an equal number of the rows of every group.
//
// The optimiser-state segment holds all first moments that a rank updates, then all second moments.
// The gradient segment holds the gradients, then the metrics.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>

namespace seqpar {

/// Columns of the rows in which the update walks through a group; fewer where ranks share it, since
/// a group is padded to as many rows for each.
inline constexpr int64_t kUpdateColumns = 4096, kShardColumns = 512;

/// Alignment of every buffer, in bytes.
inline constexpr int64_t kBufferAlignment = 64;

inline int64_t alignBuffer(int64_t bytes) {
  return (bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
}

/// What the layout depends on.
struct ParameterInfo {
  int64_t elements = 0;
  llvm::SmallVector<int32_t, 3> partialAxes; ///< axes over which its gradient is a partial sum
  bool decay = false;
  llvm::SmallVector<int32_t, 2> stages; ///< that hold it, when several do
};

/// How the parameters are cut into groups.
struct SegmentOptions {
  int64_t members = 1;     ///< ranks that share the update
  int64_t bucketBytes = 0; ///< largest group of more than one parameter; 0: no limit
};

/// `rows` rows of every array from element `offset` on.
struct SegmentGroup {
  int64_t offset = 0; ///< a multiple of the layout's columns
  int64_t rows = 0;
  llvm::SmallVector<int32_t, 3> partialAxes; ///< ascending
  bool decay = false;
  llvm::SmallVector<int32_t, 2> stages; ///< that hold its parameters, when several do
};

/// Offsets and sizes in elements of 4 bytes; plan.range and plan.parameter take bytes.
struct SegmentLayout {
  llvm::SmallVector<int64_t> offsets; ///< of each parameter, in the order given; multiples of 16
  llvm::SmallVector<SegmentGroup> groups; ///< ascending by offset, without holes between them
  int64_t elements = 0; ///< of one array: values, gradients, or one of the moments of all members
  int64_t members = 1;  ///< ranks that share the update
  int64_t columns = kUpdateColumns; ///< of the rows

  /// Offset in bytes of the second moments in the optimiser-state segment of each member.
  int64_t getSecondMomentBytes() const { return elements / members * 4; }
  /// Offset in bytes of a group's moments from the first of their array.
  int64_t getMomentBytes(const SegmentGroup &group) const { return group.offset / members * 4; }
  /// Offset in bytes of the first metric in the gradient segment; each takes kBufferAlignment.
  int64_t getMetricBytes() const { return elements * 4; }
};

/// Groups of one set of partial axes follow each other, in the order in which the sets first occur,
/// and in them groups of the same stages; of each the parameters with weight decay come first;
/// the given order stays within them, and they are cut into groups in that order.
SegmentLayout computeSegmentLayout(llvm::ArrayRef<ParameterInfo> parameters,
                                   const SegmentOptions &options = {});

} // namespace seqpar
