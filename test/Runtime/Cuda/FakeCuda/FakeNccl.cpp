#include "FakeNccl.h"

#include "FakeCuda.h"

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
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
  uint64_t collectives = 0;
  std::atomic<bool> aborted = false;
};

namespace {

std::mutex mutex; // of what follows
std::map<std::string, std::shared_ptr<Clique>> cliques;
std::vector<std::unique_ptr<ncclComm>> communicators; // ended ones too: work may name them
int ids = 0, liveCount = 0;
ncclResult_t initFailure = ncclSuccess, asyncFailure = ncclSuccess;
std::string asyncText;

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

/// What a stream does for the calls of one group.
void run(const std::vector<Call> &calls) {
  std::vector<std::pair<ncclComm *, std::shared_ptr<Posted>>> posted;
  for (const Call &call : calls)
    if (call.kind == Send) {
      Clique &clique = *call.communicator->clique;
      std::lock_guard lock(clique.mutex);
      auto message = std::make_shared<Posted>(Posted{call.send, call.count});
      clique.messages[{call.communicator->rank, call.peer}].push_back(message);
      posted.emplace_back(call.communicator, message);
      clique.wake.notify_all();
    }
  for (const Call &call : calls)
    if (call.kind == Receive)
      receive(call);
    else if (call.kind != Send)
      collective(call);
  for (auto &[communicator, message] : posted) {
    std::unique_lock lock(communicator->clique->mutex);
    await(*communicator, lock, [&, message = message] { return message->taken; });
  }
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
  while (!calls.empty()) {
    CUstream stream = calls.front().stream;
    std::vector<Call> ofStream;
    std::erase_if(calls, [&](const Call &call) {
      if (call.stream == stream)
        ofStream.push_back(call);
      return call.stream == stream;
    });
    if (fakecuda::issue(stream, "nccl", accesses(ofStream), [ofStream] { run(ofStream); }) !=
        CUDA_SUCCESS)
      return ncclUnhandledCudaError;
  }
  return ncclSuccess;
}

ncclResult_t call(Call made) {
  if (made.communicator->aborted)
    return ncclInvalidUsage;
  if (made.kind != Send && made.kind != Receive)
    made.number = made.communicator->collectives++;
  group.push_back(made);
  return depth ? ncclSuccess : endGroup();
}

void end(ncclComm_t communicator) {
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

void reset() {
  std::lock_guard lock(mutex);
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
  if (communicator) {
    std::lock_guard cliqueLock(communicator->clique->mutex);
    if (!communicator->clique->error.empty())
      text = communicator->clique->error;
  }
  return text.c_str();
}

ncclResult_t ncclCommInitRank(ncclComm_t *made, int size, ncclUniqueId id, int rank) {
  std::shared_ptr<Clique> clique;
  {
    std::lock_guard lock(mutex);
    if (initFailure != ncclSuccess)
      return std::exchange(initFailure, ncclSuccess);
    std::shared_ptr<Clique> &found = cliques[id.internal];
    if (!found)
      found = std::make_shared<Clique>();
    clique = found;
    ++liveCount;
  }
  std::unique_lock lock(clique->mutex);
  clique->size = size;
  ++clique->joined;
  clique->wake.notify_all();
  clique->wake.wait(lock, [&] { return clique->joined == size; });
  auto owner = std::make_unique<ncclComm>(clique, rank);
  *made = owner.get();
  lock.unlock();
  std::lock_guard all(mutex);
  communicators.push_back(std::move(owner));
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t communicator) {
  end(communicator);
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  {
    std::lock_guard lock(communicator->clique->mutex);
    communicator->aborted = true;
  }
  end(communicator);
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t *error) {
  std::lock_guard lock(mutex);
  *error = asyncFailure;
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
