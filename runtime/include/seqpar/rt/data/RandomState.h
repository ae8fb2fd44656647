//===- RandomState.h - NumPy's legacy random draws --------------*- C++ -*-===//
//
// The draws of numpy.random.RandomState(seed) that sample building needs, equal bit for bit, on the
// standard's mt19937. The distributions of <random> are not specified exactly, hence these.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <bit>
#include <cstdint>
#include <random>
#include <span>
#include <utility>

namespace seqpar::rt::data {

class RandomState {
public:
  explicit RandomState(uint32_t seed) : engine(seed) {}

  uint32_t bits() { return static_cast<uint32_t>(engine()); }

  /// In [0, 1), 53 bits of two outputs.
  double random() {
    uint32_t high = bits() >> 5, low = bits() >> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
  }

  /// In [low, high), by rejection on the low bits; draws nothing if there is one choice.
  int64_t randint(int64_t low, int64_t high) {
    return low + upTo(static_cast<uint32_t>(high - 1 - low));
  }

  template <typename T> void shuffle(std::span<T> values) {
    for (size_t i = values.size(); i-- > 1;)
      std::swap(values[i], values[upTo(static_cast<uint32_t>(i))]);
  }

  /// choice([1, 2, 3], p = 1, 1/2, 1/3 normalised): the length of a masked n-gram.
  int ngramLength() {
    double u = random();
    return 1 + (u >= 0x1.1745d1745d175p-1) + (u >= 0x1.a2e8ba2e8ba2fp-1);
  }

private:
  uint32_t upTo(uint32_t max) {
    if (max == 0)
      return 0;
    uint32_t mask = ~uint32_t(0) >> std::countl_zero(max), value;
    do
      value = bits() & mask;
    while (value > max);
    return value;
  }

  std::mt19937 engine;
};

} // namespace seqpar::rt::data
