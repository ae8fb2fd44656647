#include "seqpar/rt/Processes.h"

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

int numberIn(const char *variable) {
  const char *text = std::getenv(variable);
  return text ? std::atoi(text) : 0;
}

// How many processes a launcher has started; 0: there is no launcher.
int launched() {
  if (int count = numberIn("OMPI_COMM_WORLD_SIZE"))
    return count;
  if (int count = numberIn("SLURM_STEP_NUM_TASKS"); count && std::getenv("SLURM_PROCID"))
    return count;
  return std::getenv("PMIX_RANK") ? std::max(1, numberIn("PMIX_SIZE")) : 0;
}

// Processes that torchrun has started would each train alone.
void refuseTorchrun() {
  const char *rank = std::getenv("RANK");
  if (int count = numberIn("WORLD_SIZE"); count > 1 && rank && launched() <= 1)
    throw UsageError(
        fmt::format("found RANK={} and WORLD_SIZE={}, as torchrun sets them; processes are joined "
                    "through MPI: start them with mpirun or srun, or one process for all ranks of "
                    "a machine",
                    rank, count));
}

int launchedIndex() {
  for (const char *variable : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"})
    if (std::getenv(variable))
      return numberIn(variable);
  return 0;
}

/// While it lives, the processes join: inside of MPI, that would otherwise wait for ever for one
/// that does not come. Past the limit it ends this process.
class JoinLimit {
public:
  JoinLimit(const std::string &tool, int count) : thread([=, this] { watch(tool, count); }) {}
  ~JoinLimit() {
    {
      std::lock_guard lock(mutex);
      joined = true;
    }
    changed.notify_all();
    thread.join();
  }

private:
  static constexpr auto kLimit = std::chrono::seconds(120);

  void watch(const std::string &tool, int count) {
    std::unique_lock lock(mutex);
    if (changed.wait_for(lock, kLimit, [&] { return joined; }))
      return;
    if (launchedIndex() > 0)
      std::this_thread::sleep_for(kFirstTells);
    fmt::print(stderr,
               "{}: error: the {} processes that the launcher has started have not all joined "
               "within {} s: expected the same tool in each\n",
               tool, count, kLimit.count());
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
  refuseTorchrun();
  auto state = std::make_unique<ProcessState>(tool);
  if (int count = launched(); count > 1) {
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, nullptr); // the mesh's thread reads it
    JoinLimit limit(tool, count);
    try {
      state->join(count, createMpiWire);
    } catch (const std::exception &) {
      // MPI would wait for processes that may never come; runTool ends this one with its threads.
      static_cast<void>(state.release());
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
    if (!processes && launchedIndex() > 0)
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
