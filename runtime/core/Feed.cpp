#include "seqpar/rt/Feed.h"

#include "seqpar/rt/Error.h"

#include <numeric>

namespace seqpar::rt {

void GlobalBatch::resize(int64_t newSamples, int64_t newLength) {
  samples = newSamples;
  length = newLength;
  size_t positions = static_cast<size_t>(samples * length);
  for (auto *array : {&tokens, &types, &labels, &lossMask, &paddingMask})
    array->resize(positions);
  isRandom.resize(static_cast<size_t>(samples));
}

void GlobalBatch::countLossTokens() {
  lossTokens = std::accumulate(lossMask.begin(), lossMask.end(), int64_t(0));
}

void checkBatch(const GlobalBatch &batch, const BatchLimits &limits) {
  if (batch.samples != limits.samples || batch.length != limits.length)
    fail("the data gives batches of {} samples of {} positions, the program takes {} of {}",
         batch.samples, batch.length, limits.samples, limits.length);
  auto below = [&](const char *what, int64_t at, int32_t value, int64_t limit) {
    if (value < 0 || value >= limit)
      fail("sample {}, position {}: {} {} is not in 0 to {}", batch.firstSample + at / batch.length,
           at % batch.length, what, value, limit - 1);
  };
  for (int64_t i = 0; i < batch.samples * batch.length; ++i) {
    size_t at = static_cast<size_t>(i);
    below("token", i, batch.tokens[at], limits.vocabulary);
    below("type", i, batch.types[at], limits.types);
    below("loss mask", i, batch.lossMask[at], 2);
    below("padding mask", i, batch.paddingMask[at], 2);
    if (batch.lossMask[at])
      below("label", i, batch.labels[at], limits.vocabulary);
  }
  for (int64_t b = 0; b < batch.samples; ++b)
    if (int32_t value = batch.isRandom[static_cast<size_t>(b)]; value != 0 && value != 1)
      fail("sample {}: sentence order {} is not 0 or 1", batch.firstSample + b, value);
}

} // namespace seqpar::rt
