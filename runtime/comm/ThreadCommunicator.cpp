//===- ThreadCommunicator.cpp - ranks that are threads ----------*- C++ -*-===//
//
// Point to point: whichever side comes later copies, so a message whose receiver has posted early
// moves while the receiver computes. Collectives: every member publishes its buffers, all meet,
// each works on its share of the elements straight in the others' memory, all meet again.
//
//===----------------------------------------------------------------------===//

#include "Reduce.h"
#include "ThreadState.h"

#include <algorithm>
#include <chrono>
#include <cstring>

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
  void meet(Lock &lock, Meeting &meeting, int axes, bool mayAbort);
  void allMeet(int axes);
  std::string missingFrom(const Meeting &meeting, int axes) const;

  ThreadGroup::State &state;
  RankState &own;
  std::vector<const void *> sources; // of reduceScatter
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
  std::string text;
  for (size_t i = 0; i < meeting.here.size(); ++i)
    if (!meeting.here[i])
      text += fmt::format("{}{}", text.empty() ? "" : ", ",
                          grid().groupMember(rank(), axes, static_cast<int>(i)));
  return fmt::format("rank{} {} to come to the same collective",
                     text.find(',') == std::string::npos ? "" : "s", text);
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
    fail("ranks {} and {} meet in different collectives or with different sizes",
         grid().groupMember(rank(), axes, 0),
         grid().groupMember(rank(), axes, static_cast<int>(meeting.disagreeing)));
}

void ThreadCommunicator::end(Meeting &meeting, int axes) {
  Lock lock(state.mutex);
  meet(lock, meeting, axes, false);
}

void ThreadCommunicator::allReduce(void *buffer, size_t elements, ElementType type, int axes) {
  Meeting &meeting = begin({Collective::AllReduce, buffer, buffer, 1, elements, type}, axes);
  size_t members = meeting.parts.size();
  if (members > 1) {
    count(Traffic::AllReduce, elements * elementBytes(type));
    // Shares are whole cache lines.
    size_t share = ((elements + members - 1) / members + 15) / 16 * 16;
    size_t first = std::min(elements, share * static_cast<size_t>(grid().groupIndex(rank(), axes)));
    sumInOrder(meeting.sends, meeting.receives, first, std::min(elements, first + share), type);
  }
  end(meeting, axes);
}

void ThreadCommunicator::allGather(const void *send, void *receive, size_t outer, size_t inner,
                                   ElementType type, int axes) {
  Meeting &meeting = begin({Collective::AllGather, send, receive, outer, inner, type}, axes);
  size_t members = meeting.parts.size(), bytes = inner * elementBytes(type);
  if (members > 1)
    count(Traffic::AllGather, outer * bytes);
  for (size_t member = 0; member < members && bytes; ++member)
    for (size_t o = 0; o < outer; ++o)
      std::memcpy(static_cast<uint8_t *>(receive) + (o * members + member) * bytes,
                  static_cast<const uint8_t *>(meeting.sends[member]) + o * bytes, bytes);
  end(meeting, axes);
}

void ThreadCommunicator::reduceScatter(const void *send, void *receive, size_t outer, size_t inner,
                                       ElementType type, int axes) {
  Meeting &meeting = begin({Collective::ReduceScatter, send, receive, outer, inner, type}, axes);
  size_t members = meeting.parts.size(), bytes = inner * elementBytes(type);
  size_t index = static_cast<size_t>(grid().groupIndex(rank(), axes));
  if (members > 1)
    count(Traffic::ReduceScatter, outer * members * bytes);
  std::span<const void *> from(sources.data(), members);
  for (size_t o = 0; o < outer; ++o) {
    for (size_t member = 0; member < members; ++member)
      from[member] =
          static_cast<const uint8_t *>(meeting.sends[member]) + (o * members + index) * bytes;
    void *to = static_cast<uint8_t *>(receive) + o * bytes;
    sumInOrder(from, {&to, 1}, 0, inner, type);
  }
  end(meeting, axes);
}

void ThreadCommunicator::allMeet(int axes) {
  Meeting &meeting = state.meeting(rank(), axes);
  Lock lock(state.mutex);
  meeting.parts[static_cast<size_t>(grid().groupIndex(rank(), axes))] = {Collective::Barrier};
  meet(lock, meeting, axes, true);
  checkAgreement(meeting, axes);
}

} // namespace

std::unique_ptr<Communicator> createThreadCommunicator(ThreadGroup::State &state, int rank) {
  return std::make_unique<ThreadCommunicator>(state, rank);
}

} // namespace seqpar::rt
