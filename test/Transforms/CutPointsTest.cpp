//===- CutPointsTest.cpp - balanced pipeline stages -----------------------===//
#include "seqpar/Transforms/CutPoints.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>
#include <random>

using namespace seqpar;

namespace {

double getLargest(const std::vector<double> &costs, llvm::ArrayRef<unsigned> ends) {
  double largest = 0, sum = 0;
  size_t next = 0;
  for (size_t i = 0; i < costs.size(); ++i) {
    sum += costs[i];
    largest = std::max(largest, sum);
    if (next < ends.size() && ends[next] == i) {
      sum = 0;
      ++next;
    }
  }
  EXPECT_EQ(next, ends.size());
  return largest;
}

/// Over all ways to choose the ends.
double findLeast(const std::vector<double> &costs, unsigned parts) {
  std::vector<bool> chosen(costs.size() - 1);
  std::fill(chosen.begin(), chosen.begin() + (parts - 1), true);
  double least = std::numeric_limits<double>::infinity();
  do {
    std::vector<unsigned> ends;
    for (unsigned i = 0; i < chosen.size(); ++i)
      if (chosen[i])
        ends.push_back(i);
    least = std::min(least, getLargest(costs, ends));
  } while (std::prev_permutation(chosen.begin(), chosen.end()));
  return least;
}

TEST(Balance, IsAsGoodAsAnySplit) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    std::vector<double> costs(1 + random() % 9);
    for (double &cost : costs)
      cost = random() % 50;
    unsigned parts = 1 + random() % costs.size();
    llvm::SmallVector<unsigned> ends = balance(costs, parts);
    ASSERT_EQ(ends.size(), parts - 1);
    EXPECT_TRUE(std::is_sorted(ends.begin(), ends.end()));
    EXPECT_TRUE(std::adjacent_find(ends.begin(), ends.end()) == ends.end());
    EXPECT_EQ(getLargest(costs, ends), findLeast(costs, parts)) << "seed " << seed;
  }
}

TEST(Balance, EveryPartHasAnItem) {
  EXPECT_EQ(balance({0, 0, 0}, 3), (llvm::SmallVector<unsigned>{0, 1}));
  EXPECT_TRUE(balance({5}, 1).empty());
}

} // namespace
