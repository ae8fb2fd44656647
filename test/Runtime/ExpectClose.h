//===- ExpectClose.h - numbers that agree up to rounding --------*- C++ -*-===//
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace seqpar::rt::test {

/// As many numbers, within 2e-5 of the largest magnitude of those expected, which is not 0. NaN
/// agrees with nothing.
inline void expectClose(const std::vector<float> &found, const std::vector<float> &expected) {
  float largest = 0;
  for (float value : expected)
    largest = std::max(largest, std::abs(value));
  EXPECT_GT(largest, 0);
  EXPECT_THAT(found, testing::Pointwise(testing::FloatNear(2e-5f * largest), expected));
}

} // namespace seqpar::rt::test
