//===- StartedReductions.cpp - reductions begun and waited for --*- C++ -*-===//
//
// Of ranks of one process: what is begun is worked on by whoever comes by when all have begun. Of
// several: each member posts all messages of the first round when it begins, and those of the
// second when the first has come, whenever it comes by.
//
//===----------------------------------------------------------------------===//

#include "Reduce.h"
#include "ThreadCommunicator.h"

#include <algorithm>
#include <cstring>

namespace seqpar::rt {

Communicator::Request ThreadCommunicator::startAllReduce(void *buffer, size_t elements,
                                                         ElementType type, int axes) {
  Call call(*this);
  if (grid().groupSize(axes) > 1)
    count(Traffic::AllReduce, elements * elementBytes(type));
  return start({{Collective::AllReduce, 1, elements, type}, buffer, buffer}, axes);
}

Communicator::Request ThreadCommunicator::startReduceScatter(const void *send, void *receive,
                                                             size_t outer, size_t inner,
                                                             ElementType type, int axes) {
  Call call(*this);
  size_t members = static_cast<size_t>(grid().groupSize(axes));
  if (members > 1)
    count(Traffic::ReduceScatter, outer * members * inner * elementBytes(type));
  return start({{Collective::ReduceScatter, outer, inner, type}, send, receive}, axes);
}

//===----------------------------------------------------------------------===//
// Of one process
//===----------------------------------------------------------------------===//

Started &ThreadCommunicator::findStarted(Meeting &meeting, uint64_t number) {
  Started *free = nullptr;
  for (Started &each : meeting.started) {
    if (each.inUse && each.number == number)
      return each;
    if (!each.inUse)
      free = &each;
  }
  if (!free)
    free = &meeting.started.emplace_back();
  size_t members = meeting.parts.size();
  free->number = number;
  free->inUse = true;
  free->cancelled = false;
  free->begun = free->working = free->finished = free->left = free->disagreeing = 0;
  free->parts.assign(members, Part());
  free->sends.resize(members);
  free->receives.resize(members);
  return *free;
}

Communicator::Request ThreadCommunicator::start(const Part &part, int axes) {
  if (spans(axes))
    return startSpanning(part, axes);
  Meeting &meeting = state.meeting(rank(), axes);
  size_t index = indexIn(axes);
  Lock lock(state.mutex);
  state.check();
  Started &collective = findStarted(meeting, startedBefore[static_cast<size_t>(axes)]++);
  collective.parts[index] = part;
  collective.sends[index] = part.send;
  collective.receives[index] = part.receive;
  if (++collective.begun == collective.parts.size()) {
    for (size_t i = 0; i < collective.parts.size(); ++i)
      if (collective.parts[i].kind != collective.parts[0].kind)
        collective.disagreeing = i;
    wakeGroup(axes);
  }
  auto free = std::find_if(started.begin(), started.end(),
                           [](const Pending &pending) { return !pending.collective; });
  if (free == started.end())
    free = started.insert(free, Pending());
  *free = {&collective, axes, false};
  Request request = kFirstStarted + static_cast<Request>(free - started.begin());
  workOnStarted(lock);
  return request;
}

// Does this rank's share of whatever all members have begun.
bool ThreadCommunicator::workOnStarted(Lock &lock) {
  bool any = false;
  for (Pending &pending : started) {
    Started *collective = pending.collective;
    if (!collective || pending.worked || collective->cancelled || collective->disagreeing ||
        collective->begun < collective->parts.size())
      continue;
    pending.worked = any = true;
    size_t index = indexIn(pending.axes);
    ++collective->working;
    bool worked = attempt(lock, [&] {
      reduceShare(collective->parts[index], collective->sends, collective->receives, index);
    });
    --collective->working;
    collective->doneAt = nowNanoseconds();
    collective->finished += worked;
    if (collective->finished == collective->parts.size() || collective->cancelled)
      wakeGroup(pending.axes);
  }
  return any;
}

void ThreadCommunicator::waitForStarted(Lock &lock, Pending &pending) {
  Started &collective = *pending.collective;
  size_t members = collective.parts.size();
  Clock::time_point until = deadline();
  while (collective.finished < members) {
    state.check();
    if (collective.disagreeing)
      failToAgree(pending.axes, collective.disagreeing);
    if (progress(lock))
      continue;
    if (!sleep(lock, until)) {
      std::vector<int> missing;
      for (size_t i = 0; i < members; ++i)
        if (collective.parts[i].kind.operation == Collective::None)
          missing.push_back(memberOf(pending.axes, i));
      giveUp(lock, namesOf(missing));
    }
  }
  leave(pending);
}

void ThreadCommunicator::leave(Pending &pending) {
  Started &collective = *pending.collective;
  done = collective.doneAt;
  if (++collective.left == collective.parts.size())
    collective.inUse = false;
  pending.collective = nullptr;
}

//===----------------------------------------------------------------------===//
// Of several processes
//===----------------------------------------------------------------------===//

// Elements [first, end) of an all-reduce that member m adds.
std::pair<size_t, size_t> ThreadCommunicator::shareOf(const Group &group, size_t m) {
  size_t elements = group.kind.inner, share = (elements + group.members - 1) / group.members;
  return {std::min(elements, m * share), std::min(elements, (m + 1) * share)};
}

Communicator::Request ThreadCommunicator::startSpanning(const Part &part, int axes) {
  auto found = std::find_if(spanning.begin(), spanning.end(),
                            [](const Spanning &each) { return !each.inUse; });
  if (found == spanning.end())
    found = spanning.emplace(spanning.end());
  Spanning &own = *found;
  own.inUse = true;
  own.part = part;
  own.group = groupOf(part.kind, axes);
  // Members may wait in any order: each reduction has a tag of its own.
  own.group.tag = 1 + static_cast<int>(startedBefore[static_cast<size_t>(axes)]++ % (1 << 30));
  own.addsNext = true;
  const Group &group = own.group;
  bool scatters = part.kind.operation == Collective::ReduceScatter;
  auto [first, end] = shareOf(group, group.own);
  size_t inner = part.kind.inner * group.elementSize, outer = part.kind.outer;
  size_t ownBytes = scatters ? outer * inner : (end - first) * group.elementSize;
  own.scratch.resize((scatters ? 2 : 1) * group.members * ownBytes);
  auto *from = static_cast<const uint8_t *>(part.send);
  own.parts.clear();
  for (size_t m = 0; m < group.members; ++m) {
    uint8_t *incoming = own.scratch.data() + m * ownBytes;
    uint8_t *packed = own.scratch.data() + (group.members + m) * ownBytes;
    if (scatters)
      for (size_t o = 0; o < outer && inner; ++o)
        std::memcpy(packed + o * inner, from + (o * group.members + m) * inner, inner);
    if (m == group.own)
      continue;
    auto [theirFirst, theirEnd] = shareOf(group, m);
    receiveFrom(group, m, incoming, ownBytes, own.parts);
    if (scatters)
      sendTo(group, m, packed, ownBytes, own.parts);
    else
      sendTo(group, m, from + theirFirst * group.elementSize,
             (theirEnd - theirFirst) * group.elementSize, own.parts);
  }
  return kFirstSpanning + static_cast<Request>(found - spanning.begin());
}

// Adds this rank's share, and of an all-reduce begins to send it to all.
void ThreadCommunicator::addSpanning(Spanning &own) {
  const Group &group = own.group;
  bool scatters = group.kind.operation == Collective::ReduceScatter;
  auto [first, end] = shareOf(group, group.own);
  size_t elements = scatters ? group.kind.outer * group.kind.inner : end - first;
  size_t bytes = elements * group.elementSize;
  auto *buffer = static_cast<uint8_t *>(own.part.receive);
  uint8_t *share = scatters ? buffer : buffer + first * group.elementSize;
  own.sources.resize(group.members);
  for (size_t m = 0; m < group.members; ++m)
    own.sources[m] = own.scratch.data() + m * bytes;
  own.sources[group.own] =
      scatters ? own.scratch.data() + (group.members + group.own) * bytes : share;
  void *to = share;
  sumInOrder({own.sources.data(), group.members}, {&to, 1}, 0, elements, group.kind.type);
  own.addedAt = nowNanoseconds();
  own.parts.clear();
  for (size_t m = 0; m < group.members && !scatters; ++m) {
    if (m == group.own)
      continue;
    auto [theirFirst, theirEnd] = shareOf(group, m);
    receiveFrom(group, m, buffer + theirFirst * group.elementSize,
                (theirEnd - theirFirst) * group.elementSize, own.parts);
    sendTo(group, m, share, bytes, own.parts);
  }
}

bool ThreadCommunicator::partsDone(const Spanning &each) const {
  return std::all_of(each.parts.begin(), each.parts.end(),
                     [&](Request part) { return own.messages[part].state == Message::Done; });
}

// Takes those reductions to their second round whose first has come.
bool ThreadCommunicator::advance(Lock &lock) {
  bool any = false;
  for (Spanning &each : spanning) {
    if (!each.inUse || !each.addsNext || !partsDone(each))
      continue;
    for (Request part : each.parts)
      release(part);
    each.parts.clear();
    each.addsNext = false;
    any = true;
    attempt(lock, [&] { addSpanning(each); });
  }
  return any;
}

void ThreadCommunicator::waitForSpanning(size_t number) {
  Lock lock(state.mutex);
  if (number >= spanning.size() || !spanning[number].inUse)
    fail("rank {} waits for a reduction that was not started", rank());
  Spanning &awaited = spanning[number];
  Clock::time_point until = deadline();
  for (;;) {
    state.check();
    if (progress(lock))
      continue;
    if (!awaited.addsNext && partsDone(awaited))
      break;
    if (sleep(lock, until))
      continue;
    auto missing = std::find_if(awaited.parts.begin(), awaited.parts.end(), [&](Request part) {
      return own.messages[part].state != Message::Done;
    });
    giveUp(lock, missing == awaited.parts.end() ? "nothing" : describe(own.messages[*missing]));
  }
  uint64_t last = awaited.addedAt;
  for (Request part : awaited.parts) {
    release(part);
    last = std::max(last, done);
  }
  done = last;
  awaited.parts.clear();
  awaited.inUse = false;
}

} // namespace seqpar::rt
