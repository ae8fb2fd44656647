//===- TrainerProcesses.cpp - a toy training run in several processes -----===//
//
// trainer-processes FAULT: trains the toy model on one rank a process, or on three thread ranks
// when mpirun has not started it. On rank 1, in its fourth step, an op throws ("throw"), never ends
// ("hang"), or takes a while ("slow"); or it stops its process while ranks set up ("stop"); or
// process 1 has another program ("program") or options ("options"). With "batches A B", "init A B"
// or "load A B" process 1 reads batches, parameters or a checkpoint from file B, the others from A.
// "late": process 1 fails before it trains, while the first, which is to print that, is busy for a
// minute.
//
//===----------------------------------------------------------------------===//

#include "TestDevice.h"
#include "ToyModel.h"
#include "seqpar/rt/Processes.h"
#include "seqpar/rt/Trainer.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <stdexcept>
#include <thread>

using namespace seqpar::rt;
using namespace seqpar::rt::test;

static void failIn(const std::string &fault) {
  if (fault == "throw")
    throw std::runtime_error("broken");
  if (fault == "slow")
    std::this_thread::sleep_for(std::chrono::seconds(4));
  while (fault == "hang")
    std::this_thread::sleep_for(std::chrono::seconds(1));
}

int main(int argc, char **argv) {
  std::string fault = argc > 1 ? argv[1] : "";
  return runTool("trainer-processes", [&](Processes &processes) {
    bool second = processes.index() == 1;
    if (fault == "late" && processes.isFirst())
      std::this_thread::sleep_for(std::chrono::seconds(60));
    if (fault == "late" && second)
      fail("process 1 has had enough");
    RunOptions options;
    options.steps = fault == "batches" ? 1 : 8;
    (fault == "batches" ? options.batchFrom : options.data) = "synthetic";
    if (argc > 3)
      (fault == "batches" ? options.batchFrom
       : fault == "init"  ? options.initFrom
                          : options.load) = argv[second ? 3 : 2];
    options.timeout = 2;
    options.lr = second && fault == "options" ? 0.5 : 1e-3;
    int64_t length = second && fault == "program" ? 25 : 24;
    ProgramFile program = ProgramFile::fromBytes(
        toyProgram(toyShape(std::max(3, processes.count()), length, 1, 1, 2)), "toy.program");
    train(
        program, options,
        [&](int rank, int) {
          if (rank == 1 && fault == "stop")
            raise(SIGSTOP);
          TestKernels kernels = toyKernels();
          auto good = kernels["embed"];
          kernels["embed"] = [=, calls = 0](void *const *operands, int64_t rows) mutable {
            good(operands, rows);
            if (rank == 1 && ++calls == 4)
              failIn(fault);
          };
          return std::make_unique<TestDevice>(kernels);
        },
        {}, &processes);
    return 0;
  });
}
