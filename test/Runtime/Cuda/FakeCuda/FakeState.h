//===- FakeState.h - what the fake driver keeps -----------------*- C++ -*-===//
#pragma once

#include "FakeCuda.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

namespace fakecuda {

/// What is known to be over, by stream: operations up to that number.
struct Clock {
  std::vector<uint64_t> passed;

  uint64_t of(size_t stream) const { return stream < passed.size() ? passed[stream] : 0; }
  void set(size_t stream, uint64_t number) {
    if (passed.size() <= stream)
      passed.resize(stream + 1);
    passed[stream] = number;
  }
  void join(const Clock &other) {
    for (size_t i = 0; i < other.passed.size(); ++i)
      if (other.passed[i] > of(i))
        set(i, other.passed[i]);
  }
};

/// Finds accesses that nothing orders.
class RaceCheck {
public:
  /// An operation with the number `clock.of(stream)` of a stream, which comes after all that the
  /// clock knows.
  void access(const Clock &clock, size_t stream, const std::string &label, const Access &access);
  void forget(const void *memory, size_t bytes);

private:
  struct Record {
    uintptr_t begin, end;
    bool write;
    size_t stream;
    uint64_t number;
    std::string label;
  };
  std::vector<Record> records;
};

struct Operation {
  std::string label;
  std::vector<Access> accesses;
  std::function<void()> run;
  Prepare prepare{}; ///< makes `run` whenever it is launched
};

struct Event;
struct Stream;

/// A captured operation.
struct Node {
  Operation operation;
  size_t stream; ///< number of the stream that captured it
  Clock before; ///< operations of the capture on each stream up to which it comes after; itself too
};

struct Graph {
  std::vector<Node> nodes; ///< in an order that the edges allow
  size_t origin = 0;       ///< number of the stream that began the capture
  bool open = true;        ///< while it is captured
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::thread::id thread; ///< that began the capture
  RaceCheck races;
  /// By captured stream: what the operations of other streams than the origin's run on.
  std::map<size_t, std::shared_ptr<Stream>> branches;
};

/// How far one launch of a graph has come.
class Replay {
public:
  void begin();
  void await(const Clock &clock); ///< has begun, and each stream has done as many operations
  void finish(size_t stream);

private:
  std::mutex mutex;
  std::condition_variable wake;
  bool begun = false;
  Clock done;
};

struct Stream {
  explicit Stream(size_t number);
  ~Stream();

  void push(std::function<void()> work);
  void drain();

  const size_t number; ///< streams are counted, never reused
  Clock clock;
  int device = 0;

  // Capture.
  std::shared_ptr<Graph> graph;
  bool origin = false; ///< of the capture
  Clock captured;      ///< the clock within the capture, whose operations do not run

private:
  void work();
  std::mutex mutex;
  std::condition_variable wake, idle;
  std::deque<std::function<void()>> queue;
  bool busy = false, stopping = false;
  std::thread thread;
};

struct Event {
  Clock clock;
  uint64_t recorded = 0;
  Stream *stream = nullptr;     ///< of the last record
  std::shared_ptr<Graph> graph; ///< of the last record, when it was captured
  std::mutex mutex;
  std::condition_variable wake;
  uint64_t done = 0;
  std::chrono::steady_clock::time_point time;

  void finish(uint64_t version);
  void wait(uint64_t version);
};

struct Module {
  std::set<std::string> kernels;
};
struct Function {
  std::string name;
  unsigned dynamicShared = 48 * 1024;
};

struct Allocation {
  size_t bytes;
  int device; ///< -1: pinned memory of the host
};

struct State {
  std::recursive_mutex mutex;
  Configuration configuration;
  std::map<uintptr_t, Allocation> memory;
  std::map<Stream *, std::unique_ptr<Stream>> streams;
  std::map<Event *, std::unique_ptr<Event>> events;
  std::vector<std::unique_ptr<Event>> formerEvents; ///< that work may still name
  std::map<Module *, std::unique_ptr<Module>> modules;
  std::map<std::pair<Module *, std::string>, std::unique_ptr<Function>> functions;
  std::set<Function *> knownFunctions;
  std::map<std::string, Kernel> kernels;
  std::map<void *, std::shared_ptr<Graph>> graphs, executables;
  std::map<size_t, std::weak_ptr<Stream>> branches; ///< of graphs, by captured stream
  std::map<std::string, CUresult> failures;
  std::vector<std::string> problems, operations;
  RaceCheck races;
  Clock host; ///< what the host has waited for
  size_t streamCount = 0;
  bool broken = false; ///< an operation has failed: every later call does too

  void problem(const std::string &text);
  /// Error of failNext.
  CUresult takeFailure(const char *function);
  /// Error of failNext, of a missing context, or of an operation that has failed.
  CUresult begin(const char *function, bool needsContext = true);
  Stream *find(CUstream stream);
  Event *find(CUevent event);
  /// The operation is captured or put on the stream's thread.
  CUresult issue(Stream &stream, Operation operation);
  void launch(Graph &graph, Stream &stream);
  /// False, with a problem, when an access is outside of allocated memory: it does not run then.
  bool checkMemory(const Operation &operation);
  /// Whether a capture forbids this thread a call that is not safe in one, as its mode says.
  bool refusesWhileCapturing(const char *function);

private:
  /// Checks an operation that comes after all that the clock knows, and puts it on a stream.
  void start(Stream &stream, const Clock &clock, const Operation &operation,
             std::function<void()> before = {}, std::function<void()> after = {});
};

State &state();
/// Device of the context that is current in this thread; -1: none.
extern thread_local int currentDevice;

using Lock = std::lock_guard<std::recursive_mutex>;

} // namespace fakecuda
