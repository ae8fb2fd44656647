#include "seqpar/rt/LossScale.h"

#include <algorithm>

namespace seqpar::rt {

void LossScale::update(bool finite) {
  if (!finite) {
    goodSteps = 0;
    hysteresis = std::max<int64_t>(hysteresis - 1, 0);
    if (hysteresis == 0)
      scale = std::max(scale / 2, kLeast);
    return;
  }
  if (++goodSteps < kGrowthSteps)
    return;
  goodSteps = 0;
  hysteresis = kHysteresis;
  scale = std::min(scale * 2, kMost);
}

} // namespace seqpar::rt
