//===- Float16.h - numbers of 16 bits ---------------------------*- C++ -*-===//
//
// bf16 and f16 as their bits, and the conversions that Device.h means: to 16 bits rounded to the
// nearest, ties to even; infinities stay, and NaN stays NaN. No branches, so loops of them are
// vectorised.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <bit>
#include <cstdint>

namespace seqpar::rt {

constexpr float fromBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

constexpr uint16_t toBf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  // Rounding may carry a NaN on to an infinity, and truncation may lose all of its mantissa.
  bool isNan = (bits & 0x7fffffff) > 0x7f800000;
  return uint16_t(isNan ? bits >> 16 | 0x40 : rounded);
}

constexpr float fromF16(uint16_t bits) {
  uint32_t magnitude = uint32_t(bits & 0x7fff) << 13, exponent = magnitude & 0x0f800000;
  uint32_t moved = magnitude + ((127 - 15) << 23);
  // Infinity and NaN have the largest exponent in fp32 too.
  uint32_t special = moved + ((128 - 16) << 23);
  // Without the leading bit the mantissa counts from 2^-14.
  float subnormal = std::bit_cast<float>(moved + (1 << 23)) - 0x1p-14f;
  uint32_t result = exponent == 0x0f800000 ? special
                    : exponent == 0        ? std::bit_cast<uint32_t>(subnormal)
                                           : moved;
  return std::bit_cast<float>(result | uint32_t(bits & 0x8000) << 16);
}

constexpr uint16_t toF16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits & 0x80000000, magnitude = bits ^ sign;
  // Carries from the mantissa into the exponent are right, up to that of infinity.
  uint32_t normal = (magnitude - ((127 - 15) << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
  // Below 2^-14: the sum with 0.5 has the unit 2^-24 as its last bit, so the addition rounds.
  uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
                       std::bit_cast<uint32_t>(0.5f);
  uint32_t result = magnitude > 0x7f800000    ? 0x7e00
                    : magnitude >= 0x47800000 ? 0x7c00
                    : magnitude < 0x38800000  ? subnormal
                                              : normal;
  return uint16_t(result | sign >> 16);
}

} // namespace seqpar::rt
