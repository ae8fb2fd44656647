//===- SpanningCollectives.cpp - of ranks of several processes --*- C++ -*-===//
//
// Every member sends to every other one straight away, in blocks, so that no more than the scratch
// memory is needed. A sum has one place: who owns a share of the elements receives it from all,
// adds in rank order, as ranks that share memory do, and sends the result to all. So the bits are
// the same for any division into processes, and each rank sends 2 (n - 1) / n of its buffer.
//
//===----------------------------------------------------------------------===//

#include "Reduce.h"
#include "ThreadCommunicator.h"

#include <algorithm>
#include <cstring>

namespace seqpar::rt {

namespace {

constexpr size_t kScratchBytes = 8 << 20;    // of each half
constexpr size_t kLargestBlock = 256 << 10;  // of one member
constexpr size_t kWholeExchangeBytes = 4096; // below it an all-reduce has one round

size_t blockBytes(size_t members) {
  return std::min(kLargestBlock, kScratchBytes / members) / 64 * 64;
}

// Copies elements [begin, begin + count) of one member between packed memory and an array
// [outer][members][inner].
template <typename Copy>
void forRuns(size_t begin, size_t count, size_t inner, size_t members, size_t member,
             const Copy &copy) {
  for (size_t done = 0; done < count;) {
    size_t o = (begin + done) / inner, i = (begin + done) % inner;
    size_t run = std::min(inner - i, count - done);
    copy((o * members + member) * inner + i, done, run);
    done += run;
  }
}

} // namespace

size_t ThreadCommunicator::Group::blockElements() const {
  return blockBytes(members) / elementSize;
}

ThreadCommunicator::ThreadCommunicator(ThreadGroup::State &state, int rank)
    : Communicator(state.grid, rank), state(state), own(state.ranks[static_cast<size_t>(rank)]),
      sources(static_cast<size_t>(size())), shareSources(sources.size()) {
  bool spansProcesses = false;
  for (int axes = 0; axes <= kAllAxes; ++axes) {
    isLocal[static_cast<size_t>(axes)] = state.isLocal(rank, axes);
    spansProcesses |= spans(axes);
  }
  if (spansProcesses)
    scratch = std::make_unique_for_overwrite<uint8_t[]>(2 * kScratchBytes);
  parts.reserve(2 * static_cast<size_t>(size()));
}

ThreadCommunicator::Group ThreadCommunicator::groupOf(CollectiveKind kind, int axes) const {
  return {kind,
          axes,
          static_cast<size_t>(grid().groupSize(axes)),
          indexIn(axes),
          elementBytes(kind.type),
          0};
}

void ThreadCommunicator::sendTo(const Group &group, size_t member, const void *data, size_t bytes,
                                std::vector<Request> &to) {
  to.push_back(post({.state = Message::Posted,
                     .isSend = true,
                     .source = rank(),
                     .destination = memberOf(group.axes, member),
                     .tag = group.tag,
                     .data = const_cast<void *>(data),
                     .bytes = bytes,
                     .channel = group.axes,
                     .kind = group.kind}));
}

void ThreadCommunicator::receiveFrom(const Group &group, size_t member, void *data, size_t bytes,
                                     std::vector<Request> &to) {
  to.push_back(post({.state = Message::Posted,
                     .source = memberOf(group.axes, member),
                     .destination = rank(),
                     .tag = group.tag,
                     .data = data,
                     .bytes = bytes,
                     .channel = group.axes,
                     .kind = group.kind}));
}

void ThreadCommunicator::waitForParts() {
  for (Request part : parts)
    wait(part);
  parts.clear();
}

uint8_t *ThreadCommunicator::scratchOf(size_t member, size_t members) {
  return scratch.get() + member * blockBytes(members);
}

void ThreadCommunicator::spanAllReduce(const Group &group, void *buffer) {
  auto *bytes = static_cast<uint8_t *>(buffer);
  size_t elements = group.kind.inner, members = group.members, size = group.elementSize;
  count(Traffic::AllReduce, elements * size);
  parts.clear();
  if (elements * size <= kWholeExchangeBytes)
    return exchangeWhole(group, buffer);
  size_t largestShare = shareOf(group, 0).second;
  for (size_t offset = 0; offset < largestShare; offset += group.blockElements()) {
    // The block of member m's share: [first(m), first(m) + length(m)).
    auto first = [&](size_t m) {
      auto [begin, end] = shareOf(group, m);
      return std::min(end, begin + offset);
    };
    auto length = [&](size_t m) {
      return std::min(shareOf(group, m).second - first(m), group.blockElements());
    };
    uint8_t *ownBlock = bytes + first(group.own) * size;
    size_t ownBytes = length(group.own) * size;
    for (size_t m = 0; m < members; ++m) {
      sources[m] = m == group.own ? ownBlock : scratchOf(m, members);
      if (m == group.own)
        continue;
      if (ownBytes)
        receiveFrom(group, m, scratchOf(m, members), ownBytes, parts);
      if (length(m))
        sendTo(group, m, bytes + first(m) * size, length(m) * size, parts);
    }
    waitForParts();
    void *to = ownBlock;
    sumInOrder({sources.data(), members}, {&to, 1}, 0, length(group.own), group.kind.type);
    for (size_t m = 0; m < members; ++m) {
      if (m == group.own)
        continue;
      if (length(m))
        receiveFrom(group, m, bytes + first(m) * size, length(m) * size, parts);
      if (ownBytes)
        sendTo(group, m, ownBlock, ownBytes, parts);
    }
    waitForParts();
  }
}

// Small buffers: all to all, and each adds for itself.
void ThreadCommunicator::exchangeWhole(const Group &group, void *buffer) {
  size_t bytes = group.kind.inner * group.elementSize;
  // What is sent must stay while the sum is written.
  uint8_t *copy = scratch.get() + kScratchBytes;
  std::memcpy(copy, buffer, bytes);
  for (size_t m = 0; m < group.members; ++m) {
    sources[m] = m == group.own ? copy : scratchOf(m, group.members);
    if (m == group.own)
      continue;
    receiveFrom(group, m, scratchOf(m, group.members), bytes, parts);
    sendTo(group, m, copy, bytes, parts);
  }
  waitForParts();
  sumInOrder({sources.data(), group.members}, {&buffer, 1}, 0, group.kind.inner, group.kind.type);
}

void ThreadCommunicator::spanAllGather(const Group &group, const void *send, void *receive) {
  size_t total = group.kind.outer * group.kind.inner, size = group.elementSize;
  auto *to = static_cast<uint8_t *>(receive);
  auto *from = static_cast<const uint8_t *>(send);
  count(Traffic::AllGather, total * size);
  parts.clear();
  for (size_t begin = 0; begin < total; begin += group.blockElements()) {
    size_t length = std::min(group.blockElements(), total - begin);
    for (size_t m = 0; m < group.members; ++m) {
      if (m == group.own)
        continue;
      receiveFrom(group, m, scratchOf(m, group.members), length * size, parts);
      sendTo(group, m, from + begin * size, length * size, parts);
    }
    waitForParts();
    for (size_t m = 0; m < group.members; ++m) {
      const uint8_t *packed = m == group.own ? from + begin * size : scratchOf(m, group.members);
      forRuns(begin, length, group.kind.inner, group.members, m,
              [&](size_t at, size_t done, size_t run) {
                if (to + at * size != packed + done * size) // in place
                  std::memcpy(to + at * size, packed + done * size, run * size);
              });
    }
  }
}

void ThreadCommunicator::spanReduceScatter(const Group &group, const void *send, void *receive) {
  size_t total = group.kind.outer * group.kind.inner, size = group.elementSize;
  auto *to = static_cast<uint8_t *>(receive);
  auto *from = static_cast<const uint8_t *>(send);
  count(Traffic::ReduceScatter, total * group.members * size);
  parts.clear();
  for (size_t begin = 0; begin < total; begin += group.blockElements()) {
    size_t length = std::min(group.blockElements(), total - begin);
    for (size_t m = 0; m < group.members; ++m) {
      uint8_t *packed = scratchOf(m, group.members) + kScratchBytes;
      forRuns(begin, length, group.kind.inner, group.members, m,
              [&](size_t at, size_t done, size_t run) {
                std::memcpy(packed + done * size, from + at * size, run * size);
              });
      sources[m] = m == group.own ? packed : scratchOf(m, group.members);
      if (m == group.own)
        continue;
      receiveFrom(group, m, scratchOf(m, group.members), length * size, parts);
      sendTo(group, m, packed, length * size, parts);
    }
    waitForParts();
    void *sum = to + begin * size;
    sumInOrder({sources.data(), group.members}, {&sum, 1}, 0, length, group.kind.type);
  }
}

// Who has heard of 2^k ranks before it after round k has heard of all at the end.
void ThreadCommunicator::spanBarrier(const Group &group) {
  parts.clear();
  for (size_t distance = 1; distance < group.members; distance *= 2) {
    receiveFrom(group, (group.own + group.members - distance) % group.members, nullptr, 0, parts);
    sendTo(group, (group.own + distance) % group.members, nullptr, 0, parts);
    waitForParts();
  }
}

} // namespace seqpar::rt
