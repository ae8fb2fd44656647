//===- Link.h - messages between ranks of different processes ---*- C++ -*-===//
//
// One thread of each process owns the wire and moves all of its ranks' messages while they compute.
// A receiver announces itself: it posts its buffer on the wire and tells the sender, who matches
// the announcement with what it has to send and sends straight from buffer to buffer. So nothing
// ever arrives unexpected, sizes are compared before anything moves, and order and tags are the
// link's own.
//
// While something is on its way the thread looks at the wire at growing intervals, up to a fifth of
// a millisecond, later a whole one, and sleeps in between.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "ThreadState.h"
#include "Wire.h"

#include <exception>
#include <functional>
#include <list>
#include <thread>
#include <unordered_map>

namespace seqpar::rt {

class Link {
public:
  /// Makes the wire, on the link's thread, and gathers a text of every process. Throws what the
  /// wire throws.
  Link(const std::function<std::unique_ptr<Wire>()> &makeWire, const std::string &own);
  /// The wire ends with the thread.
  ~Link();
  Link(const Link &) = delete;
  Link &operator=(const Link &) = delete;

  int index() const { return processIndex; }
  int count() const { return static_cast<int>(theTexts.size()); }
  /// What each process has given to its constructor.
  const std::vector<std::string> &texts() const { return theTexts; }

  /// Carries a message to or from a rank of another process; State::finished tells its end.
  void post(ThreadGroup::State &group, Message &message);
  /// Ends a message that was posted, done or not. When the other side's process has died, a short
  /// while later.
  void cancel(Message &message);
  /// The group ends: none of its messages is posted any more.
  void close(const ThreadGroup::State &group);

private:
  using Clock = std::chrono::steady_clock;

  /// From a receiver to the sender.
  struct Announcement {
    uint32_t group = 0;
    int32_t source = 0, destination = 0, tag = 0, channel = 0;
    int32_t payloadTag = 0;
    uint64_t bytes = 0;
    CollectiveKind kind;
  };
  struct Posted {
    ThreadGroup::State *group;
    Message *message;
  };
  /// The bytes of a message, on the wire in parts.
  struct Transfer {
    Posted posted;
    bool isSend;
    std::vector<Wire::Token> parts;
    size_t left;
    bool cancelled = false;
    Clock::time_point giveUp;
  };
  struct Command {
    enum Kind { Post, Cancel, Close } kind;
    Posted posted;
    uint32_t group = 0;
  };

  void run(const std::function<std::unique_ptr<Wire>()> &makeWire, const std::string &own);
  void loop();
  void refuse(const std::string &why);
  void sleep(int idle);
  void obey(const Command &command);
  bool look();
  void announce(Posted receive);
  void listen();
  void heard(const Announcement &announcement);
  void start(Posted send, const Announcement &announcement);
  void transfer(Posted posted, int process, int tag);
  void cancelNow(Message *message);
  void giveUpCancelled();
  bool busy() const { return !transfers.empty() || !sends.empty() || !announcing.empty(); }

  // Shared with the ranks' threads.
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<Command> commands;
  bool stop = false, ready = false;
  std::exception_ptr failure;

  // Of the link's thread.
  std::unique_ptr<Wire> wire;
  std::vector<Command> taken;
  size_t obeyed = 0; // of those
  std::vector<Wire::Token> done;
  std::list<Posted> sends;                                // no announcement has come for them
  std::list<Announcement> announcements;                  // nothing to send for them yet
  std::list<Transfer> transfers;                          // on the wire
  std::unordered_map<Wire::Token, Transfer *> transferOf; // by part
  std::unordered_map<Wire::Token, std::unique_ptr<Announcement>> announcing; // being sent
  Announcement incoming;
  Wire::Token incomingToken = 0;
  int32_t nextPayloadTag = 1;
  uint32_t closedBelow = 0; // groups with a smaller number have ended

  int processIndex = 0;
  std::vector<std::string> theTexts;
  std::thread thread; // last: it uses all of the above
};

} // namespace seqpar::rt
