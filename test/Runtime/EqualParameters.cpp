//===- EqualParameters.cpp - copies of a parameter stay equal -------------===//
//
// equal-parameters PROGRAM: runs three steps of a program on thread ranks, with random batches, and
// compares the bits of every parameter on all ranks that hold it, of all replicas, chunks and
// stages. Fails when no parameter is held by two stages.
//
//===----------------------------------------------------------------------===//

#include "RandomBatch.h"
#include "RunThreads.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/Executor.h"
#include "seqpar/rt/RunOptions.h"
#include "seqpar/rt/Trainer.h"

#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

using namespace seqpar::rt;
using namespace seqpar::rt::test;

namespace {

/// What the first rank that holds a parameter has, and the stages of all that do.
struct Copy {
  std::vector<float> values;
  std::set<int> stages;
};

/// Compares this rank's parameters with those of the ranks before.
void compare(Executor &executor, int stage, std::map<std::string, Copy> &copies) {
  const auto &parameters = *executor.stage().parameters();
  for (unsigned i = 0; i < parameters.size(); ++i) {
    std::string name = parameters.Get(i)->name()->str();
    size_t elements = 1;
    for (int64_t extent : *parameters.Get(i)->shape())
      elements *= static_cast<size_t>(extent);
    std::vector<float> values(elements);
    executor.readParameter(static_cast<int>(i), ParameterPart::Value, values);
    Copy &copy = copies[name];
    copy.stages.insert(stage);
    if (copy.values.empty())
      copy.values = values;
    if (copy.values.size() != elements ||
        std::memcmp(copy.values.data(), values.data(), elements * sizeof(float)) != 0)
      fail("{} differs between ranks", name);
  }
}

int run(const char *path) {
  ProgramFile file = ProgramFile::fromFile(path);
  GlobalBatch batches[3];
  for (uint32_t step = 0; step < 3; ++step)
    batches[step] = randomBatch(file.globalBatch(), file.program().seq_length(), step + 1);
  DeviceFactory devices = deviceFactory(RunOptions());
  std::map<std::string, Copy> copies;
  std::mutex mutex;
  std::vector<std::unique_ptr<Device>> memory(static_cast<size_t>(file.grid().size()));
  std::vector<std::unique_ptr<Executor>> executors(memory.size());
  auto errors = runThreads(file.grid(), [&](Communicator &communicator) {
    int rank = communicator.rank();
    auto &device = memory[static_cast<size_t>(rank)];
    auto &executor = executors[static_cast<size_t>(rank)];
    device = devices(rank, 1);
    device->loadKernels(file.program());
    executor = std::make_unique<Executor>(file, *device, communicator);
    executor->initializeParameters(7);
    communicator.barrier();
    for (int64_t step = 0; step < 3; ++step)
      executor->step(
          {.step = step, .seed = 7, .learningRate = 1e-2f, .clipNorm = 1, .weightDecay = 0.01f},
          batches[step]);
    communicator.barrier();
    std::scoped_lock lock(mutex);
    compare(*executor, communicator.coordinates().pp, copies);
  });
  for (const std::string &error : errors)
    if (!error.empty())
      fail("{}", error);
  int shared = 0;
  for (const auto &[name, copy] : copies)
    if (copy.stages.size() > 1) {
      ++shared;
      fmt::print("{} is equal in {} stages\n", name, copy.stages.size());
    }
  return shared > 0 ? 0 : 1;
}

} // namespace

int main(int argc, char **argv) {
  try {
    return argc == 2 ? run(argv[1]) : 2;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "equal-parameters: %s\n", error.what());
    return 1;
  }
}
