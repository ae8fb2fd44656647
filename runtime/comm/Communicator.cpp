#include "seqpar/rt/Communicator.h"

namespace seqpar::rt {

size_t elementBytes(ElementType type) {
  return type == ElementType::F64 || type == ElementType::I64 ? 8 : 4;
}

const char *trafficName(Traffic traffic) {
  static constexpr const char *kNames[kTrafficKinds] = {"ring_shift", "point_to_point",
                                                        "all_reduce", "all_gather",
                                                        "reduce_scatter"};
  return kNames[static_cast<size_t>(traffic)];
}

} // namespace seqpar::rt
