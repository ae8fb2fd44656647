//===- RandomBatch.h - batches for the toy model ----------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Feed.h"

#include <cstdint>
#include <random>

namespace seqpar::rt::test {

/// Random tokens; sample lengths from 1 to all; some positions to predict, the first sample's
/// second position always.
inline GlobalBatch randomBatch(int64_t samples, int64_t length, uint32_t seed,
                               double predicted = 0.3) {
  std::mt19937 random(seed);
  GlobalBatch batch;
  batch.resize(samples, length);
  for (int64_t b = 0; b < samples; ++b) {
    int64_t used = b == 0 ? length : 1 + random() % length;
    for (int64_t i = 0; i < length; ++i) {
      size_t at = static_cast<size_t>(b * length + i);
      bool predict = i < used && random() % 1000 < predicted * 1000;
      batch.tokens[at] = i < used ? static_cast<int32_t>(random() % 16) : 0;
      batch.labels[at] = predict ? static_cast<int32_t>(random() % 16) : -1;
      batch.lossMask[at] = predict;
      batch.paddingMask[at] = i < used;
    }
  }
  batch.countLossTokens();
  return batch;
}

} // namespace seqpar::rt::test
