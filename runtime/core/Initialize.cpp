#include "Initialize.h"

#include "seqpar/rt/Philox.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

namespace seqpar::rt {

using namespace program;

int64_t elementsOf(const Parameter &parameter) {
  int64_t elements = 1;
  if (parameter.shape())
    for (int64_t extent : *parameter.shape())
      elements *= extent;
  return elements;
}

namespace {

uint64_t hash(std::string_view name) {
  uint64_t value = 0xcbf29ce484222325u;
  for (char letter : name)
    value = (value ^ static_cast<unsigned char>(letter)) * 0x100000001b3u;
  return value;
}

// Box-Muller: two uniform words to two normal deviates.
void normalPair(uint32_t first, uint32_t second, float deviation, float *to) {
  constexpr float kUnit = 0x1p-32f;
  // In (0, 1], so that the logarithm is finite.
  float uniform = (static_cast<float>(first) + 1.0f) * kUnit;
  float radius = deviation * std::sqrt(-2.0f * std::log(std::min(uniform, 1.0f)));
  float angle = 2.0f * std::numbers::pi_v<float> * (static_cast<float>(second) * kUnit);
  to[0] = radius * std::cos(angle);
  to[1] = radius * std::sin(angle);
}

} // namespace

void initialValues(const Parameter &parameter, uint32_t seed, int64_t first,
                   std::span<float> values) {
  if (parameter.initializer() != Initializer::Normal) {
    std::fill(values.begin(), values.end(),
              parameter.initializer() == Initializer::Ones ? 1.0f : 0.0f);
    return;
  }
  uint64_t name = hash(parameter.name()->string_view());
  for (size_t at = 0; at < values.size(); at += 4) {
    uint64_t block = (static_cast<uint64_t>(first) + at) / 4;
    PhiloxBlock words = philox({{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                                 static_cast<uint32_t>(name), static_cast<uint32_t>(name >> 32)}},
                               {{seed, 0}});
    float normal[4];
    normalPair(words.word[0], words.word[1], parameter.deviation(), normal);
    normalPair(words.word[2], words.word[3], parameter.deviation(), normal + 2);
    std::copy_n(normal, std::min<size_t>(4, values.size() - at), values.begin() + at);
  }
}

std::pair<int64_t, int64_t> ShareOfWork::of(int64_t elements) const {
  int64_t blocks = (elements + 3) / 4;
  auto bound = [&](int64_t share) { return std::min(elements, blocks * share / count * 4); };
  return {bound(index), bound(index + 1)};
}

} // namespace seqpar::rt
