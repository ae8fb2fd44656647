//===- LossScale.h - keeps fp16 gradients in range --------------*- C++ -*-===//
#pragma once

#include <cstdint>

namespace seqpar::rt {

/// The dynamic loss scale of fp16, as Megatron's DynamicGradScaler: losses are multiplied by it
/// before the backward pass and gradients divided by it before the update, so that small gradients
/// do not vanish in 16 bits. A step whose gradients overflow all the same changes nothing but the
/// scale.
///
/// After kGrowthSteps good steps in a row it doubles. An overflow takes one from the hysteresis;
/// once that has run out, each overflow halves the scale, until a doubling restores the hysteresis.
struct LossScale {
  static constexpr double kInitial = 65536, kLargestInitial = 1 << 24;
  static constexpr double kLeast = 1, kMost = 0x1p64; ///< the inverse of the largest is no denormal
  static constexpr int64_t kGrowthSteps = 1000, kHysteresis = 2;

  double scale = kInitial;
  int64_t goodSteps = 0; ///< since the last change or overflow
  int64_t hysteresis = kHysteresis;

  /// After a step whose gradients were finite, or were not.
  void update(bool finite);
  /// Whether overflows can no longer lower the scale.
  bool exhausted() const { return scale <= kLeast && hysteresis <= 0; }

  /// Whether the numbers, read from a file, can be a scale's.
  bool isValid() const {
    return scale >= kLeast && scale <= kMost && goodSteps >= 0 && goodSteps < kGrowthSteps &&
           hysteresis >= 0 && hysteresis <= kHysteresis;
  }

  bool operator==(const LossScale &) const = default;
};

} // namespace seqpar::rt
