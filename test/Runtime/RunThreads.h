//===- RunThreads.h - a body on every rank of a grid ------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Communicator.h"

#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace seqpar::rt::test {

/// Runs the body on thread ranks; returns what each threw, by rank, empty when it returned.
inline std::vector<std::string> runThreads(Grid grid,
                                           const std::function<void(Communicator &)> &body) {
  ThreadGroup group(grid);
  std::vector<std::string> errors(static_cast<size_t>(grid.size()));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < grid.size(); ++rank)
    threads.emplace_back([&, rank] {
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
  return errors;
}

} // namespace seqpar::rt::test
