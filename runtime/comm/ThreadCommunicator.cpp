#include "ThreadCommunicator.h"

#include "Link.h"
#include "ProcessState.h"

#include <algorithm>
#include <fmt/ranges.h>

namespace seqpar::rt {

// What the waiting side waits for.
std::string ThreadCommunicator::describe(const Message &message) {
  if (message.channel)
    return fmt::format("rank {} to come to the same collective",
                       message.isSend ? message.destination : message.source);
  if (message.isSend)
    return fmt::format("rank {} to receive {} bytes with tag {}", message.destination,
                       message.bytes, message.tag);
  return fmt::format("rank {} to send {} bytes with tag {}", message.source, message.bytes,
                     message.tag);
}

ThreadCommunicator::~ThreadCommunicator() { cancel(); }

Communicator::Request ThreadCommunicator::send(const void *data, size_t bytes, int destination,
                                               int tag, Traffic traffic) {
  Call call(*this);
  if (destination != rank())
    count(traffic, bytes);
  return post({.state = Message::Posted,
               .isSend = true,
               .source = rank(),
               .destination = destination,
               .tag = tag,
               .data = const_cast<void *>(data),
               .bytes = bytes});
}

Communicator::Request ThreadCommunicator::receive(void *data, size_t bytes, int source, int tag) {
  Call call(*this);
  return post({.state = Message::Posted,
               .source = source,
               .destination = rank(),
               .tag = tag,
               .data = data,
               .bytes = bytes});
}

ThreadCommunicator::Clock::time_point ThreadCommunicator::deadline() const {
  if (timeout() <= 0)
    return Clock::time_point::max();
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(timeout()));
}

// False when the time is up. Time in which the whole process was stopped does not count, so it
// sleeps for a second at a time and moves the deadline when that has been longer.
bool ThreadCommunicator::sleep(Lock &lock, Clock::time_point &until) {
  auto begin = Clock::now();
  if (begin >= until)
    return false;
  if (until == Clock::time_point::max()) {
    own.wake.wait(lock);
  } else {
    auto slice = std::min(until, begin + std::chrono::seconds(1));
    own.wake.wait_until(lock, slice);
    if (Clock::now() > slice + std::chrono::milliseconds(500))
      until += Clock::now() - slice;
  }
  waited += static_cast<uint64_t>((Clock::now() - begin).count());
  return true;
}

// In every wait: others may wait for this rank's share of what it has begun. True when it has done
// something, with the mutex released meanwhile.
bool ThreadCommunicator::progress(Lock &lock) {
  bool worked = workOnStarted(lock);
  return advance(lock) || worked;
}

void ThreadCommunicator::wakeGroup(int axes) {
  int members = axes == kLocalRanks ? state.localRanks : grid().groupSize(axes);
  for (int i = 0; i < members; ++i)
    state.ranks[static_cast<size_t>(memberOf(axes, static_cast<size_t>(i)))].wake.notify_all();
}

void ThreadCommunicator::giveUp(Lock &lock, const std::string &whatFor) {
  lock.unlock();
  // Whom this rank waits for may itself wait for one that is stopped.
  std::string silent = state.processes ? state.processes->state().silentOnes() : "";
  fail("waited {:g} s in vain for {}{}; --timeout sets the limit", timeout(), whatFor, silent);
}

// The first posted message on the other side of `message`, removed from the mailbox.
Message *ThreadCommunicator::takeMatch(const Message &message) {
  auto &mailbox = state.ranks[static_cast<size_t>(message.destination)].mailbox;
  auto found = std::find_if(mailbox.begin(), mailbox.end(),
                            [&](const Message *other) { return other->matches(message); });
  if (found == mailbox.end())
    return nullptr;
  Message *match = *found;
  mailbox.erase(found);
  return match;
}

Communicator::Request ThreadCommunicator::post(const Message &message) {
  if (message.source < 0 || message.source >= size() || message.destination < 0 ||
      message.destination >= size())
    fail("message from rank {} to rank {}: expected ranks below {}", message.source,
         message.destination, size());
  bool remote = !state.isLocal(message.isSend ? message.destination : message.source);
  if (remote && memory != &hostMemory())
    fail("ranks {} and {} are in different processes, whose exchange is of host memory "
         "only",
         message.source, message.destination);
  Lock lock(state.mutex);
  state.check();
  if (own.freeMessages.empty()) {
    own.freeMessages.push_back(static_cast<uint32_t>(own.messages.size()));
    own.messages.emplace_back();
  }
  Request request = own.freeMessages.back();
  own.freeMessages.pop_back();
  Message &mine = own.messages[request];
  mine = message;
  if (remote) {
    mine.state = Message::Remote;
    state.link->post(state, mine);
  } else if (Message *other = takeMatch(mine))
    copy(lock, mine, *other);
  else
    state.ranks[static_cast<size_t>(mine.destination)].mailbox.push_back(&mine);
  return request;
}

void ThreadCommunicator::copy(Lock &lock, Message &mine, Message &other) {
  const Message &from = mine.isSend ? mine : other, &to = mine.isSend ? other : mine;
  mine.state = other.state = Message::Copying;
  if (std::string why = disagreement(from, to); !why.empty()) {
    state.abortLocked(why);
    mine.setDone();
    other.setDone();
    throw Error(why);
  }
  attempt(lock, [&] {
    if (from.bytes)
      memory->copy(to.data, from.data, from.bytes);
  });
  mine.setDone();
  other.setDone();
  state.ranks[static_cast<size_t>(other.owner())].wake.notify_all();
  state.check();
}

// With the mutex held. The others cannot wait for what this rank's caller will say.
void ThreadCommunicator::failGroup(const char *why) {
  std::string activity = own.activity.load(std::memory_order_relaxed);
  if (!activity.empty())
    activity = "exchange of " + activity + ": ";
  state.abortLocked(fmt::format("rank {}: {}{}", rank(), activity, why));
}

void ThreadCommunicator::wait(Request request) {
  Call call(*this);
  if (request >= kFirstSpanning)
    return waitForSpanning(request - kFirstSpanning);
  Lock lock(state.mutex);
  if (request >= kFirstStarted && request - kFirstStarted < started.size() &&
      started[request - kFirstStarted].collective)
    return waitForStarted(lock, started[request - kFirstStarted]);
  if (request >= own.messages.size() || own.messages[request].state == Message::Free)
    fail("rank {} waits for an exchange that was not started", rank());
  Message &message = own.messages[request];
  Clock::time_point until = deadline();
  while (message.state != Message::Done && !state.aborted)
    if (!progress(lock) && !sleep(lock, until))
      giveUp(lock, describe(message));
  state.check();
  release(request);
}

void ThreadCommunicator::release(Request request) {
  done = own.messages[request].doneAt;
  own.messages[request].state = Message::Free;
  own.freeMessages.push_back(request);
}

// Takes back what is posted and waits for what another rank is copying, so that no one touches this
// rank's buffers afterwards.
void ThreadCommunicator::cancelAll(Lock &lock) {
  for (Message &message : own.messages)
    if (message.state == Message::Remote)
      state.link->cancel(message);
  for (uint32_t request = 0; request < own.messages.size(); ++request) {
    Message &message = own.messages[request];
    if (message.state == Message::Free)
      continue;
    if (message.state == Message::Posted) {
      auto &mailbox = state.ranks[static_cast<size_t>(message.destination)].mailbox;
      mailbox.erase(std::find(mailbox.begin(), mailbox.end(), &message));
    }
    while (message.state == Message::Copying || message.state == Message::Remote)
      own.wake.wait(lock);
    message.state = Message::Free;
    own.freeMessages.push_back(request);
  }
  for (Pending &pending : started)
    if (pending.collective) {
      pending.collective->cancelled = true;
      while (pending.collective->working)
        own.wake.wait(lock);
      pending.collective = nullptr;
    }
  for (Spanning &each : spanning)
    each.inUse = false;
}

std::string ThreadCommunicator::abortMessage() const {
  Lock lock(state.mutex);
  return state.aborted ? state.message : std::string();
}

// What is pending belongs to the rank's own thread, which may not be the one that calls.
void ThreadCommunicator::abort(const std::string &message) { state.abort(message); }

void ThreadCommunicator::cancel() {
  Lock lock(state.mutex);
  cancelAll(lock);
}

// A rank may leave the first meeting of a collective when another aborts; whoever passes it finds
// all members in the collective, and they stay until the second one.
void ThreadCommunicator::meet(Lock &lock, Meeting &meeting, int axes, bool mayAbort) {
  if (mayAbort)
    state.check();
  meeting.here[indexIn(axes)] = true;
  if (++meeting.arrived == meeting.parts.size()) {
    std::fill(meeting.here.begin(), meeting.here.end(), false);
    meeting.arrived = 0;
    ++meeting.round;
    for (size_t i = 0; i < meeting.parts.size(); ++i) {
      if (meeting.parts[i].kind != meeting.parts[0].kind)
        meeting.disagreeing = i; // for good: all members end with an error
      meeting.sends[i] = meeting.parts[i].send;
      meeting.receives[i] = meeting.parts[i].receive;
    }
    wakeGroup(axes);
    return;
  }
  uint64_t round = meeting.round;
  Clock::time_point until = mayAbort ? deadline() : Clock::time_point::max();
  while (meeting.round == round) {
    if (mayAbort && state.aborted) {
      --meeting.arrived; // whoever comes now sees the abort first
      state.check();
    }
    if (mayAbort && progress(lock))
      continue;
    if (!sleep(lock, until)) {
      std::string missing = missingFrom(meeting, axes);
      --meeting.arrived;
      meeting.here[indexIn(axes)] = false;
      giveUp(lock, missing);
    }
  }
}

size_t ThreadCommunicator::indexIn(int axes) const {
  return static_cast<size_t>(axes == kLocalRanks ? rank() - state.firstRank
                                                 : grid().groupIndex(rank(), axes));
}

int ThreadCommunicator::memberOf(int axes, size_t index) const {
  int i = static_cast<int>(index);
  return axes == kLocalRanks ? state.firstRank + i : grid().groupMember(rank(), axes, i);
}

std::string ThreadCommunicator::missingFrom(const Meeting &meeting, int axes) const {
  std::vector<int> missing;
  for (size_t i = 0; i < meeting.here.size(); ++i)
    if (!meeting.here[i])
      missing.push_back(memberOf(axes, i));
  return namesOf(missing);
}

std::string ThreadCommunicator::namesOf(const std::vector<int> &ranks) const {
  return fmt::format("rank{} {} to come to the same collective", ranks.size() == 1 ? "" : "s",
                     fmt::join(ranks, ", "));
}

// The work is on the memory of all members, so none leaves before all are done, come what may.
template <typename Work>
void ThreadCommunicator::collective(const Part &part, int axes, const Work &work) {
  Meeting &meeting = state.meeting(rank(), axes);
  Lock lock(state.mutex);
  meeting.parts[indexIn(axes)] = part;
  meet(lock, meeting, axes, true);
  if (meeting.disagreeing)
    failToAgree(axes, meeting.disagreeing);
  attempt(lock, [&] { work(meeting); });
  meet(lock, meeting, axes, false);
  state.check();
}

void ThreadCommunicator::failToAgree(int axes, size_t other) const {
  fail("ranks {} and {} meet in different collectives or with different sizes", memberOf(axes, 0),
       memberOf(axes, other));
}

void ThreadCommunicator::allReduce(void *buffer, size_t elements, ElementType type, int axes) {
  Call call(*this);
  CollectiveKind kind{Collective::AllReduce, 1, elements, type};
  if (spans(axes))
    return spanAllReduce(groupOf(kind, axes), buffer);
  collective({kind, buffer, buffer}, axes, [&](const Meeting &meeting) {
    if (meeting.parts.size() == 1)
      return;
    count(Traffic::AllReduce, elements * elementBytes(type));
    size_t index = indexIn(axes);
    reduceShare(meeting.parts[index], meeting.sends, meeting.receives, index);
  });
}

// This member's share of a reduction: of an all-reduce some of the elements on all members, of a
// reduce-scatter its own part.
void ThreadCommunicator::reduceShare(const Part &part, std::span<const void *const> sends,
                                     std::span<void *const> receives, size_t index) {
  size_t members = sends.size();
  if (part.kind.operation == Collective::AllReduce) {
    // Shares are whole cache lines.
    size_t share = ((part.kind.inner + members - 1) / members + 15) / 16 * 16;
    size_t first = std::min(part.kind.inner, share * index);
    memory->sumInOrder(sends, receives, first, std::min(part.kind.inner, first + share),
                       part.kind.type);
    return;
  }
  size_t bytes = part.kind.inner * elementBytes(part.kind.type);
  std::span<const void *> from(shareSources.data(), members);
  for (size_t o = 0; o < part.kind.outer; ++o) {
    for (size_t member = 0; member < members; ++member)
      from[member] = static_cast<const uint8_t *>(sends[member]) + (o * members + index) * bytes;
    void *to = static_cast<uint8_t *>(part.receive) + o * bytes;
    memory->sumInOrder(from, {&to, 1}, 0, part.kind.inner, part.kind.type);
  }
}

void ThreadCommunicator::allGather(const void *send, void *receive, size_t outer, size_t inner,
                                   ElementType type, int axes) {
  Call call(*this);
  CollectiveKind kind{Collective::AllGather, outer, inner, type};
  if (spans(axes))
    return spanAllGather(groupOf(kind, axes), send, receive);
  collective({kind, send, receive}, axes, [&](const Meeting &meeting) {
    size_t members = meeting.parts.size(), bytes = inner * elementBytes(type);
    if (members > 1)
      count(Traffic::AllGather, outer * bytes);
    for (size_t member = 0; member < members && bytes; ++member)
      for (size_t o = 0; o < outer; ++o) {
        uint8_t *to = static_cast<uint8_t *>(receive) + (o * members + member) * bytes;
        const uint8_t *from = static_cast<const uint8_t *>(meeting.sends[member]) + o * bytes;
        if (to != from) // in place, or in memory that the members share
          memory->copy(to, from, bytes);
      }
  });
}

void ThreadCommunicator::reduceScatter(const void *send, void *receive, size_t outer, size_t inner,
                                       ElementType type, int axes) {
  Call call(*this);
  CollectiveKind kind{Collective::ReduceScatter, outer, inner, type};
  if (spans(axes))
    return spanReduceScatter(groupOf(kind, axes), send, receive);
  collective({kind, send, receive}, axes, [&](const Meeting &meeting) {
    size_t members = meeting.parts.size(), index = indexIn(axes);
    if (members > 1)
      count(Traffic::ReduceScatter, outer * members * inner * elementBytes(type));
    reduceShare(meeting.parts[index], meeting.sends, meeting.receives, index);
  });
}

void ThreadCommunicator::allMeet(int axes) {
  Meeting &meeting = state.meeting(rank(), axes);
  Lock lock(state.mutex);
  meeting.parts[indexIn(axes)] = {{Collective::Barrier}};
  meet(lock, meeting, axes, true);
  if (meeting.disagreeing)
    failToAgree(axes, meeting.disagreeing);
}

void ThreadCommunicator::localBarrier() {
  Call call(*this);
  allMeet(kLocalRanks);
}

void ThreadCommunicator::barrier() {
  Call call(*this);
  if (spans(kAllAxes))
    return spanBarrier(groupOf({Collective::Barrier}, kAllAxes));
  allMeet(kAllAxes);
}

std::unique_ptr<Communicator> createThreadCommunicator(ThreadGroup::State &state, int rank) {
  return std::make_unique<ThreadCommunicator>(state, rank);
}

} // namespace seqpar::rt
