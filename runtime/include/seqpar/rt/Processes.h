//===- Processes.h - the processes of a run ---------------------*- C++ -*-===//
//
// A run is one process, or those that mpirun, srun or torchrun has started. They are joined by MPI,
// or by TCP connections without it, which carry the ranks' data, and by TCP connections between all
// of them, which carry heartbeats, what they must agree on, and the news that one has failed: the
// connection of a process that is killed closes at once, that of one that is stopped falls silent.
//
// When one process fails, all end, and one of them prints the message.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Error.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace seqpar::rt {

class ProcessState;
class Wire;

class Processes {
public:
  /// Joins the others when the environment is one that mpirun, torchrun, a PMIx launcher or srun
  /// makes (see runtime/comm/Launch.h); else this process is the only one, and nothing of MPI is
  /// called. Of several, all but the first print nothing from here on. `tool` begins its error
  /// messages. Throws Error.
  static std::unique_ptr<Processes> launch(const std::string &tool);
  ~Processes();
  Processes(const Processes &) = delete;
  Processes &operator=(const Processes &) = delete;

  int index() const;
  int count() const;
  bool isFirst() const { return index() == 0; }
  /// Processes on this machine that may run on the same cores as this one, itself included.
  int sharingCores() const;
  /// The processes on this machine, this one among them, ascending.
  std::vector<int> onThisMachine() const;

  /// Seconds after which a process that sends no heartbeat is taken for dead; 0: never.
  void setTimeout(double seconds);

  /// Waits until every process has come to this point with the same value of `what`. When they
  /// differ, all end with a message that shows two of them: only the words that differ, if the
  /// values have as many words. Throws Aborted when another process has failed.
  void agree(const std::string &what, const std::string &value);
  /// The same check without waiting.
  void claim(const std::string &what, const std::string &value);

  /// All processes have done what they were asked for: the last call on each.
  void finish();
  /// This process has failed, or has heard that another one has. Prints the message if it is the
  /// one to print, and ends the process with this status. Among several processes it does so within
  /// seconds, whatever other threads do.
  [[noreturn]] void end(const std::string &message, int status);

  /// Not for use outside of runtime/comm.
  ProcessState &state() { return *theState; }

private:
  friend std::unique_ptr<Processes> joinProcesses(const std::string &, int,
                                                  const std::function<std::unique_ptr<Wire>()> &);
  explicit Processes(std::unique_ptr<ProcessState> state);
  std::unique_ptr<ProcessState> theState;
};

/// The main function of a tool: joins the processes, runs the body, prints one message
/// "TOOL: error: ..." when it throws. Returns the exit status: the body's, 2 after a UsageError, 1
/// after another exception.
int runTool(const std::string &tool, const std::function<int(Processes &)> &body);

} // namespace seqpar::rt
