//===- Blend.h - several data sets as one -----------------------*- C++ -*-===//
//
// Megatron's greedy rule: sample i comes from the member that is furthest behind its share.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace seqpar::rt::data {

struct WeightedPrefix {
  double weight;
  std::string prefix;
};

/// "P", or "3 A 1 B" with weights that sum to 1 afterwards. Throws Error naming what is wrong.
std::vector<WeightedPrefix> parseDataPath(const std::string &text);

/// ceil(count·weight·1.005), what each member is asked for.
int64_t memberSamples(int64_t count, double weight);

/// Sum as NumPy adds an array of doubles.
double numpySum(std::span<const double> values);

/// Which member gives sample i of a blend of `size`, and which of its samples.
class BlendIndex {
public:
  BlendIndex() = default;
  /// At most 254 weights; they are normalised again.
  BlendIndex(std::span<const double> weights, int64_t size);

  int64_t size() const { return static_cast<int64_t>(member.size()); }
  struct Entry {
    int member;
    int64_t sample;
  };
  Entry at(int64_t index) const;

private:
  /// Samples given by each member before every blockSize-th one; the rest is counted when asked.
  static constexpr int64_t blockSize = 2048;
  int64_t members = 0;
  std::vector<uint8_t> member;
  std::vector<int64_t> given;
};

} // namespace seqpar::rt::data
