//===- ThreadState.h - what thread ranks share ------------------*- C++ -*-===//
//
// One mutex guards everything here; data is copied and added outside of it. Ranks sleep on
// condition variables.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Communicator.h"

#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

namespace seqpar::rt {

/// A send or receive. It is posted, then either the matching other side finds it and copies, or it
/// finds the other side.
struct Message {
  enum State { Free, Posted, Copying, Done };
  State state = Free;
  bool isSend = false;
  int source = 0, destination = 0, tag = 0;
  void *data = nullptr; ///< read only when isSend
  size_t bytes = 0;

  int owner() const { return isSend ? source : destination; }
};

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
  std::condition_variable wake;
  std::vector<Message *> mailbox; ///< posted messages whose destination is this rank, in order
};

enum class Collective { None, AllReduce, AllGather, ReduceScatter, Barrier };

/// One member's part in a collective.
struct Part {
  Collective operation = Collective::None;
  const void *send = nullptr;
  void *receive = nullptr;
  size_t outer = 0, inner = 0;
  ElementType type = ElementType::F32;

  bool agrees(const Part &other) const {
    return operation == other.operation && outer == other.outer && inner == other.inner &&
           type == other.type;
  }
};

/// A collective that members have begun and not all have left. A member works on its share when all
/// have begun, whenever it comes by: when it begins the next one, or while it waits.
struct Started {
  uint64_t number = 0; ///< counted by group
  bool inUse = false;
  std::vector<Part> parts; ///< by member
  std::vector<const void *> sends;
  std::vector<void *> receives;
  size_t disagreeing = 0; ///< as in Meeting
  bool cancelled = false; ///< a member has left it and no one may touch its buffers
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
  std::condition_variable wake;
  std::deque<Started> started; ///< as many as are pending at a time; they keep their addresses
};

struct ThreadGroup::State {
  explicit State(Grid grid);

  /// Meeting of the group of `rank` over `axes`.
  Meeting &meeting(int rank, int axes);
  /// Throws Aborted when some rank has aborted. The mutex is held.
  void check() const;
  void abort(const std::string &message);
  /// The same with the mutex held.
  void abortLocked(const std::string &message);

  const Grid grid;
  mutable std::mutex mutex;
  bool aborted = false;
  std::string message;
  std::deque<RankState> ranks;
  std::array<std::deque<Meeting>, kAllAxes + 1> meetings; ///< [axes][first rank of the group]
};

std::unique_ptr<Communicator> createThreadCommunicator(ThreadGroup::State &state, int rank);

} // namespace seqpar::rt
