#include "FakeState.h"

#include <algorithm>
#include <utility>

namespace fakecuda {

thread_local int currentDevice = -1;

State &state() {
  static State *theState = new State; // streams of leaked devices may run until the end
  return *theState;
}

void RaceCheck::access(const Clock &clock, size_t stream, const std::string &label,
                       const Access &access) {
  if (access.bytes == 0)
    return;
  auto begin = reinterpret_cast<uintptr_t>(access.memory);
  Record now{begin, begin + access.bytes, access.write, stream, clock.of(stream), label};
  for (const Record &before : records)
    if (before.begin < now.end && now.begin < before.end && (before.write || now.write) &&
        clock.of(before.stream) < before.number)
      state().problem("race: " + label + " and " + before.label + " touch the same memory and " +
                      "nothing orders them");
  // What is ordered before this one and inside it need not be compared again.
  std::erase_if(records, [&](const Record &before) {
    return now.begin <= before.begin && before.end <= now.end && (now.write || !before.write) &&
           clock.of(before.stream) >= before.number;
  });
  records.push_back(now);
}

void RaceCheck::forget(const void *memory, size_t bytes) {
  auto begin = reinterpret_cast<uintptr_t>(memory);
  std::erase_if(records, [&](const Record &record) {
    return record.begin < begin + bytes && begin < record.end;
  });
}

Stream::Stream(size_t number) : number(number), thread([this] { work(); }) {}

Stream::~Stream() {
  {
    std::lock_guard lock(mutex);
    stopping = true;
  }
  wake.notify_all();
  thread.join();
}

void Stream::push(std::function<void()> work) {
  std::lock_guard lock(mutex);
  queue.push_back(std::move(work));
  wake.notify_all();
}

void Stream::drain() {
  std::unique_lock lock(mutex);
  idle.wait(lock, [&] { return queue.empty() && !busy; });
}

void Stream::work() {
  std::unique_lock lock(mutex);
  while (true) {
    wake.wait(lock, [&] { return stopping || !queue.empty(); });
    if (queue.empty())
      return;
    std::function<void()> next = std::move(queue.front());
    queue.pop_front();
    busy = true;
    lock.unlock();
    try {
      next();
    } catch (const std::exception &error) {
      Lock stateLock(state().mutex);
      state().broken = true;
      state().problem(std::string("an operation failed: ") + error.what());
    }
    lock.lock();
    busy = false;
    if (queue.empty())
      idle.notify_all();
  }
}

void Event::finish(uint64_t version) {
  std::lock_guard lock(mutex);
  done = std::max(done, version);
  time = std::chrono::steady_clock::now();
  wake.notify_all();
}

void Event::wait(uint64_t version) {
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] { return done >= version; });
}

void Replay::begin() {
  std::lock_guard lock(mutex);
  begun = true;
  wake.notify_all();
}

void Replay::await(const Clock &clock) {
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] {
    for (size_t i = 0; i < clock.passed.size(); ++i)
      if (done.of(i) < clock.of(i))
        return false;
    return begun;
  });
}

void Replay::finish(size_t stream) {
  std::lock_guard lock(mutex);
  done.set(stream, done.of(stream) + 1);
  wake.notify_all();
}

void State::problem(const std::string &text) {
  Lock lock(mutex);
  problems.push_back(text);
}

CUresult State::takeFailure(const char *function) {
  auto found = failures.find(function);
  if (found == failures.end())
    return CUDA_SUCCESS;
  CUresult result = found->second;
  failures.erase(found);
  return result;
}

CUresult State::begin(const char *function, bool needsContext) {
  if (CUresult error = takeFailure(function))
    return error;
  if (needsContext && currentDevice < 0) {
    problem(std::string(function) + ": no context is current in this thread");
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  return broken ? CUDA_ERROR_LAUNCH_FAILED : CUDA_SUCCESS;
}

Stream *State::find(CUstream stream) {
  auto *found = reinterpret_cast<Stream *>(stream);
  if (streams.contains(found))
    return found;
  problem(stream ? "an unknown stream is used" : "the default stream is used");
  return nullptr;
}

Event *State::find(CUevent event) {
  auto *found = reinterpret_cast<Event *>(event);
  if (events.contains(found))
    return found;
  problem("an unknown event is used");
  return nullptr;
}

bool State::checkMemory(const Operation &operation) {
  bool good = true;
  for (const Access &access : operation.accesses) {
    auto begin = reinterpret_cast<uintptr_t>(access.memory);
    auto after = memory.upper_bound(begin);
    bool inside = false;
    if (after != memory.begin()) {
      auto before = std::prev(after);
      inside = begin + access.bytes <= before->first + before->second.bytes;
    }
    if (inside || access.bytes == 0)
      continue;
    good = false;
    problem(operation.label + ": " + std::to_string(access.bytes) +
            " bytes are outside of allocated memory");
  }
  return good;
}

CUresult State::issue(Stream &stream, Operation operation) {
  if (!stream.graph) {
    stream.clock.join(host);
    stream.clock.set(stream.number, stream.clock.of(stream.number) + 1);
    start(stream, stream.clock, operation);
    return CUDA_SUCCESS;
  }
  operations.push_back(operation.label);
  checkMemory(operation);
  Clock &clock = stream.captured;
  clock.set(stream.number, clock.of(stream.number) + 1);
  for (const Access &access : operation.accesses)
    stream.graph->races.access(clock, stream.number, operation.label, access);
  stream.graph->nodes.push_back({std::move(operation), stream.number, clock});
  return CUDA_SUCCESS;
}

void State::start(Stream &stream, const Clock &clock, const Operation &operation,
                  std::function<void()> before, std::function<void()> after) {
  operations.push_back(operation.label);
  bool good = checkMemory(operation);
  for (const Access &access : operation.accesses)
    races.access(clock, stream.number, operation.label, access);
  std::function<void()> run = operation.prepare ? operation.prepare() : operation.run;
  stream.push([=] {
    if (before)
      before();
    try {
      if (good)
        run();
    } catch (...) {
      if (after)
        after();
      throw;
    }
    if (after)
      after();
  });
}

void State::launch(Graph &graph, Stream &stream) {
  stream.clock.join(host);
  const Clock begin = stream.clock;
  auto target = [&](size_t captured) -> Stream & {
    return captured == graph.origin ? stream : *graph.branches.at(captured);
  };
  // A clock of the capture as one of this launch.
  auto translate = [&](const Clock &captured) {
    Clock clock = begin;
    for (size_t i = 0; i < captured.passed.size(); ++i)
      if (captured.of(i)) {
        Stream &on = target(i);
        uint64_t before = (&on == &stream ? begin : on.clock).of(on.number);
        clock.set(on.number, before + captured.of(i));
      }
    return clock;
  };
  auto replay = std::make_shared<Replay>();
  stream.push([=] { replay->begin(); });
  Clock all;
  for (const Node &node : graph.nodes) {
    all.join(node.before);
    // Its stream does what comes before it there.
    Clock others = node.before;
    others.set(node.stream, 0);
    start(
        target(node.stream), translate(node.before), node.operation, [=] { replay->await(others); },
        [=, on = node.stream] { replay->finish(on); });
  }
  stream.push([=] { replay->await(all); });
  stream.clock = translate(all);
  for (auto &[captured, branch] : graph.branches)
    branch->clock.set(branch->number, stream.clock.of(branch->number));
}

bool State::refusesWhileCapturing(const char *function) {
  for (auto &[stream, owner] : streams) {
    if (!stream->graph || stream->graph->mode == CU_STREAM_CAPTURE_MODE_RELAXED ||
        (stream->graph->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL &&
         stream->graph->thread != std::this_thread::get_id()))
      continue;
    problem(std::string(function) + " while a stream captures");
    return true;
  }
  return false;
}

void reset(const Configuration &configuration) {
  State &s = state();
  std::vector<Stream *> running;
  {
    Lock lock(s.mutex);
    for (auto &[stream, owner] : s.streams)
      running.push_back(stream);
  }
  for (Stream *stream : running)
    stream->drain();
  Lock lock(s.mutex);
  s.configuration = configuration;
  s.failures.clear();
  s.problems.clear();
  s.operations.clear();
  s.kernels.clear();
  s.races = {};
  s.broken = false;
}

void registerKernel(const std::string &name, Kernel kernel) {
  Lock lock(state().mutex);
  state().kernels[name] = std::move(kernel);
}

void silence(const std::string &name) {
  Lock lock(state().mutex);
  state().kernels.at(name).run = [](const Launch &) {};
}

void failNext(const std::string &function, CUresult error) {
  Lock lock(state().mutex);
  state().failures[function] = error;
}

std::vector<std::string> takeProblems() {
  Lock lock(state().mutex);
  return std::exchange(state().problems, {});
}

void addProblem(const std::string &text) { state().problem(text); }

std::vector<std::string> takeOperations() {
  Lock lock(state().mutex);
  return std::exchange(state().operations, {});
}

size_t allocatedBytes() {
  Lock lock(state().mutex);
  size_t sum = 0;
  for (auto &[address, allocation] : state().memory)
    sum += allocation.device >= 0 ? allocation.bytes : 0;
  return sum;
}

CUresult issue(CUstream stream, const std::string &label, const std::vector<Access> &accesses,
               std::function<void()> run) {
  Lock lock(state().mutex);
  Stream *found = state().find(stream);
  if (!found)
    return CUDA_ERROR_INVALID_HANDLE;
  return state().issue(*found, {label, accesses, std::move(run), {}});
}

CUresult issueEach(CUstream stream, const std::string &label, const std::vector<Access> &accesses,
                   Prepare prepare) {
  Lock lock(state().mutex);
  Stream *found = state().find(stream);
  if (!found)
    return CUDA_ERROR_INVALID_HANDLE;
  return state().issue(*found, {label, accesses, {}, std::move(prepare)});
}

bool capturing(CUstream stream) {
  Lock lock(state().mutex);
  Stream *found = state().find(stream);
  return found && found->graph;
}

} // namespace fakecuda
