#include "ExecutorRun.h"
#include "RandomBatch.h"
#include "ToyModel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> allocations = 0;

void *allocateCounted(std::size_t bytes) {
  ++allocations;
  if (void *memory = std::malloc(bytes ? bytes : 1))
    return memory;
  throw std::bad_alloc();
}

} // namespace

// Every form of operator new that the libraries use ends here.
void *operator new(std::size_t bytes) { return allocateCounted(bytes); }
void *operator new[](std::size_t bytes) { return allocateCounted(bytes); }
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete[](void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void *memory, std::size_t) noexcept { std::free(memory); }

namespace seqpar::rt::test {

namespace {

void expectNoAllocations(bool sharded) {
  ProgramFile file = ProgramFile::fromBytes(toyProgram(toyShape(4, 11, 2, 2), 3, sharded), "toy");
  GlobalBatch batch = randomBatch(8, 11, 1);
  std::atomic<long> during = -1;
  auto errors = runProgram(file, toyKernels(),
                           [&](Executor &executor, TestDevice &, Communicator &communicator) {
                             executor.initializeParameters(1);
                             communicator.barrier();
                             executor.step({.step = 0}, batch);
                             communicator.barrier();
                             long before = allocations;
                             communicator.barrier();
                             for (int step = 1; step < 40; ++step)
                               executor.step({.step = step}, batch);
                             communicator.barrier();
                             if (communicator.rank() == 0)
                               during = allocations - before;
                             communicator.barrier();
                           });
  EXPECT_THAT(errors, testing::Each(""));
  EXPECT_EQ(during, 0);
}

TEST(ExecutorAllocation, AStepAllocatesNothingAfterTheFirst) { expectNoAllocations(false); }
TEST(ExecutorAllocation, NorDoesASharedUpdate) { expectNoAllocations(true); }

} // namespace

} // namespace seqpar::rt::test
