//===- PlanRaces.cpp - the plan of a program on fake GPUs -----------------===//
//
//   cuda-plan-races PROGRAM...
//
// Runs steps of compiled programs through the executor on the fake driver: with a GPU for each rank
// and NCCL, and with ranks that share one. Row kernels, attention and products do nothing but tell
// what they read and write, kernels from the program's table. Fails on any problem that the fake
// finds: accesses that nothing orders, above all.
//
//===----------------------------------------------------------------------===//

#include "../RandomBatch.h"
#include "CudaTest.h"
#include "FakeCuda/FakeNccl.h"

#include "seqpar/program/CudaAttentionLaunch.h"
#include "seqpar/rt/Executor.h"
#include "seqpar/rt/ProgramFile.h"

#include <atomic>
#include <thread>

using namespace seqpar;
using namespace seqpar::rt;

namespace {

constexpr int kSteps = 3; // as it is, recorded, replayed

/// All operands of each launch: inputs are read, outputs written, and the workspace too. Of a table
/// that is gathered from or scattered to, the first row.
std::vector<fakecuda::Access> accessesOf(const program::Kernel &kernel,
                                         const fakecuda::Launch &launch) {
  std::vector<fakecuda::Access> result;
  unsigned count = kernel.operands()->size();
  auto rows = size_t(launch.argument<long long>(count));
  for (unsigned i = 0; i < count; ++i) {
    const program::KernelOperand &operand = *kernel.operands()->Get(i);
    bool perRow =
        operand.access() == program::Access::Row || operand.access() == program::Access::RowScalar;
    size_t bytes = size_t(std::max<int64_t>(operand.columns(), 1)) * bytesOf(operand.type()) *
                   (perRow ? rows : 1);
    result.push_back({launch.argument<void *>(i), bytes, operand.output()});
  }
  size_t workspace = rows * kernel.cuda()->row_bytes();
  if (workspace)
    result.push_back(fakecuda::writes(launch.argument<void *>(count + 1), workspace));
  return result;
}

void registerKernels(const program::Program &program) {
  for (const program::Kernel *kernel : *program.kernels()) {
    std::vector<size_t> bytes(kernel->operands()->size(), sizeof(void *));
    bytes.insert(bytes.end(), {sizeof(long long), sizeof(void *), sizeof(int)});
    for (const program::CudaLaunch *launch : *kernel->cuda()->launches())
      fakecuda::registerKernel(launch->symbol()->str(), {bytes, [](const fakecuda::Launch &) {},
                                                         [kernel](const fakecuda::Launch &each) {
                                                           return accessesOf(*kernel, each);
                                                         }});
  }
  test::FakeCode({"sm_90"}).registerKernels({}); // attention
  for (const char *kernel : {"forward", "delta", "backward_keys", "backward_queries"})
    fakecuda::silence(fmt::format("seqpar_attention_{}_f32_*", kernel));
  test::registerAddKernels();
}

void runSteps(const ProgramFile &file, bool apart) {
  fakecuda::reset({.devices = 64});
  fakenccl::reset();
  fakecublaslt::configure({.computes = false});
  registerKernels(file.program());
  GlobalBatch batch = test::randomBatch(file.globalBatch(), file.program().seq_length(), 1, 0.15);
  batch.isRandom.assign(size_t(file.globalBatch()), 0);
  ThreadGroup group(file.grid());
  size_t size = size_t(file.grid().size());
  std::vector<std::unique_ptr<Device>> devices(size);
  std::vector<std::unique_ptr<Communicator>> communicators(size);
  std::vector<std::unique_ptr<Executor>> executors(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < int(size); ++rank)
    threads.emplace_back([&, rank] {
      size_t i = size_t(rank);
      try {
        devices[i] = createCudaDevice(test::fakeOptions(apart ? rank : 0));
        communicators[i] = devices[i]->exchange(group.communicator(rank));
        devices[i]->loadKernels(file.program());
        executors[i] = std::make_unique<Executor>(file, *devices[i], *communicators[i]);
        executors[i]->initializeParameters(1);
        for (int step = 0; step < kSteps; ++step)
          executors[i]->step({.step = step, .seed = 1, .learningRate = 1e-3f}, batch);
        communicators[i]->barrier();
      } catch (const std::exception &error) {
        group.abort(error.what());
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  if (group.aborted())
    fail("{}", group.abortMessage());
  executors.clear();
  communicators.clear();
  devices.clear();
}

} // namespace

int main(int argc, char **argv) {
  int failures = 0;
  for (int i = 1; i < argc; ++i)
    for (bool apart : {true, false}) {
      const char *how = apart ? "a GPU each" : "one GPU";
      try {
        ProgramFile file = ProgramFile::fromFile(argv[i]);
        runSteps(file, apart);
        std::vector<std::string> problems = fakecuda::takeProblems();
        size_t operations = fakecuda::takeOperations().size();
        failures += int(problems.size());
        for (size_t p = 0; p < std::min<size_t>(problems.size(), 5); ++p)
          fmt::print("problem: {}\n", problems[p]);
        fmt::print("{} ranks on {}: {} operations, {} problems\n", file.grid().size(), how,
                   operations, problems.size());
      } catch (const std::exception &error) {
        fmt::print("error: {}: {}: {}\n", argv[i], how, error.what());
        ++failures;
      }
    }
  return failures ? 1 : 0;
}
