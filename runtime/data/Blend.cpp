#include "seqpar/rt/data/Blend.h"

#include "ParseNumber.h"
#include "seqpar/rt/Error.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <sstream>

namespace seqpar::rt::data {

// This file is compiled without fused multiply-add: with it the order of a blend differs.

namespace {

double sumEight(std::span<const double> values) {
  double partial[8];
  std::copy_n(values.begin(), 8, partial);
  size_t i = 8;
  for (; i + 8 <= values.size(); i += 8)
    for (size_t k = 0; k < 8; ++k)
      partial[k] += values[i + k];
  double sum = ((partial[0] + partial[1]) + (partial[2] + partial[3])) +
               ((partial[4] + partial[5]) + (partial[6] + partial[7]));
  for (; i < values.size(); ++i)
    sum += values[i];
  return sum;
}

} // namespace

std::vector<WeightedPrefix> parseDataPath(const std::string &text) {
  std::istringstream stream(text);
  std::vector<std::string> words{std::istream_iterator<std::string>(stream), {}};
  if (words.empty())
    fail("data path: expected a prefix P of the files P.bin and P.idx, found nothing");
  if (words.size() == 1 || std::filesystem::exists(text + ".idx"))
    return {{1.0, words.size() == 1 ? words[0] : text}};
  if (words.size() % 2 != 0)
    fail("data path \"{}\": expected one prefix, or weights and prefixes in turn, found {} words",
         text, words.size());
  if (words.size() / 2 > 254)
    fail("data path: expected at most 254 data sets, found {}", words.size() / 2);
  std::vector<WeightedPrefix> result;
  double sum = 0;
  for (size_t i = 0; i < words.size(); i += 2) {
    auto weight = parseNumber<double>(words[i]);
    if (!weight || !(*weight > 0) || !std::isfinite(*weight))
      fail("data path \"{}\": expected a weight above 0, found \"{}\"", text, words[i]);
    result.push_back({*weight, words[i + 1]});
    sum += *weight;
  }
  for (WeightedPrefix &entry : result)
    entry.weight /= sum;
  return result;
}

int64_t memberSamples(int64_t count, double weight) {
  return static_cast<int64_t>(std::ceil(static_cast<double>(count) * weight * 1.005));
}

double numpySum(std::span<const double> values) {
  if (values.size() < 8) {
    double sum = 0;
    for (double value : values)
      sum += value;
    return sum;
  }
  if (values.size() <= 128)
    return sumEight(values);
  size_t half = values.size() / 2;
  half -= half % 8;
  return numpySum(values.first(half)) + numpySum(values.subspan(half));
}

BlendIndex::BlendIndex(std::span<const double> weights, int64_t size)
    : members(static_cast<int64_t>(weights.size())) {
  if (members < 1 || members > 254)
    fail("blend: expected 1 to 254 data sets, found {}", members);
  double sum = numpySum(weights);
  std::vector<double> share(weights.begin(), weights.end());
  for (double &weight : share)
    weight /= sum;
  member.resize(static_cast<size_t>(size));
  given.reserve(static_cast<size_t>((size / blockSize + 1) * members));
  std::vector<int64_t> taken(static_cast<size_t>(members), 0);
  for (int64_t i = 0; i < size; ++i) {
    if (i % blockSize == 0)
      given.insert(given.end(), taken.begin(), taken.end());
    double x = std::max(static_cast<double>(i), 1.0);
    size_t furthest = 0;
    double largest = 0;
    for (size_t m = 0; m < share.size(); ++m) {
      double error = share[m] * x - static_cast<double>(taken[m]);
      if (m == 0 || error > largest) {
        largest = error;
        furthest = m;
      }
    }
    member[static_cast<size_t>(i)] = static_cast<uint8_t>(furthest);
    ++taken[furthest];
  }
}

BlendIndex::Entry BlendIndex::at(int64_t index) const {
  int64_t block = index / blockSize;
  const uint8_t *from = member.data() + block * blockSize, *here = member.data() + index;
  return {*here,
          given[static_cast<size_t>(block * members + *here)] + std::count(from, here, *here)};
}

} // namespace seqpar::rt::data
