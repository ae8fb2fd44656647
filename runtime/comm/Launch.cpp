#include "Launch.h"

#include "seqpar/rt/Error.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

namespace seqpar::rt {

namespace {

constexpr int kMostProcesses = 1 << 16, kMostPorts = 65535;

class Environment {
public:
  explicit Environment(const Variables &variable) : variable(variable) {}

  bool has(const char *name) const { return variable(name) != nullptr; }
  std::string text(const char *name) const {
    const char *found = variable(name);
    return found ? found : "";
  }
  /// 0 when it is not set. For variables of MPI's launchers, which are right.
  int count(const char *name) const { return std::atoi(text(name).c_str()); }
  /// A number in [least, most]; throws UsageError.
  int number(const char *name, int least, int most) const {
    if (!has(name))
      throw UsageError(fmt::format("{} is not set: expected it beside RANK, WORLD_SIZE, "
                                   "MASTER_ADDR and MASTER_PORT, as torchrun sets them",
                                   name));
    std::string found = text(name);
    int value = 0;
    auto [end, error] = std::from_chars(found.data(), found.data() + found.size(), value);
    if (error != std::errc() || end != found.data() + found.size() || value < least || value > most)
      throw UsageError(
          fmt::format("{}={}: expected a whole number from {} to {}", name, found, least, most));
    return value;
  }

private:
  const Variables &variable;
};

uint64_t hashOf(std::string_view text) {
  uint64_t value = 0xcbf29ce484222325; // FNV-1a
  for (char c : text)
    value = (value ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return value;
}

void findPort(const Environment &environment, Launch &launch) {
  if (environment.has("SEQPAR_PORT")) {
    launch.port = environment.number("SEQPAR_PORT", 1, kMostPorts);
    launch.portRule = "SEQPAR_PORT";
    return;
  }
  // There the agent of torchrun answers, which does not know our greeting.
  bool next = environment.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  launch.port = environment.number("MASTER_PORT", 1, kMostPorts - next) + next;
  launch.portRule = next ? "MASTER_PORT + 1, since torchrun listens at MASTER_PORT" : "MASTER_PORT";
}

Launch tcpLaunch(const Environment &environment) {
  Launch launch;
  launch.count = environment.number("WORLD_SIZE", 1, kMostProcesses);
  launch.index = environment.number("RANK", 0, launch.count - 1);
  int local = launch.count;
  if (environment.has("LOCAL_WORLD_SIZE"))
    local = environment.number("LOCAL_WORLD_SIZE", 1, launch.count);
  if (environment.has("LOCAL_RANK"))
    environment.number("LOCAL_RANK", 0, local - 1);
  if (launch.count == 1)
    return launch;
  launch.kind = Launch::Tcp;
  launch.host = environment.text("MASTER_ADDR");
  if (launch.host.empty())
    throw UsageError(fmt::format("WORLD_SIZE={}: MASTER_ADDR is not set: expected the name or "
                                 "address of the machine of RANK=0",
                                 launch.count));
  findPort(environment, launch);
  launch.run = hashOf(environment.text("TORCHELASTIC_RUN_ID") + ":" +
                      environment.text("TORCHELASTIC_RESTART_COUNT"));
  return launch;
}

Launch mpiLaunch(int count, int index) {
  Launch launch;
  launch.count = count;
  launch.index = index;
  launch.kind = count > 1 ? Launch::Mpi : Launch::Alone;
  return launch;
}

} // namespace

Launch findLaunch(const Variables &variable) {
  Environment environment(variable);
  // What one launcher sets is still set for the processes of another that it has started.
  bool tcp = environment.has("RANK") && environment.has("WORLD_SIZE");
  if (tcp && environment.has("TORCHELASTIC_RUN_ID"))
    return tcpLaunch(environment);
  int steps = environment.has("SLURM_PROCID") ? environment.count("SLURM_STEP_NUM_TASKS") : 0;
  if (int count = environment.count("OMPI_COMM_WORLD_SIZE"); count > 1)
    return mpiLaunch(count, environment.count("OMPI_COMM_WORLD_RANK"));
  if (int count = std::max(steps, environment.count("PMIX_SIZE"));
      count > 1 && environment.has("PMIX_RANK"))
    return mpiLaunch(count, environment.count("PMIX_RANK"));
  if (tcp)
    return tcpLaunch(environment);
  return mpiLaunch(std::max(1, steps), environment.count("SLURM_PROCID"));
}

Launch findLaunch() {
  return findLaunch([](const char *name) -> const char * { return std::getenv(name); });
}

} // namespace seqpar::rt
