//===- ThreadState.h - what thread ranks share ------------------*- C++ -*-===//
//
// One mutex guards everything here; data is copied and added outside of it. Ranks sleep on
// condition variables.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Communicator.h"

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

namespace seqpar::rt {

enum class Collective { None, AllReduce, AllGather, ReduceScatter, Barrier };

/// What the members of a group must agree on.
struct CollectiveKind {
  Collective operation = Collective::None;
  uint64_t outer = 0, inner = 0;
  ElementType type = ElementType::F32;

  bool operator==(const CollectiveKind &) const = default;
};

/// Nanoseconds of the steady clock.
uint64_t nowNanoseconds();

/// A send or receive. It is posted, then either the matching other side finds it and copies, or it
/// finds the other side. Between processes the link carries it.
struct Message {
  enum State { Free, Posted, Copying, Remote, Done };
  State state = Free;
  bool isSend = false;
  int source = 0, destination = 0, tag = 0;
  void *data = nullptr; ///< read only when isSend
  size_t bytes = 0;
  int channel = 0;       ///< the axes of the collective that it is a part of; 0: none
  CollectiveKind kind{}; ///< of that collective
  uint64_t doneAt = 0;   ///< nanoseconds of the steady clock

  void setDone();

  int owner() const { return isSend ? source : destination; }
  /// Whether `other` is the other side's.
  bool matches(const Message &other) const {
    return isSend != other.isSend && source == other.source && destination == other.destination &&
           tag == other.tag && channel == other.channel;
  }
};

/// What is wrong with two sides of a message that match; empty when nothing is.
std::string disagreement(const Message &from, const Message &to);

/// What one rank has asked for. Messages keep their addresses. There is room for more than a ring
/// ever has pending; past that their number grows.
struct RankState {
  static constexpr uint32_t kRoom = 64;

  RankState() : messages(kRoom) {
    freeMessages.reserve(kRoom);
    for (uint32_t request = kRoom; request-- > 0;)
      freeMessages.push_back(request);
    mailbox.reserve(4 * kRoom);
  }

  std::deque<Message> messages;
  std::vector<uint32_t> freeMessages;
  std::condition_variable wake; ///< the rank sleeps on no other
  std::atomic<const char *> activity{""};
  std::vector<Message *> mailbox; ///< posted messages whose destination is this rank, in order
};

/// One member's part in a collective whose members share memory.
struct Part {
  CollectiveKind kind;
  const void *send = nullptr;
  void *receive = nullptr;
};

/// A collective that members have begun and not all have left. A member works on its share when all
/// have begun, whenever it comes by: when it begins the next one, or in any wait.
struct Started {
  uint64_t number = 0; ///< counted by group
  bool inUse = false;
  std::vector<Part> parts; ///< by member
  std::vector<const void *> sends;
  std::vector<void *> receives;
  size_t disagreeing = 0; ///< as in Meeting
  bool cancelled = false; ///< a member has left it and no one may touch its buffers
  uint64_t doneAt = 0;    ///< as of Message
  size_t begun = 0, working = 0, finished = 0, left = 0;
};

/// Where the members of a group meet: a barrier used at the begin and at the end of a collective.
struct Meeting {
  std::vector<Part> parts;         ///< by member
  std::vector<const void *> sends; ///< the parts' buffers, filled by the last to arrive
  std::vector<void *> receives;
  size_t disagreeing = 0; ///< a member whose part differs from the first's; 0: none
  std::vector<bool> here; ///< by member: has arrived
  size_t arrived = 0;
  uint64_t round = 0;
  std::deque<Started> started; ///< as many as are pending at a time; they keep their addresses
};

class Link;

/// Not a set of axes: all ranks of this process.
inline constexpr int kLocalRanks = -1;

struct ThreadGroup::State {
  State(Grid grid, Processes *processes);
  ~State();
  State(const State &) = delete;
  State &operator=(const State &) = delete;

  bool isLocal(int rank) const { return rank >= firstRank && rank < firstRank + localRanks; }
  /// Whether all members of the group of `rank` are in this process.
  bool isLocal(int rank, int axes) const;
  int processOf(int rank) const;

  /// Meeting of the group of `rank` over `axes`, all of which is in this process.
  Meeting &meeting(int rank, int axes);
  /// Throws Aborted when some rank has aborted. The mutex is held.
  void check() const;
  void abort(const std::string &message);
  /// The same with the mutex held.
  void abortLocked(const std::string &message);
  /// The message of an abort in another process.
  void abortedElsewhere(const std::string &message);
  /// Marks a message that the link has carried.
  void finished(Message &message);

  const Grid grid;
  Processes *const processes; ///< null: this is the only one
  Link *link = nullptr;
  uint32_t number = 0; ///< of the group, the same in all processes
  int firstRank = 0, localRanks = 0;
  mutable std::mutex mutex;
  bool aborted = false;
  std::string message;
  std::deque<RankState> ranks; ///< by rank; used are those of this process
  std::array<std::deque<Meeting>, kAllAxes + 1> meetings; ///< [axes][first rank of the group]
  Meeting localMeeting;

private:
  void setAborted(const std::string &why);
};

std::unique_ptr<Communicator> createThreadCommunicator(ThreadGroup::State &state, int rank);

} // namespace seqpar::rt
