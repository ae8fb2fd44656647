//===- RunThreads.h - a body on every rank of a grid ------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Communicator.h"

#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace seqpar::rt::test {

/// Runs the body on a group's ranks of this process, each a thread. Writes to `errors`, by rank,
/// what each threw.
inline void runRanks(ThreadGroup &group, const std::function<void(Communicator &)> &body,
                     std::vector<std::string> &errors) {
  std::vector<std::thread> threads;
  for (int i = 0; i < group.localRanks(); ++i)
    threads.emplace_back([&, rank = group.firstRank() + i] {
      auto communicator = group.communicator(rank);
      try {
        body(*communicator);
      } catch (const std::exception &error) {
        communicator->abort(error.what());
        errors[static_cast<size_t>(rank)] = group.abortMessage();
      }
    });
  for (std::thread &thread : threads)
    thread.join();
}

/// Runs the body on thread ranks; returns what each threw, by rank, empty when it returned.
inline std::vector<std::string> runThreads(Grid grid,
                                           const std::function<void(Communicator &)> &body) {
  ThreadGroup group(grid);
  std::vector<std::string> errors(static_cast<size_t>(grid.size()));
  runRanks(group, body, errors);
  return errors;
}

} // namespace seqpar::rt::test
