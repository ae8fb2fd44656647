//===- ProcessState.h - what a process knows of the others ------*- C++ -*-===//
#pragma once

#include "Link.h"
#include "Mesh.h"
#include "seqpar/rt/Processes.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

namespace seqpar::rt {

/// Of a process that is alone there is neither a link nor a mesh.
class ProcessState final : public MeshListener {
public:
  explicit ProcessState(std::string tool) : tool(std::move(tool)) {}
  ~ProcessState() override;

  /// Joins the other processes, `expected` in all. SIGTERM must be blocked.
  void join(int expected, const std::function<std::unique_ptr<Wire>()> &makeWire);

  int index() const { return link ? link->index() : 0; }
  int count() const { return link ? link->count() : 1; }
  int sharingCores() const;
  std::vector<int> onThisMachine() const;
  void setTimeout(double seconds);
  void agree(const std::string &what, const std::string &value, bool wait);
  void finish();
  [[noreturn]] void end(const std::string &message, int status);

  /// "; rank 3 (...) has been silent for 2.1 s", for messages; empty when all send heartbeats.
  std::string silentOnes() const;

  // Of groups.
  void open(ThreadGroup::State &group);
  void close(ThreadGroup::State &group);
  void tellAbort(uint32_t group, const std::string &message);

private:
  using Clock = Mesh::Clock;
  struct Claim {
    std::string value;
    int process = 0, came = 0;
  };

  // MeshListener.
  void received(int process, char kind, const std::string &body) override;
  void gone(int process) override;
  void tick() override;
  void terminated() override;
  std::string heartbeat() override;

  void tellAll(char kind, const std::string &body);
  void fault(const std::string &message, int status, bool own);
  void claimed(int process, const std::string &what, const std::string &value, bool answer);
  bool isSilent(int process, double seconds) const;
  int printer() const;
  /// "process 1 (ranks 2 to 3, pid 4711 on host)".
  std::string describe(int process) const;
  std::string lastSeen(int process) const;

  const std::string tool;
  std::atomic<int> ranks{0}; ///< of the last group
  std::unique_ptr<Link> link;
  std::unique_ptr<Mesh> mesh;

  mutable std::mutex mutex;
  std::condition_variable changed;
  double timeout = 0;
  std::map<uint32_t, ThreadGroup::State *> groups;
  std::map<uint32_t, std::string> aborts; ///< of groups that are not open here yet
  uint32_t nextGroup = 0;
  std::map<std::string, Claim> claims; ///< on the first process
  std::set<std::string> agreed;
  std::set<int> finished; ///< processes that have said that they end well
  bool finishing = false;
  std::optional<std::string> faultMessage;
  int faultStatus = 1;
  Clock::time_point faultTime, terminatedTime;
  bool wasTerminated = false, ending = false, printed = false;
};

/// Joins processes over another wire than MPI's; for tests, where a "process" may be a thread.
std::unique_ptr<Processes> joinProcesses(const std::string &tool, int count,
                                         const std::function<std::unique_ptr<Wire>()> &makeWire);

} // namespace seqpar::rt
