//===- ThreadCommunicator.cpp - ranks that are threads ----------*- C++ -*-===//
//
// Point to point: whichever side comes later copies, so a message whose receiver has posted early
// moves while the receiver computes. Collectives: every member publishes its buffers, all meet,
// each works on its share of the elements straight in the others' memory, all meet again. What is
// only begun is worked on by whoever comes by when all have begun.
//
//===----------------------------------------------------------------------===//

#include "Reduce.h"
#include "ThreadState.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fmt/ranges.h>
#include <span>

namespace seqpar::rt {

namespace {

using Lock = std::unique_lock<std::mutex>;
using Clock = std::chrono::steady_clock;

class ThreadCommunicator final : public Communicator {
public:
  ThreadCommunicator(ThreadGroup::State &state, int rank)
      : Communicator(state.grid, rank), state(state), own(state.ranks[static_cast<size_t>(rank)]),
        sources(static_cast<size_t>(size())) {}
  ~ThreadCommunicator() override {
    Lock lock(state.mutex);
    cancelAll(lock);
  }

  Request send(const void *data, size_t bytes, int destination, int tag, Traffic traffic) override {
    if (destination != rank())
      count(traffic, bytes);
    return post({Message::Posted, true, rank(), destination, tag, const_cast<void *>(data), bytes});
  }
  Request receive(void *data, size_t bytes, int source, int tag) override {
    return post({Message::Posted, false, source, rank(), tag, data, bytes});
  }
  void wait(Request request) override;

  void allReduce(void *buffer, size_t elements, ElementType type, int axes) override;
  void allGather(const void *send, void *receive, size_t outer, size_t inner, ElementType type,
                 int axes) override;
  void reduceScatter(const void *send, void *receive, size_t outer, size_t inner, ElementType type,
                     int axes) override;
  Request startAllReduce(void *buffer, size_t elements, ElementType type, int axes) override {
    if (grid().groupSize(axes) > 1)
      count(Traffic::AllReduce, elements * elementBytes(type));
    return start({Collective::AllReduce, buffer, buffer, 1, elements, type}, axes);
  }
  Request startReduceScatter(const void *send, void *receive, size_t outer, size_t inner,
                             ElementType type, int axes) override {
    size_t members = static_cast<size_t>(grid().groupSize(axes));
    if (members > 1)
      count(Traffic::ReduceScatter, outer * members * inner * elementBytes(type));
    return start({Collective::ReduceScatter, send, receive, outer, inner, type}, axes);
  }
  bool sharesMemory(int) const override { return true; }
  void barrier() override { allMeet(kAllAxes); }
  void localBarrier() override { allMeet(kAllAxes); }
  void abort(const std::string &message) override;

private:
  Request post(const Message &message);
  void copy(Lock &lock, Message &mine, Message &other);
  Message *takeMatch(const Message &message);
  void cancelAll(Lock &lock);
  Clock::time_point deadline() const;
  bool sleep(Lock &lock, std::condition_variable &wake, Clock::time_point until);
  [[noreturn]] void giveUp(Lock &lock, const std::string &whatFor);

  Meeting &begin(const Part &part, int axes);
  void end(Meeting &meeting, int axes);
  void checkAgreement(const Meeting &meeting, int axes) const;
  [[noreturn]] void failToAgree(int axes, size_t other) const;
  void meet(Lock &lock, Meeting &meeting, int axes, bool mayAbort);
  void allMeet(int axes);
  std::string missingFrom(const Meeting &meeting, int axes) const;
  std::string namesOf(const std::vector<int> &ranks) const;

  /// One that this rank has begun and not yet left.
  struct Pending {
    Started *collective = nullptr; ///< null: free
    int axes = 0;
    bool worked = false;
  };
  static constexpr Request kFirstStarted = Request(1) << 31; ///< messages are numbered below
  Request start(const Part &part, int axes);
  Started &findStarted(Meeting &meeting, uint64_t number);
  void workOnStarted(Lock &lock);
  void waitForStarted(Lock &lock, Pending &pending);
  void leave(Pending &pending);
  void reduceShare(const Part &part, std::span<const void *const> sends,
                   std::span<void *const> receives, size_t index);

  ThreadGroup::State &state;
  RankState &own;
  std::vector<const void *> sources; // of reduceShare
  std::vector<Pending> started;
  std::array<uint64_t, kAllAxes + 1> startedBefore{}; // by axes
};

Clock::time_point ThreadCommunicator::deadline() const {
  if (timeout() <= 0)
    return Clock::time_point::max();
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(timeout()));
}

// False when the time is up.
bool ThreadCommunicator::sleep(Lock &lock, std::condition_variable &wake, Clock::time_point until) {
  auto begin = Clock::now();
  if (begin >= until)
    return false;
  if (until == Clock::time_point::max())
    wake.wait(lock);
  else
    wake.wait_until(lock, until);
  waited += static_cast<uint64_t>((Clock::now() - begin).count());
  return true;
}

void ThreadCommunicator::giveUp(Lock &lock, const std::string &whatFor) {
  cancelAll(lock);
  fail("waited {:g} s in vain for {}; --timeout sets the limit", timeout(), whatFor);
}

// The first posted message on the other side of `message`, removed from the mailbox.
Message *ThreadCommunicator::takeMatch(const Message &message) {
  auto &mailbox = state.ranks[static_cast<size_t>(message.destination)].mailbox;
  auto found = std::find_if(mailbox.begin(), mailbox.end(), [&](const Message *other) {
    return other->isSend != message.isSend && other->source == message.source &&
           other->tag == message.tag;
  });
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
  Lock lock(state.mutex);
  if (state.aborted)
    cancelAll(lock);
  state.check();
  if (own.freeMessages.empty()) {
    own.freeMessages.push_back(static_cast<uint32_t>(own.messages.size()));
    own.messages.emplace_back();
  }
  Request request = own.freeMessages.back();
  own.freeMessages.pop_back();
  Message &mine = own.messages[request];
  mine = message;
  if (Message *other = takeMatch(mine))
    copy(lock, mine, *other);
  else
    state.ranks[static_cast<size_t>(mine.destination)].mailbox.push_back(&mine);
  return request;
}

void ThreadCommunicator::copy(Lock &lock, Message &mine, Message &other) {
  const Message &from = mine.isSend ? mine : other, &to = mine.isSend ? other : mine;
  mine.state = other.state = Message::Copying;
  if (from.bytes != to.bytes) {
    std::string why = fmt::format("rank {} sends {} bytes to rank {} with tag {}, which expects {}",
                                  from.source, from.bytes, from.destination, from.tag, to.bytes);
    state.abortLocked(why);
    mine.state = other.state = Message::Done;
    throw Error(why);
  }
  lock.unlock();
  if (from.bytes)
    std::memcpy(to.data, from.data, from.bytes);
  lock.lock();
  mine.state = other.state = Message::Done;
  state.ranks[static_cast<size_t>(other.owner())].wake.notify_all();
}

void ThreadCommunicator::wait(Request request) {
  Lock lock(state.mutex);
  if (request >= kFirstStarted && request - kFirstStarted < started.size() &&
      started[request - kFirstStarted].collective)
    return waitForStarted(lock, started[request - kFirstStarted]);
  if (request >= own.messages.size() || own.messages[request].state == Message::Free)
    fail("rank {} waits for an exchange that was not started", rank());
  Message &message = own.messages[request];
  Clock::time_point until = deadline();
  while (message.state != Message::Done && !state.aborted)
    if (!sleep(lock, own.wake, until))
      giveUp(lock, message.isSend ? fmt::format("rank {} to receive {} bytes with tag {}",
                                                message.destination, message.bytes, message.tag)
                                  : fmt::format("rank {} to send {} bytes with tag {}",
                                                message.source, message.bytes, message.tag));
  if (state.aborted) {
    cancelAll(lock);
    state.check();
  }
  message.state = Message::Free;
  own.freeMessages.push_back(request);
}

// Takes back what is posted and waits for what another rank is copying, so that no one touches this
// rank's buffers afterwards.
void ThreadCommunicator::cancelAll(Lock &lock) {
  for (uint32_t request = 0; request < own.messages.size(); ++request) {
    Message &message = own.messages[request];
    if (message.state == Message::Free)
      continue;
    if (message.state == Message::Posted) {
      auto &mailbox = state.ranks[static_cast<size_t>(message.destination)].mailbox;
      mailbox.erase(std::find(mailbox.begin(), mailbox.end(), &message));
    }
    while (message.state == Message::Copying)
      own.wake.wait(lock);
    message.state = Message::Free;
    own.freeMessages.push_back(request);
  }
  for (Pending &pending : started)
    if (pending.collective) {
      pending.collective->cancelled = true;
      while (pending.collective->working)
        state.meeting(rank(), pending.axes).wake.wait(lock);
      pending.collective = nullptr;
    }
}

void ThreadCommunicator::abort(const std::string &message) {
  state.abort(message);
  Lock lock(state.mutex);
  cancelAll(lock);
}

// A rank may leave the first meeting of a collective when another aborts; whoever passes it finds
// all members in the collective, and they stay until the second one.
void ThreadCommunicator::meet(Lock &lock, Meeting &meeting, int axes, bool mayAbort) {
  if (mayAbort && state.aborted) {
    cancelAll(lock);
    state.check();
  }
  meeting.here[static_cast<size_t>(grid().groupIndex(rank(), axes))] = true;
  if (++meeting.arrived == meeting.parts.size()) {
    std::fill(meeting.here.begin(), meeting.here.end(), false);
    meeting.arrived = 0;
    ++meeting.round;
    for (size_t i = 0; i < meeting.parts.size(); ++i) {
      if (!meeting.parts[i].agrees(meeting.parts[0]))
        meeting.disagreeing = i; // for good: all members end with an error
      meeting.sends[i] = meeting.parts[i].send;
      meeting.receives[i] = meeting.parts[i].receive;
    }
    meeting.wake.notify_all();
    return;
  }
  uint64_t round = meeting.round;
  Clock::time_point until = mayAbort ? deadline() : Clock::time_point::max();
  while (meeting.round == round) {
    if (mayAbort && state.aborted) {
      --meeting.arrived; // whoever comes now sees the abort first
      cancelAll(lock);
      state.check();
    }
    if (!sleep(lock, meeting.wake, until)) {
      std::string missing = missingFrom(meeting, axes);
      --meeting.arrived;
      meeting.here[static_cast<size_t>(grid().groupIndex(rank(), axes))] = false;
      giveUp(lock, missing);
    }
  }
}

std::string ThreadCommunicator::missingFrom(const Meeting &meeting, int axes) const {
  std::vector<int> missing;
  for (size_t i = 0; i < meeting.here.size(); ++i)
    if (!meeting.here[i])
      missing.push_back(grid().groupMember(rank(), axes, static_cast<int>(i)));
  return namesOf(missing);
}

std::string ThreadCommunicator::namesOf(const std::vector<int> &ranks) const {
  return fmt::format("rank{} {} to come to the same collective", ranks.size() == 1 ? "" : "s",
                     fmt::join(ranks, ", "));
}

Meeting &ThreadCommunicator::begin(const Part &part, int axes) {
  Meeting &meeting = state.meeting(rank(), axes);
  Lock lock(state.mutex);
  meeting.parts[static_cast<size_t>(grid().groupIndex(rank(), axes))] = part;
  meet(lock, meeting, axes, true);
  checkAgreement(meeting, axes);
  return meeting;
}

void ThreadCommunicator::checkAgreement(const Meeting &meeting, int axes) const {
  if (meeting.disagreeing)
    failToAgree(axes, meeting.disagreeing);
}

void ThreadCommunicator::failToAgree(int axes, size_t other) const {
  fail("ranks {} and {} meet in different collectives or with different sizes",
       grid().groupMember(rank(), axes, 0),
       grid().groupMember(rank(), axes, static_cast<int>(other)));
}

void ThreadCommunicator::end(Meeting &meeting, int axes) {
  Lock lock(state.mutex);
  meet(lock, meeting, axes, false);
}

void ThreadCommunicator::allReduce(void *buffer, size_t elements, ElementType type, int axes) {
  Meeting &meeting = begin({Collective::AllReduce, buffer, buffer, 1, elements, type}, axes);
  size_t members = meeting.parts.size();
  size_t index = static_cast<size_t>(grid().groupIndex(rank(), axes));
  if (members > 1) {
    count(Traffic::AllReduce, elements * elementBytes(type));
    reduceShare(meeting.parts[index], meeting.sends, meeting.receives, index);
  }
  end(meeting, axes);
}

// This member's share of a reduction: of an all-reduce some of the elements on all members, of a
// reduce-scatter its own part.
void ThreadCommunicator::reduceShare(const Part &part, std::span<const void *const> sends,
                                     std::span<void *const> receives, size_t index) {
  size_t members = sends.size();
  if (part.operation == Collective::AllReduce) {
    // Shares are whole cache lines.
    size_t share = ((part.inner + members - 1) / members + 15) / 16 * 16;
    size_t first = std::min(part.inner, share * index);
    sumInOrder(sends, receives, first, std::min(part.inner, first + share), part.type);
    return;
  }
  size_t bytes = part.inner * elementBytes(part.type);
  std::span<const void *> from(sources.data(), members);
  for (size_t o = 0; o < part.outer; ++o) {
    for (size_t member = 0; member < members; ++member)
      from[member] = static_cast<const uint8_t *>(sends[member]) + (o * members + index) * bytes;
    void *to = static_cast<uint8_t *>(part.receive) + o * bytes;
    sumInOrder(from, {&to, 1}, 0, part.inner, part.type);
  }
}

void ThreadCommunicator::allGather(const void *send, void *receive, size_t outer, size_t inner,
                                   ElementType type, int axes) {
  Meeting &meeting = begin({Collective::AllGather, send, receive, outer, inner, type}, axes);
  size_t members = meeting.parts.size(), bytes = inner * elementBytes(type);
  if (members > 1)
    count(Traffic::AllGather, outer * bytes);
  for (size_t member = 0; member < members && bytes; ++member)
    for (size_t o = 0; o < outer; ++o) {
      uint8_t *to = static_cast<uint8_t *>(receive) + (o * members + member) * bytes;
      const uint8_t *from = static_cast<const uint8_t *>(meeting.sends[member]) + o * bytes;
      if (to != from) // in place, or in memory that the members share
        std::memcpy(to, from, bytes);
    }
  end(meeting, axes);
}

void ThreadCommunicator::reduceScatter(const void *send, void *receive, size_t outer, size_t inner,
                                       ElementType type, int axes) {
  Meeting &meeting = begin({Collective::ReduceScatter, send, receive, outer, inner, type}, axes);
  size_t members = meeting.parts.size(), bytes = inner * elementBytes(type);
  size_t index = static_cast<size_t>(grid().groupIndex(rank(), axes));
  if (members > 1)
    count(Traffic::ReduceScatter, outer * members * bytes);
  reduceShare(meeting.parts[index], meeting.sends, meeting.receives, index);
  end(meeting, axes);
}

void ThreadCommunicator::allMeet(int axes) {
  Meeting &meeting = state.meeting(rank(), axes);
  Lock lock(state.mutex);
  meeting.parts[static_cast<size_t>(grid().groupIndex(rank(), axes))] = {Collective::Barrier};
  meet(lock, meeting, axes, true);
  checkAgreement(meeting, axes);
}

//===----------------------------------------------------------------------===//
// Reductions that are begun and waited for
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
  Meeting &meeting = state.meeting(rank(), axes);
  size_t index = static_cast<size_t>(grid().groupIndex(rank(), axes));
  Lock lock(state.mutex);
  if (state.aborted)
    cancelAll(lock);
  state.check();
  Started &collective = findStarted(meeting, startedBefore[static_cast<size_t>(axes)]++);
  collective.parts[index] = part;
  collective.sends[index] = part.send;
  collective.receives[index] = part.receive;
  if (++collective.begun == collective.parts.size()) {
    for (size_t i = 0; i < collective.parts.size(); ++i)
      if (!collective.parts[i].agrees(collective.parts[0]))
        collective.disagreeing = i;
    meeting.wake.notify_all();
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
void ThreadCommunicator::workOnStarted(Lock &lock) {
  for (Pending &pending : started) {
    Started *collective = pending.collective;
    if (!collective || pending.worked || collective->cancelled || collective->disagreeing ||
        collective->begun < collective->parts.size())
      continue;
    pending.worked = true;
    size_t index = static_cast<size_t>(grid().groupIndex(rank(), pending.axes));
    ++collective->working;
    lock.unlock();
    reduceShare(collective->parts[index], collective->sends, collective->receives, index);
    lock.lock();
    --collective->working;
    if (++collective->finished == collective->parts.size() || collective->cancelled)
      state.meeting(rank(), pending.axes).wake.notify_all();
  }
}

void ThreadCommunicator::waitForStarted(Lock &lock, Pending &pending) {
  Started &collective = *pending.collective;
  Meeting &meeting = state.meeting(rank(), pending.axes);
  size_t members = collective.parts.size();
  Clock::time_point until = deadline();
  for (workOnStarted(lock); collective.finished < members; workOnStarted(lock)) {
    if (state.aborted) {
      cancelAll(lock);
      state.check();
    }
    if (size_t other = collective.disagreeing) {
      int axes = pending.axes;
      cancelAll(lock);
      failToAgree(axes, other);
    }
    if (!sleep(lock, meeting.wake, until)) {
      std::vector<int> missing;
      for (size_t i = 0; i < members; ++i)
        if (collective.parts[i].operation == Collective::None)
          missing.push_back(grid().groupMember(rank(), pending.axes, static_cast<int>(i)));
      giveUp(lock, namesOf(missing));
    }
  }
  leave(pending);
}

void ThreadCommunicator::leave(Pending &pending) {
  Started &collective = *pending.collective;
  if (++collective.left == collective.parts.size())
    collective.inUse = false;
  pending.collective = nullptr;
}

} // namespace

std::unique_ptr<Communicator> createThreadCommunicator(ThreadGroup::State &state, int rank) {
  return std::make_unique<ThreadCommunicator>(state, rank);
}

} // namespace seqpar::rt
