//===- Philox.h - random numbers by coordinates -----------------*- C++ -*-===//
//
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four
// 32-bit words as a function of a 128-bit counter and a 64-bit key. What a random number is used
// for is written into the counter and the key, so it never depends on ranks, threads, tiles or
// earlier draws.
//
// Dropout. An element with coordinates (seed, step, site; sample, head, position, index) is dropped
// when its word is below dropoutThreshold(rate), else kept and scaled by 1 / (1 - rate). `index` is
// the key position for attention probabilities and the feature for activations (whose head is 0).
// Four neighbouring indices share one block:
//
//   counter = { index / 4, position, sample, site << 16 | head }   key = { seed, step }
//   word    = block[index % 4]
//
// Sites and heads are below 65536.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>

namespace seqpar::rt {

inline constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u, kPhiloxMultiplier1 = 0xCD9E8D57u;
inline constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u, kPhiloxWeyl1 = 0xBB67AE85u;
inline constexpr int kPhiloxRounds = 10;

struct PhiloxBlock {
  uint32_t word[4];
};
struct PhiloxKey {
  uint32_t word[2];
};

inline PhiloxBlock philox(PhiloxBlock counter, PhiloxKey key) {
  uint32_t x0 = counter.word[0], x1 = counter.word[1], x2 = counter.word[2], x3 = counter.word[3];
  uint32_t k0 = key.word[0], k1 = key.word[1];
  for (int round = 0; round < kPhiloxRounds; ++round) {
    uint64_t p0 = uint64_t(kPhiloxMultiplier0) * x0, p1 = uint64_t(kPhiloxMultiplier1) * x2;
    x0 = uint32_t(p1 >> 32) ^ x1 ^ k0;
    x1 = uint32_t(p1);
    x2 = uint32_t(p0 >> 32) ^ x3 ^ k1;
    x3 = uint32_t(p0);
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
  return {{x0, x1, x2, x3}};
}

/// Words below this are dropped. `rate` is in [0, 1).
inline uint32_t dropoutThreshold(float rate) { return uint32_t(double(rate) * 4294967296.0); }

/// The word of one element; see the layout above.
inline uint32_t dropoutWord(uint32_t seed, uint32_t step, uint32_t site, uint32_t sample,
                            uint32_t head, uint32_t position, uint32_t index) {
  PhiloxBlock block = philox({{index / 4, position, sample, site << 16 | head}}, {{seed, step}});
  return block.word[index % 4];
}

} // namespace seqpar::rt
