#include "ProcessState.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <sched.h>
#include <sstream>
#include <unistd.h>
#include <utility>

namespace seqpar::rt {

namespace {

using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Kinds of messages on the mesh.
constexpr char kAbort = 'a', kClaim = 'c', kClaimAndWait = 'w', kAgreed = 'g', kFault = 'f',
               kPrinted = 'p', kFarewell = 'e';
// A process without a heartbeat for so long does not print.
constexpr double kSilentSeconds = 3;
// A process that has missed two heartbeats may be stopped.
constexpr double kMissedHeartbeats = 1.2;
// How long after a fault the main thread has to end by itself, and a process to be told to print.
constexpr auto kGrace = seconds(6), kPrintTime = seconds(8);
// Before SIGTERM is taken for the cause: the launcher sends it when another process has died, whose
// closed connection tells more.
constexpr auto kSignalGrace = milliseconds(300);

std::string field(const std::string &text) {
  auto bytes = static_cast<uint32_t>(text.size());
  return std::string(reinterpret_cast<const char *>(&bytes), sizeof(bytes)) + text;
}

// Takes one field off the front.
std::string takeField(std::string &body) {
  uint32_t bytes = 0;
  if (body.size() < sizeof(bytes))
    return "";
  body.copy(reinterpret_cast<char *>(&bytes), sizeof(bytes));
  std::string text = body.substr(sizeof(bytes), bytes);
  body.erase(0, sizeof(bytes) + text.size());
  return text;
}

std::string number(int64_t value) { return field(std::to_string(value)); }
int64_t takeNumber(std::string &body) { return std::strtoll(takeField(body).c_str(), nullptr, 10); }

std::string coresOfProcess() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof(set), &set);
  std::string text;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set))
      text += fmt::format("{},", core);
  return text;
}

std::vector<std::string> wordsOf(const std::string &text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;)
    words.push_back(word);
  return words;
}

// Only the words that differ, when there are as many.
std::pair<std::string, std::string> differences(const std::string &a, const std::string &b) {
  std::vector<std::string> left = wordsOf(a), right = wordsOf(b);
  if (left.size() != right.size())
    return {a, b};
  std::pair<std::string, std::string> result;
  for (size_t i = 0; i < left.size(); ++i)
    if (left[i] != right[i]) {
      result.first += (result.first.empty() ? "" : " ") + left[i];
      result.second += (result.second.empty() ? "" : " ") + right[i];
    }
  return result;
}

} // namespace

ProcessState::~ProcessState() {
  if (mesh)
    mesh->hangUp(); // its thread calls this object
  link.reset();
}

void ProcessState::join(int expected, const std::function<std::unique_ptr<Wire>()> &makeWire) {
  auto made = std::make_unique<Mesh>();
  link = std::make_unique<Link>(makeWire, field(made->address()) + field(coresOfProcess()));
  if (link->count() != expected)
    fail("the launcher has started {} processes, MPI knows of {}: start with mpirun, or srun with "
         "--mpi=pmix",
         expected, link->count());
  std::vector<std::string> addresses;
  for (std::string text : link->texts())
    addresses.push_back(takeField(text));
  mesh = std::move(made);
  mesh->connect(link->index(), addresses, *this);
}

int ProcessState::sharingCores() const {
  if (!link)
    return 1;
  auto hostAndCores = [](std::string text) {
    std::string host = wordsOf(takeField(text))[0];
    return host + " " + takeField(text);
  };
  const auto &texts = link->texts();
  std::string own = hostAndCores(texts[static_cast<size_t>(index())]);
  return static_cast<int>(std::count_if(texts.begin(), texts.end(), [&](const std::string &text) {
    return hostAndCores(text) == own;
  }));
}

std::vector<int> ProcessState::onThisMachine() const {
  if (!link)
    return {0};
  auto host = [&](int process) {
    std::string text = link->texts()[static_cast<size_t>(process)];
    return wordsOf(takeField(text))[0];
  };
  std::vector<int> found;
  for (int process = 0; process < count(); ++process)
    if (host(process) == host(index()))
      found.push_back(process);
  return found;
}

void ProcessState::setTimeout(double limit) {
  std::lock_guard lock(mutex);
  timeout = limit;
}

void ProcessState::open(ThreadGroup::State &group) {
  std::lock_guard lock(mutex);
  group.number = nextGroup++;
  group.link = link.get();
  groups[group.number] = &group;
  ranks = group.grid.size();
  if (faultMessage)
    group.abortedElsewhere(*faultMessage);
  else if (auto found = aborts.find(group.number); found != aborts.end())
    group.abortedElsewhere(found->second);
}

void ProcessState::close(ThreadGroup::State &group) {
  link->close(group);
  std::lock_guard lock(mutex);
  groups.erase(group.number);
  aborts.erase(group.number);
}

void ProcessState::tellAll(char kind, const std::string &body) {
  for (int process = 0; process < count(); ++process)
    if (process != index())
      mesh->send(process, kind, body);
}

void ProcessState::tellAbort(uint32_t group, const std::string &message) {
  tellAll(kAbort, number(group) + field(message));
}

// The first fault counts. The mutex is not held.
void ProcessState::fault(const std::string &message, int status, bool own) {
  {
    std::lock_guard lock(mutex);
    if (faultMessage)
      return;
    faultMessage = message;
    faultStatus = status;
    faultTime = Clock::now();
    for (auto [number, group] : groups)
      group->abortedElsewhere(message);
    changed.notify_all();
  }
  if (own)
    tellAll(kFault, number(status) + field(message));
}

void ProcessState::received(int process, char kind, const std::string &text) {
  std::string body = text;
  switch (kind) {
  case kAbort: {
    auto number = static_cast<uint32_t>(takeNumber(body));
    std::lock_guard lock(mutex);
    auto found = groups.find(number);
    if (found != groups.end())
      found->second->abortedElsewhere(takeField(body));
    else if (number >= nextGroup)
      aborts.emplace(number, takeField(body));
    return;
  }
  case kFault: {
    int status = static_cast<int>(takeNumber(body));
    return fault(takeField(body), status, false);
  }
  case kClaim:
  case kClaimAndWait: {
    std::string what = takeField(body);
    return claimed(process, what, takeField(body), kind == kClaimAndWait);
  }
  default: {
    std::lock_guard lock(mutex);
    if (kind == kAgreed)
      agreed.insert(takeField(body));
    else if (kind == kPrinted)
      printed = true;
    else if (kind == kFarewell)
      finished.insert(process);
    changed.notify_all();
  }
  }
}

std::string ProcessState::describe(int process) const {
  std::string text;
  if (int64_t all = ranks) {
    int64_t first = process * all / count(), last = (process + 1) * all / count() - 1;
    text = last > first ? fmt::format("ranks {} to {}, ", first, last)
                        : fmt::format("rank {}, ", first);
  }
  return fmt::format("process {} ({}{})", process, text, mesh->describe(process));
}

std::string ProcessState::lastSeen(int process) const {
  std::string text = mesh->lastHeartbeat(process);
  return text.empty() ? "before the first step" : text;
}

void ProcessState::gone(int process) {
  {
    std::lock_guard lock(mutex);
    changed.notify_all();
    if (finished.count(process) || finishing)
      return;
  }
  fault(fmt::format("{} has died, killed or crashed; last seen: {}", describe(process),
                    lastSeen(process)),
        1, true);
}

std::string ProcessState::heartbeat() {
  std::lock_guard lock(mutex);
  std::string text;
  for (auto [number, group] : groups)
    for (int i = 0; i < group->localRanks; ++i) {
      const RankState &rank = group->ranks[static_cast<size_t>(group->firstRank + i)];
      const char *activity = rank.activity;
      if (*activity)
        text += fmt::format("{}rank {} in {}", text.empty() ? "" : ", ", group->firstRank + i,
                            activity);
    }
  return text;
}

void ProcessState::tick() {
  double limit;
  bool mustEnd, signalled;
  int status;
  std::string message;
  {
    std::lock_guard lock(mutex);
    limit = timeout;
    auto now = Clock::now();
    signalled = wasTerminated && !faultMessage && now - terminatedTime > kSignalGrace;
    mustEnd = faultMessage && !ending && (wasTerminated || now - faultTime > kGrace);
    status = faultStatus;
    message = faultMessage.value_or("");
  }
  if (mustEnd) // the main thread does not come; this one must go on listening
    std::thread([=, this] { end(message, status); }).detach();
  if (signalled)
    return fault("ended by SIGTERM, from the launcher or by hand", 1, true);
  // The ranks' own limit comes first: it tells which op waits.
  for (int process = 0; limit > 0 && process < count(); ++process)
    if (process != index() && !mesh->isGone(process) && isSilent(process, limit + 4))
      fault(fmt::format("{} has been silent for {:g} s: it is stopped, or its machine cannot be "
                        "reached; last seen: {}",
                        describe(process), limit + 4, lastSeen(process)),
            1, true);
}

void ProcessState::terminated() {
  std::lock_guard lock(mutex);
  if (!wasTerminated)
    terminatedTime = Clock::now();
  wasTerminated = true;
}

std::string ProcessState::silentOnes() const {
  std::string text;
  for (int process = 0; process < count(); ++process) {
    duration<double> silence = Clock::now() - mesh->lastHeard(process);
    if (process != index() && !mesh->isGone(process) && silence.count() > kMissedHeartbeats)
      text += fmt::format("; {} has been silent for {:.1f} s", describe(process), silence.count());
  }
  return text;
}

bool ProcessState::isSilent(int process, double limit) const {
  return Clock::now() - mesh->lastHeard(process) > duration<double>(limit);
}

void ProcessState::agree(const std::string &what, const std::string &value, bool wait) {
  if (!link)
    return;
  if (index() == 0)
    claimed(0, what, value, wait);
  else
    mesh->send(0, wait ? kClaimAndWait : kClaim, field(what) + field(value));
  std::unique_lock lock(mutex);
  if (wait)
    changed.wait(lock, [&] { return agreed.count(what) || faultMessage; });
  if (faultMessage)
    throw Aborted(*faultMessage);
  agreed.erase(what);
}

// On the first process.
void ProcessState::claimed(int process, const std::string &what, const std::string &value,
                           bool answer) {
  std::string difference;
  bool all;
  {
    std::lock_guard lock(mutex);
    auto [found, isNew] = claims.try_emplace(what, Claim{value, process, 0});
    Claim &claim = found->second;
    if (claim.value != value) {
      auto [theirs, ours] = differences(claim.value, value);
      difference = fmt::format("the processes differ in {}: {} has {}, {} has {}", what,
                               describe(claim.process), theirs, describe(process), ours);
    }
    all = ++claim.came == count();
    if (all)
      claims.erase(found);
    if (all && answer && difference.empty())
      agreed.insert(what);
    changed.notify_all();
  }
  if (!difference.empty())
    fault(difference, 1, true);
  else if (all && answer)
    tellAll(kAgreed, field(what));
}

void ProcessState::finish() {
  if (!link)
    return;
  agree("the end of the run", "", true);
  {
    std::lock_guard lock(mutex);
    finishing = true;
  }
  tellAll(kFarewell, "");
  // A connection that closes before its farewell is read would be taken for a death.
  std::unique_lock lock(mutex);
  changed.wait_for(lock, seconds(5),
                   [&] { return static_cast<int>(finished.size()) + 1 >= count(); });
}

// The first process that lives.
int ProcessState::printer() const {
  for (int process = 0; process < count(); ++process)
    if (process == index() || (!mesh->isGone(process) && !isSilent(process, kSilentSeconds)))
      return process;
  return index();
}

void ProcessState::end(const std::string &message, int status) {
  auto print = [&] {
    std::fflush(stdout);
    fmt::print(stderr, "{}: error: {}\n", tool, message);
    std::fflush(stderr);
  };
  if (!mesh) {
    print();
    _exit(status);
  }
  fault(message, status, true);
  {
    std::unique_lock lock(mutex);
    if (std::exchange(ending, true))
      for (;;) // another thread ends the process
        changed.wait(lock);
    status = faultStatus;
    // A process that was stopped may have to read first that the others have ended without it.
    changed.wait_for(lock, milliseconds(200), [&] { return printed; });
    auto until = Clock::now() + kPrintTime;
    while (!printed && printer() != index() && Clock::now() < until)
      changed.wait_for(lock, milliseconds(100));
    if (printed || printer() != index())
      _exit(status);
  }
  print();
  tellAll(kPrinted, "");
  mesh->flush(milliseconds(500));
  _exit(status);
}

} // namespace seqpar::rt
