//===- Communicator.h - exchange between ranks ------------------*- C++ -*-===//
//
// What a rank needs from the others. Each transport implements this interface;
// test/Runtime/CommunicatorConformance runs the same cases on all of them.
//
// One Communicator belongs to one rank and is used by one thread. Collectives are called by all
// members of a group, in the same order. Buffers stay the caller's; they must not be touched while
// a request that names them is pending, and are free again when a call throws. Waiting sleeps.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Error.h"
#include "seqpar/rt/Grid.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace seqpar::rt {

/// What bytes are sent for; each kind is counted.
enum class Traffic : int { RingShift, PointToPoint, AllReduce, AllGather, ReduceScatter };
inline constexpr int kTrafficKinds = 5;
/// "ring_shift", "point_to_point", "all_reduce", "all_gather", "reduce_scatter".
const char *trafficName(Traffic traffic);

/// Elements that collectives can add, and bytes, which can be gathered only.
enum class ElementType : int { F32, F64, I32, I64, Byte };
size_t elementBytes(ElementType type);

/// Exchanges that a device has recorded.
struct RecordedExchanges {
  size_t number = 0;
  std::array<uint64_t, kTrafficKinds> bytes{}; ///< sent by each replay
};

/// Another rank has failed: this one ends with the same message, which is the first failure's.
class Aborted : public Error {
public:
  using Error::Error;
};

/// Moves and adds what ranks of one process hand to a communicator, where this is not memory that
/// the host's threads can read. Calls come from any thread, are complete on return, and may name
/// memory of several ranks, and of the host.
class ExchangeMemory {
public:
  virtual ~ExchangeMemory() = default;
  virtual void copy(void *to, const void *from, size_t bytes) = 0;
  /// For elements [begin, end): adds the members' buffers in order and writes the sum to each of
  /// `to`. A buffer may be in both lists.
  virtual void sumInOrder(std::span<const void *const> from, std::span<void *const> to,
                          size_t begin, size_t end, ElementType type) = 0;
};

/// That of the host.
ExchangeMemory &hostMemory();

class Communicator {
public:
  /// Names a pending send, receive or reduction until it is waited for.
  using Request = uint32_t;

  Communicator(Grid grid, int rank) : theGrid(grid), theRank(rank) {}
  virtual ~Communicator() = default;

  const Grid &grid() const { return theGrid; }
  int rank() const { return theRank; }
  int size() const { return theGrid.size(); }
  Coordinates coordinates() const { return theGrid.of(theRank); }

  /// Starts to send `bytes` bytes to rank `destination`, which receives them with the same tag.
  /// Messages of one source, destination and tag arrive in order. Returns at once.
  virtual Request send(const void *data, size_t bytes, int destination, int tag,
                       Traffic traffic) = 0;
  /// Starts to receive exactly `bytes` bytes. Returns at once.
  virtual Request receive(void *data, size_t bytes, int source, int tag) = 0;
  /// Sleeps until the request is done and forgets it.
  virtual void wait(Request request) = 0;

  /// buffer = sum over the group, added in rank order: the same bits on every rank.
  virtual void allReduce(void *buffer, size_t elements, ElementType type, int axes) = 0;
  /// receive[o][r][i] = send of member r [o][i], for outer o and inner i. `send` may be the
  /// caller's part of `receive`, and where members share memory their `receive` may be one.
  virtual void allGather(const void *send, void *receive, size_t outer, size_t inner,
                         ElementType type, int axes) = 0;
  /// receive[o][i] = sum over members of send[o][my index][i], added in rank order. `receive` may
  /// be the caller's part of `send`.
  virtual void reduceScatter(const void *send, void *receive, size_t outer, size_t inner,
                             ElementType type, int axes) = 0;
  /// Begin an all-reduce or a reduce-scatter and return at once; `wait` completes it, with the same
  /// bits as the call that does not. All members of a group begin theirs in the same order; they
  /// may wait for them, and meet in other collectives, in any.
  virtual Request startAllReduce(void *buffer, size_t elements, ElementType type, int axes) = 0;
  virtual Request startReduceScatter(const void *send, void *receive, size_t outer, size_t inner,
                                     ElementType type, int axes) = 0;
  /// Sleeps until every rank has come here.
  virtual void barrier() = 0;
  /// Sleeps until every rank of this process has come here.
  virtual void localBarrier() = 0;
  /// Whether all members of the caller's group are threads of this process, which may work on one
  /// memory.
  virtual bool sharesMemory(int axes) const = 0;

  /// Whether exchanges of a device's memory come after what has been issued to the device, and what
  /// is issued after their wait comes after them. Otherwise the device must have been waited for
  /// before an exchange is started, and a wait waits for the data itself.
  virtual bool followsDevice() const { return false; }
  /// Messages started between these are one exchange: none of them waits for another. One group at
  /// a time. Throw Error when one is begun in another, or ended that is not begun.
  void beginGroup();
  void endGroup();
  /// Whether exchanges can be part of what the device records (Device::beginRecording), as each is
  /// started and waited for in the recording.
  virtual bool canRecord() const { return false; }
  /// Exchanges between these are recorded and not made. Every request is waited for between them,
  /// and none from before.
  virtual void beginRecording() { unrecorded = sent; }
  virtual RecordedExchanges endRecording() noexcept;
  /// Before and after the device replays a recording with these exchanges: they are counted and
  /// have the timeout. `where` is what they belong to, for messages; it must outlive the group.
  virtual void beginReplay(const RecordedExchanges &exchanges, const char *where);
  virtual void endReplay() {}
  /// For ranks that are threads of one process: how their memory is moved. It must outlive this.
  void setMemory(ExchangeMemory &exchange) { memory = &exchange; }

  /// Seconds that a wait or a collective may last before it throws Error, naming whom it waits for;
  /// 0: for ever.
  double timeout() const { return theTimeout; }
  void setTimeout(double seconds) { theTimeout = seconds; }

  /// Wakes all ranks; from now on every call of every rank throws Aborted with the message of the
  /// first abort. May be called from any thread; what ranks have asked for stays pending.
  virtual void abort(const std::string &message) = 0;
  /// Takes back what this rank has asked for and waits until nothing touches its buffers, as a call
  /// that throws does. For a rank that has failed by itself, before the buffers go.
  virtual void cancel() = 0;
  /// Message of the first abort of any rank; empty when there was none. From any thread.
  virtual std::string abortMessage() const { return {}; }

  /// What the rank is doing, for messages about a rank that hangs; the text must outlive the group.
  virtual void setActivity(const char *what) { static_cast<void>(what); }

  /// Bytes this rank has handed over for sending: of point-to-point messages their sizes, of a
  /// collective the size of its send buffer (of an all-reduce, its buffer). A group of one sends
  /// nothing.
  uint64_t bytesSent(Traffic traffic) const { return sent[static_cast<size_t>(traffic)]; }
  /// When the last request that was waited for was done, which may be long before the wait:
  /// nanoseconds of the steady clock.
  uint64_t doneNanoseconds() const { return done; }
  /// What was sent so far does not count.
  void forgetBytesSent() { sent = {}; }
  /// Time this rank has slept in waits and collectives.
  uint64_t waitedNanoseconds() const { return waited; }

protected:
  /// All messages of a group have been asked for.
  virtual void startGroup() {}
  bool inGroup() const { return grouping; }

  void count(Traffic traffic, size_t bytes) { sent[static_cast<size_t>(traffic)] += bytes; }

  uint64_t waited = 0, done = 0;
  ExchangeMemory *memory = &hostMemory();

private:
  Grid theGrid;
  int theRank;
  double theTimeout = 0;
  bool grouping = false;
  std::array<uint64_t, kTrafficKinds> sent{}, unrecorded{};
};

class Processes;

/// Ranks that are threads, of one process or of several: consecutive ranks are in one process.
/// Owned by whoever starts the threads; must outlive its communicators.
class ThreadGroup {
public:
  /// All ranks are in this process, or, with several processes, divided among them as evenly as
  /// possible. All processes then make the same groups, one after another.
  explicit ThreadGroup(Grid grid, Processes *processes = nullptr);
  ~ThreadGroup();
  ThreadGroup(const ThreadGroup &) = delete;
  ThreadGroup &operator=(const ThreadGroup &) = delete;

  /// The ranks of this process: localRanks() of them, beginning with firstRank().
  int firstRank() const;
  int localRanks() const;
  /// The communicator of one of them; each is made once.
  std::unique_ptr<Communicator> communicator(int rank);
  /// As Communicator::abort.
  void abort(const std::string &message);
  bool aborted() const;
  /// Message of the first abort; empty when there was none.
  std::string abortMessage() const;

  struct State;

private:
  std::unique_ptr<State> state;
};

} // namespace seqpar::rt
