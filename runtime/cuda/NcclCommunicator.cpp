#include "NcclCommunicator.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <tuple>

namespace seqpar::rt::cuda {

namespace {

ncclDataType_t dataType(ElementType type) {
  switch (type) {
  case ElementType::F32:
    return ncclFloat32;
  case ElementType::F64:
    return ncclFloat64;
  case ElementType::I32:
    return ncclInt32;
  case ElementType::I64:
    return ncclInt64;
  case ElementType::Byte:
    return ncclInt8;
  }
  return ncclFloat32;
}

constexpr const char *kLaneNames[] = {"a ring shift", "an exchange with the next stage",
                                      "an exchange with the previous stage", "a collective"};

} // namespace

NcclCommunicator::NcclCommunicator(std::unique_ptr<Communicator> host, const Context &context,
                                   const Stream &compute, Recordings &recordings,
                                   std::shared_ptr<Nccl> library)
    : Communicator(host->grid(), host->rank()), host(std::move(host)), context(context),
      compute(compute), recordings(recordings), library(std::move(library)), issued(context) {
  setTimeout(this->host->timeout());
  for (int lane = 0; lane < kLanes; ++lane)
    streams.emplace_back(context);
  watcher = std::thread([this] { watch(); });
}

NcclCommunicator::~NcclCommunicator() {
  recordings.clear();
  {
    std::lock_guard lock(mutex);
    stopping = true;
  }
  wake.notify_all();
  watcher.join();
  for (std::thread &abort : aborts)
    abort.join();
  if (!context.tryUse())
    return;
  for (auto &[key, communicator] : communicators) {
    // One that has failed, or is still being made, would wait for the others.
    ncclResult_t state = ncclSuccess;
    library->ncclCommGetAsyncError(communicator, &state);
    if (state == ncclSuccess)
      library->ncclCommDestroy(communicator);
    else
      library->ncclCommAbort(communicator);
  }
}

template <typename Call> auto NcclCommunicator::throughHost(Call call) {
  host->setTimeout(timeout());
  uint64_t before = host->waitedNanoseconds();
  struct Count {
    NcclCommunicator &self;
    uint64_t before;
    ~Count() { self.waited += self.host->waitedNanoseconds() - before; }
  } count{*this, before};
  return call(*host);
}

void NcclCommunicator::throwIfAborted() {
  std::string message = host->abortMessage();
  if (!message.empty())
    throw Aborted(message);
  if (aborted)
    throw Aborted("this rank's exchanges were taken back");
}

//===----------------------------------------------------------------------===//
// Calls of NCCL
//===----------------------------------------------------------------------===//

static bool failed(ncclResult_t result) {
  return result != ncclSuccess && result != ncclInProgress;
}

void NcclCommunicator::seeThrough(std::unique_lock<std::timed_mutex> &lock, ncclComm_t communicator,
                                  ncclResult_t result, const char *what,
                                  const std::string &awaited) {
  Clock::time_point begin = Clock::now();
  while (result == ncclInProgress) {
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    lock.lock();
    throwIfAborted();
    auto spent = Clock::now() - begin;
    if (timeout() > 0 && std::chrono::duration<double>(spent).count() > timeout())
      fail("waited {:g} s in vain for {}; --timeout sets the limit", timeout(), awaited);
    if (ncclResult_t asked = library->ncclCommGetAsyncError(communicator, &result); failed(asked))
      result = asked;
  }
  waited += uint64_t(std::chrono::nanoseconds(Clock::now() - begin).count());
  if (!failed(result))
    return;
  std::string reason = library->describe(result, communicator);
  throwIfAborted(); // then this is what follows from it
  fail("{}: {}", what, reason);
}

template <typename Calls>
void NcclCommunicator::callNccl(ncclComm_t communicator, const char *what,
                                const std::string &awaited, Calls calls) {
  std::unique_lock lock(this->calls);
  throwIfAborted();
  library->check(library->ncclGroupStart(), "NCCL cannot begin a group");
  ncclResult_t result = calls(), ended = library->ncclGroupEnd();
  seeThrough(lock, communicator, failed(result) ? result : ended, what, awaited);
}

// The first member makes an id, and all learn it from each other on the host.
ncclComm_t NcclCommunicator::communicatorOf(Lane lane, int axes) {
  auto key = std::make_pair(int(lane), axes);
  {
    std::lock_guard lock(mutex);
    if (auto found = communicators.find(key); found != communicators.end())
      return found->second;
  }
  int members = grid().groupSize(axes), index = grid().groupIndex(rank(), axes);
  constexpr size_t kWords = sizeof(ncclUniqueId) / sizeof(int32_t);
  ncclUniqueId own{};
  if (index == 0)
    library->check(library->ncclGetUniqueId(&own), "NCCL makes no id");
  std::vector<int32_t> all(kWords * size_t(members));
  throughHost(
      [&](Communicator &on) { on.allGather(&own, all.data(), 1, kWords, ElementType::I32, axes); });
  std::memcpy(&own, all.data(), sizeof(own));
  context.use();
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclComm_t made = nullptr;
  const char *what = "NCCL cannot join the ranks of a group";
  ncclResult_t result;
  {
    std::lock_guard lock(mutex);
    throwIfAborted();
    result = library->ncclCommInitRankConfig(&made, members, own, index, &config);
    if (!failed(result))
      communicators[key] = made;
  }
  if (failed(result))
    library->check(result, what);
  std::unique_lock lock(calls);
  throwIfAborted();
  seeThrough(lock, made, result, what,
             fmt::format("the others to join NCCL's communicator for {}", kLaneNames[lane]));
  return made;
}

//===----------------------------------------------------------------------===//
// Streams and requests
//===----------------------------------------------------------------------===//

void NcclCommunicator::begin(Lane lane) {
  context.use();
  issued.record(compute);
  issued.block(streams[lane]);
  if (!recordings.active())
    watchFrom(streams[lane], "");
}

// The events of requests are recorded on the lane's stream, and those for the watching thread.
void NcclCommunicator::finish(Lane lane, std::span<const Request> requests, std::string what) {
  for (Request request : requests) {
    exchanges[request].done->record(streams[lane]);
    exchanges[request].state = Exchange::Started;
  }
  if (recordings.active()) {
    ++recorded;
    return;
  }
  current->what = std::move(what);
  watchUntil(streams[lane]);
}

void NcclCommunicator::watchFrom(CUstream stream, std::string what) {
  auto event = [&] {
    if (spare.empty())
      return std::make_unique<Event>(context);
    std::unique_ptr<Event> found = std::move(spare.back());
    spare.pop_back();
    return found;
  };
  std::lock_guard lock(mutex);
  current = Watched{event(), event(), std::nullopt, std::move(what)};
  current->begun->record(stream);
}

void NcclCommunicator::watchUntil(CUstream stream) {
  std::lock_guard lock(mutex);
  limit = timeout();
  current->done->record(stream);
  watched.push_back(std::move(*current));
  current.reset();
}

Communicator::Request NcclCommunicator::newRequest(Exchange::State state) {
  size_t i = 0;
  while (i < exchanges.size() && exchanges[i].state != Exchange::Free)
    ++i;
  if (i == exchanges.size())
    exchanges.emplace_back();
  exchanges[i].state = state;
  if (!exchanges[i].done)
    exchanges[i].done = std::make_unique<Event>(context);
  return Request(i);
}

void NcclCommunicator::wait(Request request) {
  if (request >= exchanges.size() || exchanges[request].state == Exchange::Free)
    fail("rank {} waits for an exchange that was not started", rank());
  Exchange &exchange = exchanges[request];
  if (exchange.state == Exchange::OfHost) {
    exchange.state = Exchange::Free;
    return throughHost([&](Communicator &on) { on.wait(exchange.ofHost); });
  }
  throwIfAborted();
  if (exchange.state == Exchange::Held && inGroup())
    fail("rank {} waits for a message of a group that it has not ended", rank());
  if (exchange.state == Exchange::Held)
    startMessages();
  context.use();
  exchange.done->block(compute);
  exchange.state = Exchange::Free;
}

//===----------------------------------------------------------------------===//
// Recordings
//===----------------------------------------------------------------------===//

void NcclCommunicator::beginRecording() {
  Communicator::beginRecording();
  recorded = 0;
}

RecordedExchanges NcclCommunicator::endRecording() noexcept {
  RecordedExchanges exchanges = Communicator::endRecording();
  exchanges.number = recorded;
  return exchanges;
}

void NcclCommunicator::beginReplay(const RecordedExchanges &exchanges, const char *where) {
  if (exchanges.number == 0)
    return;
  throwIfAborted();
  Communicator::beginReplay(exchanges, where);
  context.use();
  watchFrom(compute,
            fmt::format("the others in {} recorded exchanges from {} on", exchanges.number, where));
}

void NcclCommunicator::endReplay() {
  if (current)
    watchUntil(compute);
}

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

NcclCommunicator::Lane NcclCommunicator::laneTo(int peer) const {
  Coordinates here = coordinates(), there = grid().of(peer);
  if (here.pp == there.pp && here.dp == there.dp)
    return Ring;
  if (here.dp != there.dp || here.sp != there.sp)
    return Reduction; // over all ranks
  return there.pp > here.pp ? NextStage : PreviousStage;
}

Communicator::Request NcclCommunicator::post(bool isSend, void *data, size_t bytes, int peer,
                                             int tag) {
  if (peer < 0 || peer >= size())
    fail("a message between rank {} and rank {}: expected ranks below {}", rank(), peer, size());
  throwIfAborted();
  Request request = newRequest(Exchange::Held);
  // What one rank sends on the way to the next stage, that one receives from the previous.
  Lane lane = laneTo(peer);
  if (!isSend && (lane == NextStage || lane == PreviousStage))
    lane = lane == NextStage ? PreviousStage : NextStage;
  held.push_back({isSend, data, bytes, peer, tag, held.size(), request, lane});
  return request;
}

Communicator::Request NcclCommunicator::send(const void *data, size_t bytes, int destination,
                                             int tag, Traffic traffic) {
  if (destination != rank())
    count(traffic, bytes);
  if (ofDevice(data))
    return post(true, const_cast<void *>(data), bytes, destination, tag);
  Request request = newRequest(Exchange::OfHost);
  exchanges[request].ofHost = throughHost(
      [&](Communicator &on) { return on.send(data, bytes, destination, tag, traffic); });
  return request;
}

Communicator::Request NcclCommunicator::receive(void *data, size_t bytes, int source, int tag) {
  if (ofDevice(data))
    return post(false, data, bytes, source, tag);
  Request request = newRequest(Exchange::OfHost);
  exchanges[request].ofHost =
      throughHost([&](Communicator &on) { return on.receive(data, bytes, source, tag); });
  return request;
}

void NcclCommunicator::startMessages() {
  std::vector<Message> messages = std::exchange(held, {});
  std::sort(messages.begin(), messages.end(), [](const Message &a, const Message &b) {
    return std::tie(a.tag, a.number) < std::tie(b.tag, b.number);
  });
  for (Lane lane : {Ring, NextStage, PreviousStage, Reduction}) {
    std::vector<Request> requests;
    std::string what;
    for (const Message &message : messages)
      if (message.lane == lane) {
        requests.push_back(message.request);
        if (what.empty())
          what = fmt::format("rank {} to {} {} bytes with tag {}", message.peer,
                             message.isSend ? "receive" : "send", message.bytes, message.tag);
      }
    if (requests.empty())
      continue;
    int axes = axesOf(lane);
    ncclComm_t communicator = communicatorOf(lane, axes);
    begin(lane);
    callNccl(communicator, "NCCL cannot start messages", what, [&] {
      ncclResult_t result = ncclSuccess;
      for (const Message &message : messages) {
        if (message.lane != lane || failed(result))
          continue;
        int peer = grid().groupIndex(message.peer, axes);
        result = message.isSend ? library->ncclSend(message.data, message.bytes, ncclInt8, peer,
                                                    communicator, streams[lane])
                                : library->ncclRecv(message.data, message.bytes, ncclInt8, peer,
                                                    communicator, streams[lane]);
      }
      return result;
    });
    finish(lane, requests, what);
  }
}

//===----------------------------------------------------------------------===//
// Collectives
//===----------------------------------------------------------------------===//

template <typename Body>
Communicator::Request NcclCommunicator::startReduction(const char *what, int axes, size_t elements,
                                                       Body body) {
  throwIfAborted();
  Request request = newRequest(Exchange::Started);
  ncclComm_t communicator = communicatorOf(Reduction, axes);
  begin(Reduction);
  std::string awaited = fmt::format("the others in {} of {} elements", what, elements);
  callNccl(communicator, what, awaited, [&] { return body(communicator, streams[Reduction]); });
  finish(Reduction, {&request, 1}, std::move(awaited));
  return request;
}

void NcclCommunicator::copyAlone(void *to, const void *from, size_t bytes) {
  if (to == from || bytes == 0)
    return;
  context.use();
  context.driver().check(context->cuMemcpyDtoDAsync(reinterpret_cast<CUdeviceptr>(to),
                                                    reinterpret_cast<CUdeviceptr>(from), bytes,
                                                    compute),
                         "cannot copy memory");
}

Communicator::Request NcclCommunicator::startAllReduce(void *buffer, size_t elements,
                                                       ElementType type, int axes) {
  if (grid().groupSize(axes) > 1)
    count(Traffic::AllReduce, elements * elementBytes(type));
  if (!ofDevice(buffer)) {
    Request request = newRequest(Exchange::OfHost);
    exchanges[request].ofHost = throughHost(
        [&](Communicator &on) { return on.startAllReduce(buffer, elements, type, axes); });
    return request;
  }
  return startReduction("NCCL's all-reduce", axes, elements,
                        [&](ncclComm_t communicator, CUstream stream) {
                          return library->ncclAllReduce(buffer, buffer, elements, dataType(type),
                                                        ncclSum, communicator, stream);
                        });
}

Communicator::Request NcclCommunicator::startReduceScatter(const void *send, void *receive,
                                                           size_t outer, size_t inner,
                                                           ElementType type, int axes) {
  size_t members = size_t(grid().groupSize(axes)), size = elementBytes(type);
  if (members > 1)
    count(Traffic::ReduceScatter, outer * members * inner * size);
  if (!ofDevice(receive)) {
    Request request = newRequest(Exchange::OfHost);
    exchanges[request].ofHost = throughHost([&](Communicator &on) {
      return on.startReduceScatter(send, receive, outer, inner, type, axes);
    });
    return request;
  }
  return startReduction("NCCL's reduce-scatter", axes, outer * inner,
                        [&](ncclComm_t communicator, CUstream stream) {
                          ncclResult_t result = ncclSuccess;
                          for (size_t o = 0; o < outer && !failed(result); ++o)
                            result = library->ncclReduceScatter(
                                static_cast<const char *>(send) + o * members * inner * size,
                                static_cast<char *>(receive) + o * inner * size, inner,
                                dataType(type), ncclSum, communicator, stream);
                          return result;
                        });
}

void NcclCommunicator::allReduce(void *buffer, size_t elements, ElementType type, int axes) {
  if (grid().groupSize(axes) > 1)
    wait(startAllReduce(buffer, elements, type, axes));
}

void NcclCommunicator::reduceScatter(const void *send, void *receive, size_t outer, size_t inner,
                                     ElementType type, int axes) {
  if (grid().groupSize(axes) == 1 && ofDevice(receive))
    return copyAlone(receive, send, outer * inner * elementBytes(type));
  wait(startReduceScatter(send, receive, outer, inner, type, axes));
}

void NcclCommunicator::allGather(const void *send, void *receive, size_t outer, size_t inner,
                                 ElementType type, int axes) {
  size_t members = size_t(grid().groupSize(axes)), size = elementBytes(type);
  if (members > 1)
    count(Traffic::AllGather, outer * inner * size);
  if (!ofDevice(receive))
    return throughHost(
        [&](Communicator &on) { on.allGather(send, receive, outer, inner, type, axes); });
  if (members == 1)
    return copyAlone(receive, send, outer * inner * size);
  wait(startReduction(
      "NCCL's all-gather", axes, outer * inner, [&](ncclComm_t communicator, CUstream stream) {
        ncclResult_t result = ncclSuccess;
        for (size_t o = 0; o < outer && !failed(result); ++o)
          result = library->ncclAllGather(static_cast<const char *>(send) + o * inner * size,
                                          static_cast<char *>(receive) + o * members * inner * size,
                                          inner, dataType(type), communicator, stream);
        return result;
      }));
}

void NcclCommunicator::barrier() {
  throughHost([](Communicator &on) { on.barrier(); });
}

void NcclCommunicator::localBarrier() {
  throughHost([](Communicator &on) { on.localBarrier(); });
}

//===----------------------------------------------------------------------===//
// Failures
//===----------------------------------------------------------------------===//

void NcclCommunicator::abort(const std::string &message) {
  host->abort(message);
  std::lock_guard lock(mutex);
  abortAll();
}

// The GPU's memory is freed when its streams have come to their end, which they do after an abort.
void NcclCommunicator::cancel() {
  host->cancel();
  std::lock_guard lock(mutex);
  abortAll();
}

// With the mutex held. Ends what waits for other ranks on the GPU. From here on no call names
// NCCL's communicators, which their abort frees. It may take its time, so each has a thread: the
// others' work must end too.
void NcclCommunicator::abortAll() {
  if (aborted.exchange(true))
    return;
  // Calls do not block, except where the GPU's queue is full of what the abort is to end.
  std::unique_lock lock(calls, std::chrono::seconds(2));
  for (auto &[key, communicator] : std::exchange(communicators, {}))
    aborts.emplace_back(
        [library = library, communicator] { library->ncclCommAbort(communicator); });
}

// With the mutex held. What is wrong, if anything is.
std::string NcclCommunicator::findFailure() {
  for (auto &[key, communicator] : communicators) {
    ncclResult_t error = ncclSuccess;
    if (library->ncclCommGetAsyncError(communicator, &error) != ncclSuccess)
      continue;
    if (error == ncclSuccess || error == ncclInProgress)
      continue;
    const char *more = library->ncclGetLastError(communicator);
    return fmt::format("rank {}: NCCL has failed in {}: {}{}{}", rank(), kLaneNames[key.first],
                       library->ncclGetErrorString(error), more && *more ? ": " : "",
                       more ? more : "");
  }
  // Streams differ, so a later one may be over before an earlier one.
  std::erase_if(watched, [&](Watched &each) { return isOver(each); });
  double most = limit;
  for (Watched &each : watched) {
    if (!each.since && each.begun->over())
      each.since = Clock::now();
    if (most > 0 && each.since &&
        std::chrono::duration<double>(Clock::now() - *each.since).count() > most)
      return fmt::format("waited {:g} s in vain for {}; --timeout sets the limit", most, each.what);
  }
  return "";
}

bool NcclCommunicator::isOver(Watched &each) {
  if (!each.done->over())
    return false;
  spare.push_back(std::move(each.begun));
  spare.push_back(std::move(each.done));
  return true;
}

void NcclCommunicator::watch() {
  if (!context.tryUse())
    return host->abort(
        fmt::format("rank {}: the thread that watches NCCL cannot use the GPU", rank()));
  std::unique_lock lock(mutex);
  while (!wake.wait_for(lock, std::chrono::milliseconds(20), [&] { return stopping; })) {
    if (aborted)
      continue;
    std::string failure = findFailure();
    if (failure.empty()) {
      if (!host->abortMessage().empty())
        abortAll();
      continue;
    }
    // The message first: whoever is woken looks for it.
    lock.unlock();
    host->abort(failure);
    lock.lock();
    abortAll();
  }
}

std::unique_ptr<Communicator> createNcclCommunicator(std::unique_ptr<Communicator> host,
                                                     const Context &context, const Stream &compute,
                                                     Recordings &recordings,
                                                     std::shared_ptr<Nccl> library) {
  return std::make_unique<NcclCommunicator>(std::move(host), context, compute, recordings,
                                            std::move(library));
}

} // namespace seqpar::rt::cuda
