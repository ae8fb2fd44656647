#include "seqpar/rt/data/Splits.h"

#include "ParseNumber.h"
#include "seqpar/rt/Error.h"

#include <cmath>
#include <vector>

namespace seqpar::rt::data {

namespace {

std::array<double, 3> splitFractions(const std::string &weights) {
  char separator = weights.find(',') != std::string::npos ? ',' : '/';
  std::vector<double> numbers;
  for (size_t begin = 0; begin <= weights.size();) {
    size_t end = std::min(weights.find(separator, begin), weights.size());
    auto number = parseNumber<double>(std::string_view(weights).substr(begin, end - begin));
    if (!number || !(*number >= 0) || !std::isfinite(*number))
      fail("splits \"{}\": expected weights that are not negative, like 949,50,1, found \"{}\"",
           weights, weights.substr(begin, end - begin));
    numbers.push_back(*number);
    begin = end + 1;
  }
  numbers.resize(3, 0.0);
  double sum = 0;
  for (double number : numbers)
    sum += number;
  if (!(sum > 0) || !std::isfinite(sum))
    fail("splits \"{}\": the first three weights sum to {}, expected more than 0", weights, sum);
  return {numbers[0] / sum, numbers[1] / sum, numbers[2] / sum};
}

} // namespace

std::array<int64_t, 4> splitBoundaries(const std::string &weights, int64_t documents) {
  std::array<double, 3> fractions = splitFractions(weights);
  std::array<int64_t, 4> bounds{};
  for (int k = 0; k < 3; ++k)
    bounds[k + 1] = bounds[k] + static_cast<int64_t>(
                                    std::nearbyint(fractions[k] * static_cast<double>(documents)));
  int64_t difference = bounds[3] - documents;
  for (int k = 1; k < 4; ++k)
    bounds[k] -= difference;
  for (int k = 0; k < 3; ++k)
    if (bounds[k] < 0 || bounds[k + 1] < bounds[k])
      fail("splits \"{}\": rounding over {} documents gives the boundaries {} {} {} {}; choose "
           "other "
           "weights",
           weights, documents, bounds[0], bounds[1], bounds[2], bounds[3]);
  return bounds;
}

} // namespace seqpar::rt::data
