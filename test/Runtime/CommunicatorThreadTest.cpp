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

} // namespace

} // namespace seqpar::rt::test
