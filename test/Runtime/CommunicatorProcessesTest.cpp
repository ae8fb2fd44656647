//===- CommunicatorProcessesTest.cpp - ranks of several processes ---------===//
//
// Runs under mpirun with any number of processes; every one runs every case. Ranks are divided
// among the processes, so a case of 12 ranks has 3 or 6 thread ranks in each of 4 or 2 processes.
//
//===----------------------------------------------------------------------===//

#include "CommunicatorConformance.h"
#include "RunThreads.h"
#include "seqpar/rt/Processes.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>

namespace seqpar::rt::test {

namespace {

Processes *processes = nullptr;

// What each rank has thrown, on all processes.
std::vector<std::string> gather(Grid grid, const std::vector<std::string> &own) {
  constexpr size_t kRoom = 300;
  ThreadGroup group(grid, processes);
  std::vector<std::string> all(static_cast<size_t>(grid.size()));
  // A process may have no rank of this grid: the ranks of another grid carry the texts.
  Grid one{1, 1, processes->count()};
  ThreadGroup messengers(one, processes);
  auto messenger = messengers.communicator(messengers.firstRank());
  for (int rank = 0; rank < grid.size(); ++rank) {
    std::vector<int32_t> text(kRoom);
    if (rank >= group.firstRank() && rank < group.firstRank() + group.localRanks())
      std::memcpy(text.data(), own[static_cast<size_t>(rank)].data(),
                  std::min(own[static_cast<size_t>(rank)].size(), kRoom * 4 - 1));
    messenger->allReduce(text.data(), kRoom, ElementType::I32, kAllAxes);
    all[static_cast<size_t>(rank)] = reinterpret_cast<const char *>(text.data());
  }
  return all;
}

std::vector<std::string> runProcesses(Grid grid, const RankBody &body) {
  std::vector<std::string> errors(static_cast<size_t>(grid.size()));
  {
    ThreadGroup group(grid, processes);
    runRanks(group, body, errors);
  }
  return gather(grid, errors);
}

double cpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return double(time.tv_sec) + double(time.tv_nsec) / 1e9;
}

Grid oneEach() { return {1, 1, processes->count()}; }

TEST(ProcessCommunicator, WaitingSleeps) {
  double before = cpuSeconds();
  auto errors = runProcesses(oneEach(), [](Communicator &communicator) {
    if (communicator.rank() == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(1000));
    communicator.barrier();
    if (communicator.rank() != 0 && communicator.waitedNanoseconds() < 500'000'000)
      fail("waited only {} ns", communicator.waitedNanoseconds());
  });
  EXPECT_THAT(errors, testing::Each(""));
  EXPECT_LT(cpuSeconds() - before, 0.25) << "one that spins takes a second";
}

// The receiver does not call its communicator while the message moves.
TEST(ProcessCommunicator, MessagesMoveWhileRanksCompute) {
  auto errors = runProcesses(oneEach(), [](Communicator &communicator) {
    std::vector<float> in(1 << 20, 0), out(1 << 20, 7);
    int size = communicator.size(), rank = communicator.rank();
    communicator.barrier();
    auto receive = communicator.receive(in.data(), in.size() * 4, (rank + size - 1) % size, 1);
    auto send =
        communicator.send(out.data(), out.size() * 4, (rank + 1) % size, 1, Traffic::RingShift);
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    uint64_t before = communicator.waitedNanoseconds();
    communicator.wait(receive);
    communicator.wait(send);
    if (communicator.waitedNanoseconds() - before > 100'000'000)
      fail("waited {} ns after the message should have come",
           communicator.waitedNanoseconds() - before);
    if (in[0] != 7 || in.back() != 7)
      fail("received {} and {}", in[0], in.back());
  });
  EXPECT_THAT(errors, testing::Each(""));
}

// Many blocks for each member, and a remainder.
TEST(ProcessCommunicator, LongSumsHaveTheBitsOfThreadRanks) {
  size_t elements = 1'000'003;
  auto value = [](int rank, size_t i) { return float(rank + 1) / float(i % 1009 + 1); };
  auto errors = runProcesses({1, 1, 5}, [&](Communicator &communicator) {
    std::vector<float> buffer(elements);
    for (size_t i = 0; i < elements; ++i)
      buffer[i] = value(communicator.rank(), i);
    communicator.allReduce(buffer.data(), elements, ElementType::F32, kAxisSp);
    for (size_t i = 0; i < elements; ++i) {
      float expected = value(0, i);
      for (int rank = 1; rank < 5; ++rank)
        expected += value(rank, i);
      if (buffer[i] != expected)
        fail("element {} is {}, expected {}", i, buffer[i], expected);
    }
  });
  EXPECT_THAT(errors, testing::Each(""));
}

TEST(ProcessCommunicator, ProcessesAgree) {
  processes->agree("a thing", "the same value");
  for (int i = 0; i < 3; ++i)
    processes->claim(fmt::format("number {}", i), std::to_string(i));
  processes->agree("another thing", "1 2 3");
}

} // namespace

std::vector<CommunicatorCase> communicatorCases() { return {{"processes", runProcesses}}; }

} // namespace seqpar::rt::test

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  return seqpar::rt::runTool("communicator-processes", [](seqpar::rt::Processes &joined) {
    seqpar::rt::test::processes = &joined;
    joined.setTimeout(60);
    if (joined.count() == 1)
      seqpar::rt::fail("start with mpirun and at least two processes");
    if (RUN_ALL_TESTS() != 0)
      seqpar::rt::fail("process {}: a test has failed", joined.index());
    return 0;
  });
}
