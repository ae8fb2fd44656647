//===- Grid.h - which rank is where -----------------------------*- C++ -*-===//
//
// Ranks form a grid of data parallel replicas, pipeline stages and sequence chunks, the sequence
// axis fastest: rank = (dp * PP + pp) * SP + sp.
//
//===----------------------------------------------------------------------===//
#pragma once

namespace seqpar::rt {

/// Bits of a set of axes. A group is all ranks that differ only in those coordinates.
enum Axes : int { kAxisDp = 1, kAxisPp = 2, kAxisSp = 4, kAllAxes = 7 };

struct Coordinates {
  int dp = 0, pp = 0, sp = 0;
};

struct Grid {
  int dp = 1, pp = 1, sp = 1;

  int size() const { return dp * pp * sp; }
  int rankOf(Coordinates at) const { return (at.dp * pp + at.pp) * sp + at.sp; }
  Coordinates of(int rank) const { return {rank / (pp * sp), rank / sp % pp, rank % sp}; }

  int groupSize(int axes) const {
    return (axes & kAxisDp ? dp : 1) * (axes & kAxisPp ? pp : 1) * (axes & kAxisSp ? sp : 1);
  }
  /// Position of `rank` in its group: members are counted in the order of their ranks.
  int groupIndex(int rank, int axes) const {
    Coordinates at = of(rank);
    int index = axes & kAxisDp ? at.dp : 0;
    index = axes & kAxisPp ? index * pp + at.pp : index;
    return axes & kAxisSp ? index * sp + at.sp : index;
  }
  /// Rank of member `index` of the group of `rank`.
  int groupMember(int rank, int axes, int index) const {
    Coordinates at = of(rank);
    if (axes & kAxisSp) {
      at.sp = index % sp;
      index /= sp;
    }
    if (axes & kAxisPp) {
      at.pp = index % pp;
      index /= pp;
    }
    if (axes & kAxisDp)
      at.dp = index;
    return rankOf(at);
  }
};

} // namespace seqpar::rt
