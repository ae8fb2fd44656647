#include "seqpar/rt/Schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace seqpar::rt {

double Schedule::rate(int64_t step) const {
  if (warmup > 0 && step <= warmup)
    return peak * static_cast<double>(step) / static_cast<double>(warmup);
  if (style == DecayStyle::Constant)
    return peak;
  if (step > decay || decay <= warmup)
    return minimum;
  double done = static_cast<double>(step - warmup) / static_cast<double>(decay - warmup);
  double left =
      style == DecayStyle::Linear ? 1.0 - done : 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  return minimum + left * (peak - minimum);
}

} // namespace seqpar::rt
