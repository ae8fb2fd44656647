//===- ExecutorRun.h - runs a program on all ranks for a test ---*- C++ -*-===//
#pragma once

#include "RunThreads.h"
#include "TestDevice.h"
#include "seqpar/rt/Executor.h"
#include "seqpar/rt/ProgramFile.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace seqpar::rt::test {

/// Runs the body on every rank of a program's grid, with a TestDevice each, which has
/// host memory or not. Returns what each rank threw. Executors live until all have ended, as the
/// trainer's do.
inline std::vector<std::string>
runProgram(const ProgramFile &file, const TestKernels &kernels,
           const std::function<void(Executor &, TestDevice &, Communicator &)> &body,
           bool hostMemory = true) {
  size_t size = static_cast<size_t>(file.grid().size());
  std::vector<std::unique_ptr<TestDevice>> devices(size);
  std::vector<std::unique_ptr<Executor>> executors(size);
  return runThreads(file.grid(), [&](Communicator &communicator) {
    size_t rank = static_cast<size_t>(communicator.rank());
    devices[rank] = std::make_unique<TestDevice>(kernels, hostMemory);
    devices[rank]->loadKernels(file.program());
    executors[rank] = std::make_unique<Executor>(file, *devices[rank], communicator);
    body(*executors[rank], *devices[rank], communicator);
  });
}

} // namespace seqpar::rt::test
