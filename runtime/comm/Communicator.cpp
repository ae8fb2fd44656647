#include "seqpar/rt/Communicator.h"

#include "Reduce.h"

#include <cstring>

namespace seqpar::rt {

size_t elementBytes(ElementType type) {
  return type == ElementType::F64 || type == ElementType::I64 ? 8 : 4;
}

const char *trafficName(Traffic traffic) {
  static constexpr const char *kNames[kTrafficKinds] = {
      "ring_shift", "point_to_point", "all_reduce", "all_gather", "reduce_scatter"};
  return kNames[static_cast<size_t>(traffic)];
}

namespace {

class HostMemory final : public ExchangeMemory {
public:
  void copy(void *to, const void *from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void sumInOrder(std::span<const void *const> from, std::span<void *const> to, size_t begin,
                  size_t end, ElementType type) override {
    rt::sumInOrder(from, to, begin, end, type);
  }
};

} // namespace

ExchangeMemory &hostMemory() {
  static HostMemory memory;
  return memory;
}

} // namespace seqpar::rt
