//===- NcclCommunicator.h - see createNcclCommunicator ----------*- C++ -*-===//
#pragma once

#include "seqpar/rt/cuda/Nccl.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace seqpar::rt::cuda {

class NcclCommunicator final : public Communicator {
public:
  NcclCommunicator(std::unique_ptr<Communicator> host, const Context &context,
                   const Stream &compute, Recordings &recordings, std::shared_ptr<Nccl> library);
  ~NcclCommunicator() override;

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
  void barrier() override;
  void localBarrier() override;
  bool sharesMemory(int axes) const override { return host->sharesMemory(axes); }
  bool followsDevice() const override { return true; }
  bool canRecord() const override { return true; }
  void beginRecording() override;
  RecordedExchanges endRecording() noexcept override;
  void beginReplay(const RecordedExchanges &exchanges, const char *where) override;
  void endReplay() override;
  void abort(const std::string &message) override;
  void cancel() override;
  void setActivity(const char *what) override { host->setActivity(what); }
  std::string abortMessage() const override { return host->abortMessage(); }

private:
  using Clock = std::chrono::steady_clock;

  void startGroup() override { startMessages(); }

  /// What exchanges are made for. Each has a stream, and NCCL's communicators of its own.
  enum Lane { Ring, NextStage, PreviousStage, Reduction, kLanes };

  /// A message that has been asked for.
  struct Message {
    bool isSend;
    void *data;
    size_t bytes;
    int peer, tag;
    size_t number; ///< in the order of the calls
    Request request;
    Lane lane;
  };

  struct Exchange {
    enum State { Free, OfHost, Held, Started };
    State state = Free;
    Request ofHost = 0;
    std::unique_ptr<Event> done;
  };

  /// What the watching thread looks at: an exchange, or a replay that has some, that was started
  /// and is not known to be over.
  struct Watched {
    std::unique_ptr<Event> begun, done;
    std::optional<Clock::time_point> since; ///< when it was first seen to have begun
    std::string what;
  };

  ncclComm_t communicatorOf(Lane lane, int axes);
  /// Calls NCCL while no abort can free the communicator. Throws Error, or Aborted.
  template <typename Calls>
  void callNccl(ncclComm_t communicator, const char *what, const std::string &awaited, Calls calls);
  /// What NCCL goes on with in threads of its own has to end within the timeout. `lock` is of
  /// `calls`.
  void seeThrough(std::unique_lock<std::timed_mutex> &lock, ncclComm_t communicator,
                  ncclResult_t result, const char *what, const std::string &awaited);
  static int axesOf(Lane lane) {
    return lane == Ring ? kAxisSp : lane == Reduction ? kAllAxes : kAxisPp;
  }
  Lane laneTo(int peer) const;
  Request newRequest(Exchange::State state);
  Request post(bool isSend, void *data, size_t bytes, int peer, int tag);
  void startMessages();
  void begin(Lane lane);
  void watchFrom(CUstream stream, std::string what);
  void watchUntil(CUstream stream);
  void finish(Lane lane, std::span<const Request> requests, std::string what);
  template <typename Body>
  Request startReduction(const char *what, int axes, size_t elements, Body body);
  void copyAlone(void *to, const void *from, size_t bytes);
  bool ofDevice(const void *memory) const { return context.ownsMemory(memory); }
  /// Calls the host's communicator with this one's timeout, and counts the time it slept.
  template <typename Call> auto throughHost(Call call);
  void throwIfAborted();

  void watch();
  bool isOver(Watched &each);
  std::string findFailure();
  void abortAll();

  std::unique_ptr<Communicator> host;
  const Context &context;
  const Stream &compute;
  Recordings &recordings;
  std::shared_ptr<Nccl> library;
  std::deque<Stream> streams; // by lane
  Event issued;               // what an exchange comes after
  std::vector<Exchange> exchanges;
  std::vector<Message> held;
  size_t recorded = 0;            // exchanges of the recording that goes on
  std::optional<Watched> current; // what has begun and is not yet issued as a whole

  std::timed_mutex calls; // held while NCCL is called; taken after `mutex`, never before
  std::mutex mutex;       // of what follows
  std::map<std::pair<int, int>, ncclComm_t> communicators; // by lane and axes
  std::deque<Watched> watched;
  std::vector<std::unique_ptr<Event>> spare;
  std::atomic<double> limit = 0; // the timeout
  bool stopping = false;
  std::atomic<bool> aborted = false;
  std::condition_variable wake;
  std::thread watcher;
  std::vector<std::thread> aborts;
};

} // namespace seqpar::rt::cuda
