#include "FakeNccl.h"

#include "FakeCuda.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace {

struct Posted {
  const void *data;
  size_t bytes;
  bool taken = false;
};

/// One collective, by its number in the clique.
struct Meeting {
  std::vector<const void *> sends;
  std::vector<std::pair<int, size_t>> kinds; ///< operation, count
  int come = 0, read = 0;
};

struct Clique {
  int size = 0, joined = 0;
  std::mutex mutex;
  std::condition_variable wake;
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<Posted>>> messages; ///< from, to
  std::map<uint64_t, Meeting> meetings;
  std::string error;
};

} // namespace

struct ncclComm {
  ncclComm(std::shared_ptr<Clique> clique, int rank) : clique(std::move(clique)), rank(rank) {}
  std::shared_ptr<Clique> clique;
  int rank;
  std::atomic<uint64_t> groups = 0, collectives = 0; ///< launched so far
  uint64_t served = 0; ///< groups that are over; under the clique's mutex
  std::shared_ptr<int> graphs = std::make_shared<int>(); ///< each graph with work of it has a copy
  std::atomic<bool> aborted = false, ended = false;
  std::atomic<bool> hangs = false; ///< its calls never get through
};

namespace {

std::mutex mutex; // of what follows
std::map<std::string, std::shared_ptr<Clique>> cliques;
std::vector<std::unique_ptr<ncclComm>> communicators; // ended ones too: work may name them
int ids = 0, liveCount = 0;
ncclResult_t initFailure = ncclSuccess, asyncFailure = ncclSuccess;
std::string asyncText;
bool losesInit = false, hangsCall = false;

enum { Send, Receive, AllReduce, AllGather, ReduceScatter };

struct Call {
  int kind;
  const void *send;
  void *receive;
  size_t count;
  ncclDataType_t type;
  int peer;
  ncclComm *communicator;
  CUstream stream;
  uint64_t number; ///< of a collective
};

thread_local int depth = 0;
thread_local std::vector<Call> group;

size_t bytesOf(ncclDataType_t type) {
  switch (type) {
  case ncclInt8:
    return 1;
  case ncclFloat64:
  case ncclInt64:
    return 8;
  default:
    return 4;
  }
}

/// False: the communicator was aborted. After an error nothing goes on.
template <typename Ready> bool await(ncclComm &c, std::unique_lock<std::mutex> &lock, Ready ready) {
  c.clique->wake.wait(lock, [&] { return c.aborted || (c.clique->error.empty() && ready()); });
  return !c.aborted;
}

void fail(ncclComm &c, std::unique_lock<std::mutex> &lock, const std::string &text) {
  if (c.clique->error.empty())
    c.clique->error = text;
  c.clique->wake.notify_all();
  await(c, lock, [] { return false; });
}

void receive(const Call &call) {
  ncclComm &c = *call.communicator;
  Clique &clique = *c.clique;
  std::unique_lock lock(clique.mutex);
  auto &box = clique.messages[{call.peer, c.rank}];
  if (!await(c, lock, [&] { return !box.empty(); }))
    return;
  std::shared_ptr<Posted> posted = box.front();
  box.pop_front();
  if (posted->bytes != call.count)
    return fail(c, lock,
                "rank " + std::to_string(call.peer) + " sends " + std::to_string(posted->bytes) +
                    " bytes to rank " + std::to_string(c.rank) + ", which expects " +
                    std::to_string(call.count));
  std::memcpy(call.receive, posted->data, posted->bytes);
  posted->taken = true;
  clique.wake.notify_all();
}

template <typename T>
void sum(const std::vector<const void *> &sends, size_t begin, size_t count, void *to) {
  for (size_t i = 0; i < count; ++i) {
    T total = static_cast<const T *>(sends[0])[begin + i];
    for (size_t m = 1; m < sends.size(); ++m)
      total += static_cast<const T *>(sends[m])[begin + i];
    static_cast<T *>(to)[i] = total;
  }
}

void sumOf(ncclDataType_t type, const std::vector<const void *> &sends, size_t begin, size_t count,
           void *to) {
  switch (type) {
  case ncclFloat64:
    return sum<double>(sends, begin, count, to);
  case ncclInt32:
    return sum<uint32_t>(sends, begin, count, to);
  case ncclInt64:
    return sum<uint64_t>(sends, begin, count, to);
  default:
    return sum<float>(sends, begin, count, to);
  }
}

/// All come, all read what the others send, and then all write.
void collective(const Call &call) {
  ncclComm &c = *call.communicator;
  Clique &clique = *c.clique;
  size_t size = size_t(clique.size), bytes = call.count * bytesOf(call.type);
  std::unique_lock lock(clique.mutex);
  Meeting &meeting = clique.meetings[call.number];
  meeting.sends.resize(size);
  meeting.kinds.resize(size);
  meeting.sends[size_t(c.rank)] = call.send;
  meeting.kinds[size_t(c.rank)] = {call.kind, call.count};
  ++meeting.come;
  clique.wake.notify_all();
  if (!await(c, lock, [&] { return meeting.come == clique.size; }))
    return;
  for (auto &kind : meeting.kinds)
    if (kind != meeting.kinds[0])
      return fail(c, lock, "ranks meet in different collectives or with different sizes");
  std::vector<char> result(call.kind == AllGather ? bytes * size : bytes);
  if (call.kind == AllReduce)
    sumOf(call.type, meeting.sends, 0, call.count, result.data());
  else if (call.kind == ReduceScatter)
    sumOf(call.type, meeting.sends, size_t(c.rank) * call.count, call.count, result.data());
  else
    for (size_t m = 0; m < size; ++m)
      std::memcpy(result.data() + m * bytes, meeting.sends[m], bytes);
  ++meeting.read;
  clique.wake.notify_all();
  if (!await(c, lock, [&] { return meeting.read == clique.size; }))
    return;
  std::memcpy(call.receive, result.data(), result.size());
}

/// What a stream does for the calls of one group, which is its communicator's `turn`-th: whatever
/// streams and graphs they are on, groups of a communicator do not overlap.
void run(const std::vector<Call> &calls, uint64_t turn) {
  ncclComm &c = *calls.front().communicator;
  {
    std::unique_lock lock(c.clique->mutex);
    await(c, lock, [&] { return c.served == turn; });
  }
  std::vector<std::shared_ptr<Posted>> posted;
  for (const Call &call : calls)
    if (call.kind == Send) {
      std::lock_guard lock(c.clique->mutex);
      auto message = std::make_shared<Posted>(Posted{call.send, call.count});
      c.clique->messages[{c.rank, call.peer}].push_back(message);
      posted.push_back(message);
      c.clique->wake.notify_all();
    }
  for (const Call &call : calls)
    if (call.kind == Receive)
      receive(call);
    else if (call.kind != Send)
      collective(call);
  std::unique_lock lock(c.clique->mutex);
  for (const auto &message : posted)
    await(c, lock, [&] { return message->taken; });
  c.served = turn + 1;
  c.clique->wake.notify_all();
}

std::vector<fakecuda::Access> accesses(const std::vector<Call> &calls) {
  std::vector<fakecuda::Access> result;
  for (const Call &call : calls) {
    size_t bytes = call.count * bytesOf(call.type),
           all = bytes * size_t(call.communicator->clique->size);
    if (call.send)
      result.push_back(fakecuda::reads(call.send, call.kind == ReduceScatter ? all : bytes));
    if (call.receive)
      result.push_back(fakecuda::writes(call.receive, call.kind == AllGather ? all : bytes));
  }
  return result;
}

ncclResult_t endGroup() {
  std::vector<Call> calls = std::exchange(group, {});
  {
    std::lock_guard lock(mutex);
    if (!calls.empty() && std::exchange(hangsCall, false)) {
      calls.front().communicator->hangs = true;
      return ncclInProgress;
    }
  }
  if (calls.empty())
    return ncclSuccess;
  ncclComm *c = calls.front().communicator;
  CUstream stream = calls.front().stream;
  for (const Call &call : calls)
    if (call.communicator != c || call.stream != stream) {
      fakecuda::addProblem("a group of NCCL's calls has several communicators or streams");
      return ncclInvalidUsage;
    }
  // Numbers are given when the work is launched, be it by a graph, which has the reference.
  auto prepare = [c, calls, reference = c->graphs]() -> std::function<void()> {
    std::vector<Call> launched = calls;
    for (Call &call : launched)
      if (call.kind != Send && call.kind != Receive)
        call.number = c->collectives++;
    return [launched, turn = c->groups++] { run(launched, turn); };
  };
  return fakecuda::issueEach(stream, "nccl", accesses(calls), prepare) == CUDA_SUCCESS
             ? ncclSuccess
             : ncclUnhandledCudaError;
}

/// False, with a problem, when NCCL has freed it.
bool use(ncclComm_t communicator) {
  if (!communicator->ended)
    return true;
  fakecuda::addProblem("NCCL's communicator is used after its end");
  return false;
}

bool ready(ncclComm_t communicator) {
  std::lock_guard lock(communicator->clique->mutex);
  return communicator->clique->joined == communicator->clique->size;
}

ncclResult_t call(Call made) {
  if (!use(made.communicator))
    return ncclInvalidArgument;
  if (!ready(made.communicator)) {
    fakecuda::addProblem("NCCL's communicator is used before it is ready");
    return ncclInvalidUsage;
  }
  group.push_back(made);
  return depth ? ncclSuccess : endGroup();
}

/// NCCL's communicators end after the graphs that have work of them.
void end(ncclComm_t communicator) {
  communicator->ended = true;
  auto begin = std::chrono::steady_clock::now();
  while (communicator->graphs.use_count() > 1) {
    if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(5)) {
      fakecuda::addProblem("NCCL waits for the end of graphs that have its work");
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::lock_guard lock(mutex);
  --liveCount;
  communicator->clique->wake.notify_all();
}

} // namespace

namespace fakenccl {

void failInit(ncclResult_t error) {
  std::lock_guard lock(mutex);
  initFailure = error;
}

void failAsync(ncclResult_t error, const std::string &text) {
  std::lock_guard lock(mutex);
  asyncFailure = error;
  asyncText = text;
}

void loseNextInit() {
  std::lock_guard lock(mutex);
  losesInit = true;
}

void hangNextCall() {
  std::lock_guard lock(mutex);
  hangsCall = true;
}

void reset() {
  std::lock_guard lock(mutex);
  losesInit = hangsCall = false;
  initFailure = asyncFailure = ncclSuccess;
  asyncText.clear();
  cliques.clear();
}

int live() {
  std::lock_guard lock(mutex);
  return liveCount;
}

} // namespace fakenccl

extern "C" {

ncclResult_t ncclGetVersion(int *version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
  std::lock_guard lock(mutex);
  *id = {};
  std::snprintf(id->internal, sizeof(id->internal), "clique %d", ids++);
  return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result) {
  return result == ncclRemoteError          ? "remote process exited or there was a network error"
         : result == ncclUnhandledCudaError ? "unhandled cuda error"
                                            : "an error of the fake";
}

const char *ncclGetLastError(ncclComm_t communicator) {
  thread_local std::string text;
  std::lock_guard lock(mutex);
  text = asyncText;
  if (communicator && use(communicator)) {
    std::lock_guard cliqueLock(communicator->clique->mutex);
    if (!communicator->clique->error.empty())
      text = communicator->clique->error;
  }
  return text.c_str();
}

/// Returns at once; the communicator is ready when all have come.
ncclResult_t ncclCommInitRankConfig(ncclComm_t *made, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *config) {
  std::lock_guard all(mutex);
  if (initFailure != ncclSuccess)
    return std::exchange(initFailure, ncclSuccess);
  if (config->blocking != 0)
    fakecuda::addProblem("NCCL's communicator blocks: an abort cannot end a call of it");
  std::shared_ptr<Clique> &clique = cliques[id.internal];
  if (!clique)
    clique = std::make_shared<Clique>();
  ++liveCount;
  communicators.push_back(std::make_unique<ncclComm>(clique, rank));
  *made = communicators.back().get();
  std::lock_guard lock(clique->mutex);
  clique->size = size;
  if (!std::exchange(losesInit, false))
    ++clique->joined;
  clique->wake.notify_all();
  return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t communicator) {
  if (!use(communicator))
    return ncclInvalidArgument;
  if (!ready(communicator))
    fakecuda::addProblem("NCCL's communicator is destroyed before it is ready");
  end(communicator);
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  if (!use(communicator))
    return ncclInvalidArgument;
  {
    std::lock_guard lock(communicator->clique->mutex);
    communicator->aborted = true;
    communicator->clique->wake.notify_all();
  }
  end(communicator);
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t *error) {
  if (!use(communicator))
    return ncclInvalidArgument;
  bool isReady = ready(communicator);
  std::lock_guard lock(mutex);
  *error = asyncFailure;
  if (*error == ncclSuccess && (!isReady || communicator->hangs))
    *error = ncclInProgress;
  std::lock_guard cliqueLock(communicator->clique->mutex);
  if (!communicator->clique->error.empty())
    *error = ncclInvalidArgument;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() { return --depth ? ncclSuccess : endGroup(); }

ncclResult_t ncclSend(const void *data, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t communicator, cudaStream_t stream) {
  return call({Send, data, nullptr, count * bytesOf(type), ncclInt8, peer, communicator,
               reinterpret_cast<CUstream>(stream), 0});
}

ncclResult_t ncclRecv(void *data, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t communicator, cudaStream_t stream) {
  return call({Receive, nullptr, data, count * bytesOf(type), ncclInt8, peer, communicator,
               reinterpret_cast<CUstream>(stream), 0});
}

ncclResult_t ncclAllReduce(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclRedOp_t, ncclComm_t communicator, cudaStream_t stream) {
  return call({AllReduce, send, receive, count, type, 0, communicator,
               reinterpret_cast<CUstream>(stream), 0});
}

ncclResult_t ncclAllGather(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclComm_t communicator, cudaStream_t stream) {
  return call({AllGather, send, receive, count, type, 0, communicator,
               reinterpret_cast<CUstream>(stream), 0});
}

ncclResult_t ncclReduceScatter(const void *send, void *receive, size_t count, ncclDataType_t type,
                               ncclRedOp_t, ncclComm_t communicator, cudaStream_t stream) {
  return call({ReduceScatter, send, receive, count, type, 0, communicator,
               reinterpret_cast<CUstream>(stream), 0});
}

} // extern "C"
