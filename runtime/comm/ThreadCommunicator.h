//===- ThreadCommunicator.h - ranks that are threads ------------*- C++ -*-===//
//
// Point to point: whichever side comes later copies, so a message whose receiver has posted early
// moves while the receiver computes. Messages between processes are carried by the link.
//
// Collectives of ranks of one process: every member publishes its buffers, all meet, each works on
// its share of the elements straight in the others' memory, all meet again. Those of several
// processes (SpanningCollectives.cpp) are made of messages.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "ThreadState.h"

#include <array>
#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace seqpar::rt {

class ThreadCommunicator final : public Communicator {
public:
  ThreadCommunicator(ThreadGroup::State &state, int rank);
  ~ThreadCommunicator() override;

  Request send(const void *data, size_t bytes, int destination, int tag, Traffic traffic) override;
  Request receive(void *data, size_t bytes, int source, int tag) override;
  void wait(Request request) override;

  void allReduce(void *buffer, size_t elements, ElementType type, int axes) override;
  void allGather(const void *send, void *receive, size_t outer, size_t inner, ElementType type,
                 int axes) override;
  void reduceScatter(const void *send, void *receive, size_t outer, size_t inner, ElementType type,
                     int axes) override;
  Request startAllReduce(void *buffer, size_t elements, ElementType type, int axes) override;
  Request startReduceScatter(const void *send, void *receive, size_t outer, size_t inner,
                             ElementType type, int axes) override;
  bool sharesMemory(int axes) const override { return !spans(axes); }
  void barrier() override;
  void localBarrier() override;
  void abort(const std::string &message) override;
  void cancel() override;
  std::string abortMessage() const override;
  void setActivity(const char *what) override {
    own.activity.store(what, std::memory_order_relaxed);
  }

private:
  using Lock = std::unique_lock<std::mutex>;
  using Clock = std::chrono::steady_clock;

  Request post(const Message &message);
  void copy(Lock &lock, Message &mine, Message &other);
  Message *takeMatch(const Message &message);
  /// A call of the interface. When it throws, whatever the rank has asked for is taken back.
  class Call {
  public:
    explicit Call(ThreadCommunicator &own) : own(own), exceptions(std::uncaught_exceptions()) {}
    ~Call() {
      if (std::uncaught_exceptions() > exceptions)
        own.cancel();
    }
    Call(const Call &) = delete;
    Call &operator=(const Call &) = delete;

  private:
    ThreadCommunicator &own;
    int exceptions;
  };
  void cancelAll(Lock &lock);
  Clock::time_point deadline() const;
  bool sleep(Lock &lock, Clock::time_point &until);
  bool progress(Lock &lock);
  void wakeGroup(int axes);
  [[noreturn]] void giveUp(Lock &lock, const std::string &whatFor);

  /// Works on memory, also of others, with the mutex released. What it throws ends the group, whose
  /// members wait for what it does not do; then false.
  template <typename Work> bool attempt(Lock &lock, const Work &work) {
    std::optional<std::string> failure;
    lock.unlock();
    try {
      work();
    } catch (const std::exception &error) {
      failure = error.what();
    }
    lock.lock();
    if (failure)
      failGroup(failure->c_str());
    return !failure;
  }
  void failGroup(const char *why);
  template <typename Work> void collective(const Part &part, int axes, const Work &work);
  void meet(Lock &lock, Meeting &meeting, int axes, bool mayAbort);
  void allMeet(int axes);
  size_t indexIn(int axes) const;
  int memberOf(int axes, size_t index) const;
  [[noreturn]] void failToAgree(int axes, size_t other) const;
  std::string missingFrom(const Meeting &meeting, int axes) const;
  std::string namesOf(const std::vector<int> &ranks) const;
  static std::string describe(const Message &message);
  void release(Request request);
  void reduceShare(const Part &part, std::span<const void *const> sends,
                   std::span<void *const> receives, size_t index);

  // Reductions that are begun and waited for (StartedReductions.cpp), of one process.
  /// One that this rank has begun and not yet left.
  struct Pending {
    Started *collective = nullptr; ///< null: free
    int axes = 0;
    bool worked = false;
  };
  // Messages are numbered below.
  static constexpr Request kFirstStarted = Request(1) << 31;
  static constexpr Request kFirstSpanning = Request(3) << 30;
  Request start(const Part &part, int axes);
  Started &findStarted(Meeting &meeting, uint64_t number);
  bool workOnStarted(Lock &lock);
  void waitForStarted(Lock &lock, Pending &pending);
  void leave(Pending &pending);

  // Of groups that span processes. A member's index is its place in the group.
  struct Group {
    CollectiveKind kind;
    int axes = 0;
    size_t members = 1, own = 0; ///< how many, and this rank's index
    size_t elementSize = 1;
    int tag = 0;

    size_t blockElements() const;
  };
  /// A started reduction. First every member's share of the elements comes in and is added, then
  /// the sums go to all.
  struct Spanning {
    bool inUse = false, addsNext = false;
    uint64_t addedAt = 0; ///< nanoseconds of the steady clock
    Part part;
    Group group;
    std::vector<Request> parts; ///< of this round
    std::vector<const void *> sources;
    std::vector<uint8_t> scratch; ///< by member; kept for the next one
  };
  bool spans(int axes) const { return !isLocal[static_cast<size_t>(axes)]; }
  Group groupOf(CollectiveKind kind, int axes) const;
  void sendTo(const Group &group, size_t member, const void *data, size_t bytes,
              std::vector<Request> &to);
  void receiveFrom(const Group &group, size_t member, void *data, size_t bytes,
                   std::vector<Request> &to);
  void waitForParts();
  void spanAllReduce(const Group &group, void *buffer);
  void exchangeWhole(const Group &group, void *buffer);
  void spanAllGather(const Group &group, const void *send, void *receive);
  void spanReduceScatter(const Group &group, const void *send, void *receive);
  void spanBarrier(const Group &group);
  static std::pair<size_t, size_t> shareOf(const Group &group, size_t m);
  Request startSpanning(const Part &part, int axes);
  void addSpanning(Spanning &own);
  bool partsDone(const Spanning &each) const;
  bool advance(Lock &lock);
  void waitForSpanning(size_t number);
  uint8_t *scratchOf(size_t member, size_t members);

  ThreadGroup::State &state;
  RankState &own;
  std::vector<const void *> sources;      // of a sum, by member
  std::vector<const void *> shareSources; // of one that may be added while `sources` are awaited
  std::vector<Pending> started;
  std::deque<Spanning> spanning;
  std::array<uint64_t, kAllAxes + 1> startedBefore{}; // by axes
  std::array<bool, kAllAxes + 1> isLocal{};           // by axes: the group is in this process
  std::vector<Request> parts;                         // of the running collective
  std::unique_ptr<uint8_t[]> scratch;                 // two halves: what comes in, what goes out
};

} // namespace seqpar::rt
