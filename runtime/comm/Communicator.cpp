#include "seqpar/rt/Communicator.h"

#include "Reduce.h"

#include <cstring>

namespace seqpar::rt {

size_t elementBytes(ElementType type) {
  if (type == ElementType::Byte)
    return 1;
  return type == ElementType::F64 || type == ElementType::I64 ? 8 : 4;
}

const char *trafficName(Traffic traffic) {
  static constexpr const char *kNames[kTrafficKinds] = {
      "ring_shift", "point_to_point", "all_reduce", "all_gather", "reduce_scatter"};
  return kNames[static_cast<size_t>(traffic)];
}

void Communicator::beginGroup() {
  if (grouping)
    fail("rank {} begins a group of messages in another one: expected one at a time", theRank);
  grouping = true;
}

void Communicator::endGroup() {
  if (!grouping)
    fail("rank {} ends a group of messages that it has not begun", theRank);
  grouping = false;
  startGroup();
}

RecordedExchanges Communicator::endRecording() noexcept {
  RecordedExchanges recorded;
  for (size_t i = 0; i < sent.size(); ++i)
    recorded.bytes[i] = sent[i] - unrecorded[i];
  sent = unrecorded;
  return recorded;
}

void Communicator::beginReplay(const RecordedExchanges &exchanges, const char *) {
  for (size_t i = 0; i < sent.size(); ++i)
    sent[i] += exchanges.bytes[i];
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
