#include "CommunicatorConformance.h"
#include "RunThreads.h"

#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>

namespace seqpar::rt::test {

std::vector<CommunicatorCase> communicatorCases() { return {{"threads", runThreads}}; }

namespace {

double cpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return double(time.tv_sec) + double(time.tv_nsec) / 1e9;
}

TEST(ThreadCommunicator, WaitingSleeps) {
  double before = cpuSeconds();
  auto errors = runThreads({1, 1, 8}, [](Communicator &communicator) {
    if (communicator.rank() == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
    communicator.barrier();
    if (communicator.rank() != 0 && communicator.waitedNanoseconds() < 100'000'000)
      fail("waited only {} ns", communicator.waitedNanoseconds());
  });
  EXPECT_THAT(errors, testing::Each(""));
  // Seven ranks that spin would take 0.3 s on each core.
  EXPECT_LT(cpuSeconds() - before, 0.15);
}

TEST(ThreadCommunicator, TheLaterSideMovesTheMessage) {
  // Rank 1 posts its receive and then does not call the communicator until the data is there.
  std::atomic<int> posted = 0, seen = 0;
  auto errors = runThreads({1, 1, 2}, [&](Communicator &communicator) {
    int value = 41;
    if (communicator.rank() == 1) {
      std::atomic<int> box = 0;
      auto request = communicator.receive(&box, sizeof(box), 0, 0);
      posted = 1;
      posted.notify_all();
      seen.wait(0);
      if (box.load() != 41)
        fail("the message has not moved");
      communicator.wait(request);
    } else {
      posted.wait(0);
      auto request = communicator.send(&value, sizeof(value), 1, 0, Traffic::PointToPoint);
      seen = 1;
      seen.notify_all();
      communicator.wait(request);
    }
  });
  EXPECT_THAT(errors, testing::Each(""));
}

TEST(ThreadCommunicator, AbortFromOutsideEndsAll) {
  ThreadGroup group({1, 1, 2});
  std::string message;
  std::thread rank([&] {
    auto communicator = group.communicator(0);
    try {
      communicator->barrier();
    } catch (const Aborted &error) {
      message = error.what();
    }
  });
  group.abort("stopped by the user");
  group.abort("too late");
  rank.join();
  EXPECT_EQ(message, "stopped by the user");
  EXPECT_TRUE(group.aborted());
}

/// Host memory of which one rank's exchanges fail.
class BrokenMemory final : public ExchangeMemory {
public:
  void copy(void *, const void *, size_t) override { fail("the memory is broken"); }
  void sumInOrder(std::span<const void *const>, std::span<void *const>, size_t, size_t,
                  ElementType) override {
    fail("the memory is broken");
  }
};

// The others wait for what the rank with the broken memory does not do.
TEST(ThreadCommunicator, WhereMemoryFailsAllRanksEnd) {
  static float blocks[3][300], gathered[3][900];
  const std::pair<const char *, RankBody> cases[] = {
      {"message",
       [](Communicator &communicator) {
         int rank = communicator.rank();
         auto receive = communicator.receive(gathered[rank], 1200, (rank + 2) % 3, 0);
         communicator.barrier();
         auto send =
             communicator.send(blocks[rank], 1200, (rank + 1) % 3, 0, Traffic::PointToPoint);
         communicator.wait(send);
         communicator.wait(receive);
         communicator.barrier();
       }},
      {"all-reduce",
       [](Communicator &communicator) {
         communicator.allReduce(blocks[communicator.rank()], 300, ElementType::F32, kAxisSp);
       }},
      {"all-gather",
       [](Communicator &communicator) {
         communicator.allGather(blocks[communicator.rank()], gathered[communicator.rank()], 1, 300,
                                ElementType::F32, kAxisSp);
       }},
      {"reduce-scatter",
       [](Communicator &communicator) {
         communicator.reduceScatter(blocks[communicator.rank()], gathered[communicator.rank()], 1,
                                    100, ElementType::F32, kAxisSp);
       }},
      {"started", [](Communicator &communicator) {
         communicator.wait(communicator.startAllReduce(blocks[communicator.rank()], 300,
                                                       ElementType::F32, kAxisSp));
       }}};
  for (auto &[name, body] : cases) {
    BrokenMemory broken;
    auto errors = runThreads({1, 1, 3}, [&](Communicator &communicator) {
      communicator.setActivity("toy.mlir:3:4");
      if (communicator.rank() == 1)
        communicator.setMemory(broken);
      body(communicator);
    });
    EXPECT_THAT(errors, testing::Each("rank 1: exchange of toy.mlir:3:4: the memory is broken"))
        << name;
  }
}

TEST(ThreadCommunicator, ARankThatFailsByItselfTakesItsExchangesBack) {
  float late = 5;
  auto errors = runThreads({1, 1, 2}, [&](Communicator &communicator) {
    if (communicator.rank() == 0) {
      float own = 0;
      communicator.receive(&own, sizeof(own), 1, 0);
      communicator.cancel();
      communicator.barrier();
      communicator.barrier();
      if (own != 0)
        fail("received {} after it was taken back", own);
    } else {
      communicator.barrier();
      communicator.send(&late, sizeof(late), 0, 0, Traffic::PointToPoint);
      communicator.barrier();
    }
  });
  EXPECT_THAT(errors, testing::Each(""));
}

} // namespace

} // namespace seqpar::rt::test
