//===- DeviceAttention.h - attention on a device and in double --*- C++ -*-===//
#pragma once

#include "DeviceConformance.h"

namespace seqpar::rt::test {

/// Whole attention: all keys, and the gradients for a random dout.
struct AttentionProblem {
  AttentionProblem(int64_t batch, int64_t heads, int64_t headDim, int64_t queries, int64_t keys);
  /// Each key counts with this probability.
  void randomMask(double probability);
  /// Operands of 16 bits; the host's hold numbers of the type.
  void setType(FloatType operands, FloatType result);

  int64_t batch, heads, headDim, queries, keys;
  float scale;
  FloatType type = FloatType::F32, outType = FloatType::F32;
  std::vector<float> q, k, v, dout;
  std::vector<int32_t> mask;      ///< [batch, keys], ones at first
  std::vector<int32_t> samples;   ///< [batch]
  AttentionDropout dropout;       ///< offsets are those of the first query and key; no samples
  float keyGradientsBefore = NAN; ///< what dk and dv hold before; a number: it is added to
};

template <typename T> struct AttentionValues {
  std::vector<T> out, lse, delta, dq, dk, dv;
};
using AttentionGradients = AttentionValues<float>;
using AttentionReference = AttentionValues<double>;

/// Forward and backward in blocks of keys of these sizes, taken in this order (empty: as they are).
/// dk and dv come back for all keys.
AttentionGradients runAttention(Device &device, const AttentionProblem &problem,
                                const std::vector<int64_t> &blocks, std::vector<int> order = {});

/// The same by the definition.
AttentionReference attentionReference(const AttentionProblem &problem);

} // namespace seqpar::rt::test
