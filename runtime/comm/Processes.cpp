#include "seqpar/rt/Processes.h"

#include "Launch.h"
#include "ProcessState.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <thread>
#include <unistd.h>

namespace seqpar::rt {

namespace {

// Where processes have not found each other, most fail alike: the first one's end is that of all.
constexpr auto kFirstTells = std::chrono::seconds(2);

// Where the launcher's variables are wrong, its word for the index counts.
bool isFirstLaunched() {
  try {
    return findLaunch().index == 0;
  } catch (const UsageError &) {
    const char *rank = std::getenv("RANK");
    return !rank || std::atoi(rank) == 0;
  }
}

// Of this thread: SIG_BLOCK, so that another one reads the signal, or SIG_UNBLOCK, so that it ends
// the process.
void setTermination(int how) {
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  pthread_sigmask(how, &term, nullptr);
}

/// While it lives, the processes join: inside of MPI, that would otherwise wait for ever for one
/// that does not come. Past the limit it ends this process.
class JoinLimit {
public:
  JoinLimit(const std::string &tool, const Launch &launch)
      : thread([=, this] { watch(tool, launch); }) {}
  ~JoinLimit() {
    {
      std::lock_guard lock(mutex);
      joined = true;
    }
    changed.notify_all();
    thread.join();
  }

private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto kLimit = std::chrono::seconds(120);

  // Nobody reads signals yet.
  static void endIfSignalled() {
    sigset_t signals;
    sigpending(&signals);
    if (sigismember(&signals, SIGTERM))
      setTermination(SIG_UNBLOCK);
  }

  void watch(const std::string &tool, const Launch &launch) {
    std::unique_lock lock(mutex);
    for (auto until = Clock::now() + kLimit; Clock::now() < until;) {
      if (changed.wait_for(lock, std::chrono::milliseconds(100), [&] { return joined; }))
        return;
      endIfSignalled();
    }
    if (launch.index > 0)
      std::this_thread::sleep_for(kFirstTells);
    fmt::print(stderr,
               "{}: error: the {} processes that the launcher has started have not all joined "
               "within {} s: expected the same tool in each\n",
               tool, launch.count, kLimit.count());
    _exit(1);
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool joined = false;
  std::thread thread;
};

} // namespace

Processes::Processes(std::unique_ptr<ProcessState> state) : theState(std::move(state)) {}
Processes::~Processes() = default;

std::unique_ptr<Processes> Processes::launch(const std::string &tool) {
  auto state = std::make_unique<ProcessState>(tool);
  if (Launch launch = findLaunch(); launch.kind != Launch::Alone) {
    setTermination(SIG_BLOCK); // the mesh's thread reads it
    JoinLimit limit(tool, launch);
    try {
      state->join(launch.count, [&launch] {
        return launch.kind == Launch::Mpi ? createMpiWire() : createTcpWire(launch);
      });
    } catch (const std::exception &) {
      // MPI would wait for processes that may never come; runTool ends this one with its threads.
      static_cast<void>(state.release());
      setTermination(SIG_UNBLOCK);
      throw;
    }
  }
  if (state->index() > 0) {
    // What every process would print, the first one prints.
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    std::fflush(stdout);
    dup2(nowhere, STDOUT_FILENO);
    ::close(nowhere);
  }
  return std::unique_ptr<Processes>(new Processes(std::move(state)));
}

std::unique_ptr<Processes> joinProcesses(const std::string &tool, int count,
                                         const std::function<std::unique_ptr<Wire>()> &makeWire) {
  auto state = std::make_unique<ProcessState>(tool);
  state->join(count, makeWire);
  return std::unique_ptr<Processes>(new Processes(std::move(state)));
}

int Processes::index() const { return theState->index(); }
int Processes::count() const { return theState->count(); }
int Processes::sharingCores() const { return theState->sharingCores(); }
std::vector<int> Processes::onThisMachine() const { return theState->onThisMachine(); }
void Processes::setTimeout(double seconds) { theState->setTimeout(seconds); }
void Processes::agree(const std::string &what, const std::string &value) {
  theState->agree(what, value, true);
}
void Processes::claim(const std::string &what, const std::string &value) {
  theState->agree(what, value, false);
}
void Processes::finish() { theState->finish(); }
void Processes::end(const std::string &message, int status) { theState->end(message, status); }

int runTool(const std::string &tool, const std::function<int(Processes &)> &body) {
  std::unique_ptr<Processes> processes;
  auto failed = [&](const char *message, int status) {
    if (processes && processes->count() > 1)
      processes->end(message, status);
    if (!processes && !isFirstLaunched())
      std::this_thread::sleep_for(kFirstTells);
    fmt::print(stderr, "{}: error: {}\n", tool, message);
    std::fflush(stdout);
    if (!processes) // threads that were to join the others may still use what exit() destroys
      _exit(status);
    return status;
  };
  try {
    processes = Processes::launch(tool);
    int status = body(*processes);
    processes->finish();
    return status;
  } catch (const UsageError &error) {
    return failed(error.what(), 2);
  } catch (const std::exception &error) {
    return failed(error.what(), 1);
  }
}

} // namespace seqpar::rt
