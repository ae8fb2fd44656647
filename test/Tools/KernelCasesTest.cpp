//===- KernelCasesTest.cpp - what seqpar-kernels compares -----------------===//

#include "Cases.h"
#include "ToyModel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace seqpar::tool {

namespace {

std::vector<float> numbersOf(const Array &array) {
  std::vector<float> numbers(array.bytes.size() / sizeof(float));
  std::memcpy(numbers.data(), array.bytes.data(), array.bytes.size());
  return numbers;
}

Array arrayOf(std::vector<float> numbers) {
  Array array;
  array.bytes.resize(numbers.size() * sizeof(float));
  std::memcpy(array.bytes.data(), numbers.data(), array.bytes.size());
  array.compared = true;
  array.name = "result";
  return array;
}

TEST(KernelCases, DifferencesAreRelativeToTheLargestMagnitude) {
  std::string where;
  EXPECT_NEAR(differenceOf({arrayOf({1, 5, -8})}, {arrayOf({1, 4, -8})}, where), 1.0 / 8, 1e-6);
  EXPECT_EQ(where, "result");
}

// Two devices that are wrong alike are wrong.
TEST(KernelCases, NumbersThatAreNotFiniteDiffer) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (float wrong : {NAN, infinity, -infinity})
    for (auto [found, expected] : {std::pair(wrong, wrong), {wrong, 1.0f}, {1.0f, wrong}}) {
      std::string where;
      EXPECT_TRUE(std::isinf(
          differenceOf({arrayOf({2, found})}, {arrayOf({2, expected})}, where)))
          << found << " " << expected;
      EXPECT_EQ(where, "result");
    }
}

TEST(KernelCases, FactorsOfProductsHaveBothSigns) {
  auto file = rt::ProgramFile::fromBytes(rt::test::toyProgram(rt::test::toyShape(2, 8)), "toy");
  int products = 0;
  for (const Case &each : casesOf(file)) {
    if (each.kind != "gemm")
      continue;
    ++products;
    for (const Array &array : each.arrays) {
      std::vector<float> numbers = numbersOf(array);
      EXPECT_THAT(numbers, testing::Each(testing::AllOf(testing::Ge(-1.0f), testing::Lt(1.0f))));
      EXPECT_LT(std::ranges::min(numbers), -0.5f);
      EXPECT_GT(std::ranges::max(numbers), 0.5f);
    }
  }
  EXPECT_GT(products, 0);
}

} // namespace

} // namespace seqpar::tool
