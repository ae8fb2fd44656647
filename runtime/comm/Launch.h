//===- Launch.h - how the processes of a run were started -------*- C++ -*-===//
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace seqpar::rt {

struct Launch {
  enum Kind { Alone, Mpi, Tcp } kind = Alone;
  int count = 1, index = 0;

  // Of Tcp: where the processes meet. The first one listens there.
  std::string host;
  int port = 0;
  std::string portRule; ///< which variable gives the port, for messages
  uint64_t run = 0;     ///< differs between runs, where the launcher tells them apart
};

/// Reads a variable of the environment; null when it is not set.
using Variables = std::function<const char *(const char *name)>;

/// The launcher is the first of these whose variables are set: torchrun (TORCHELASTIC_RUN_ID, RANK,
/// WORLD_SIZE), mpirun of Open MPI with several processes (OMPI_COMM_WORLD_SIZE), one of PMIx
/// (PMIX_RANK), any that sets RANK and WORLD_SIZE, srun (SLURM_STEP_NUM_TASKS). With RANK and
/// WORLD_SIZE go MASTER_ADDR and MASTER_PORT. The port is SEQPAR_PORT if that is set; else
/// MASTER_PORT, or the next one when torchrun itself listens there
/// (TORCHELASTIC_USE_AGENT_STORE=True). Throws UsageError naming the variable that is wrong.
Launch findLaunch(const Variables &variable);

/// That of this process's environment.
Launch findLaunch();

} // namespace seqpar::rt
