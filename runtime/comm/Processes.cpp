#include "seqpar/rt/Processes.h"

#include "ProcessState.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

namespace seqpar::rt {

namespace {

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

} // namespace

Processes::Processes(std::unique_ptr<ProcessState> state) : theState(std::move(state)) {}
Processes::~Processes() = default;

std::unique_ptr<Processes> Processes::launch(const std::string &tool) {
  auto state = std::make_unique<ProcessState>(tool);
  if (int count = launched(); count > 1) {
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, nullptr); // the mesh's thread reads it
    state->join(count, createMpiWire);
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
    fmt::print(stderr, "{}: error: {}\n", tool, message);
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
