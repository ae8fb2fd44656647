//===- Float16Test.cpp - conversions to and from 16 bits ------------------===//

#include "seqpar/rt/Float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace seqpar::rt::test {
namespace {

TEST(Float16, EveryF16IsTheCompilers) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    float expected = float(std::bit_cast<_Float16>(uint16_t(bits))),
          found = fromF16(uint16_t(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(found)) << bits;
      ASSERT_TRUE(std::isnan(fromF16(toF16(found)))) << bits;
      continue;
    }
    ASSERT_EQ(std::bit_cast<uint32_t>(found), std::bit_cast<uint32_t>(expected)) << bits;
    ASSERT_EQ(toF16(found), bits);
  }
}

TEST(Float16, RoundsToF16AsTheCompiler) {
  std::mt19937 random(1);
  auto check = [](uint32_t bits) {
    float value = std::bit_cast<float>(bits);
    if (std::isnan(value))
      return std::isnan(fromF16(toF16(value)));
    return toF16(value) == std::bit_cast<uint16_t>(_Float16(value));
  };
  for (int i = 0; i < 2000000; ++i) {
    uint32_t bits = uint32_t(random());
    ASSERT_TRUE(check(bits)) << bits;
    ASSERT_TRUE(check(bits & 0xfffff000)) << bits; // ties
    // Magnitudes from 2^-27 to 2^17, where f16 has numbers or its ends.
    ASSERT_TRUE(check((bits & 0x807fffff) | (100 + random() % 45) << 23)) << bits;
  }
  for (float edge : {65519.996f, 65520.0f, 65536.0f, 0x1p-24f, 0x1p-25f, 0x1.000002p-25f, 0x1p-14f,
                     0.0f, std::numeric_limits<float>::infinity()}) {
    ASSERT_TRUE(check(std::bit_cast<uint32_t>(edge))) << edge;
    ASSERT_TRUE(check(std::bit_cast<uint32_t>(-edge))) << edge;
  }
}

TEST(Float16, EveryBf16IsTheUpperHalfOfAFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    float value = fromBf16(uint16_t(bits));
    ASSERT_EQ(std::bit_cast<uint32_t>(value), bits << 16);
    if (std::isnan(value))
      ASSERT_TRUE(std::isnan(fromBf16(toBf16(value)))) << bits;
    else
      ASSERT_EQ(toBf16(value), bits);
  }
}

TEST(Float16, RoundsToTheNearestBf16) {
  std::mt19937 random(2);
  for (int i = 0; i < 2000000; ++i) {
    uint32_t bits = uint32_t(random());
    if (i % 4 == 0)
      bits = (bits & 0xffff0000) | 0x8000; // a tie
    float value = std::bit_cast<float>(bits);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(fromBf16(toBf16(value)))) << bits;
      continue;
    }
    // Its two neighbours, of which the upper may be infinity: as far away as 2^128 would be.
    uint32_t below = bits >> 16, rest = bits & 0xffff;
    uint32_t expected = rest > 0x8000 || (rest == 0x8000 && below % 2) ? below + 1 : below;
    ASSERT_EQ(toBf16(value), expected) << bits;
  }
  // NaNs whose payload is in the lower half, or that a carry would turn into zero.
  for (uint32_t bits : {0x7f800001u, 0xff800001u, 0x7fffffffu, 0xffffffffu})
    ASSERT_TRUE(std::isnan(fromBf16(toBf16(std::bit_cast<float>(bits))))) << bits;
}

} // namespace
} // namespace seqpar::rt::test
