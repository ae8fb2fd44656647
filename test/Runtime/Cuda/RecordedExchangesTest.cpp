//===- RecordedExchangesTest.cpp - exchanges in what is replayed ----------===//
//
// Steps with a fake GPU for each rank, with NCCL's exchanges recorded. That the numbers are right
// is shown by ExecutorCudaTest; here it is what is issued, counted and watched.
//
//===----------------------------------------------------------------------===//

#include "../RandomBatch.h"
#include "../ToyModel.h"
#include "CudaTest.h"
#include "FakeCuda/FakeNccl.h"

#include "seqpar/rt/Executor.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace seqpar::rt::test {

namespace {

using testing::Each;
using testing::HasSubstr;

using Bytes = std::array<uint64_t, kTrafficKinds>;

/// One rank, between two steps.
struct Rank {
  Communicator &communicator;
  Executor &executor;
  const GlobalBatch &batch;
  int64_t next = 0;

  void step() {
    executor.step({.step = next++, .learningRate = 0.1f}, batch);
    if (std::string message = communicator.abortMessage(); !message.empty())
      throw Aborted(message);
  }
};

class RecordedExchanges : public CudaTest {
protected:
  void SetUp() override {
    CudaTest::SetUp();
    fakecuda::reset({.devices = 8});
    fakenccl::reset();
  }
  void TearDown() override {
    EXPECT_EQ(fakenccl::live(), 0);
    CudaTest::TearDown();
  }

  /// What each rank's body throws.
  template <typename Body>
  std::vector<std::string> run(const ProgramShape &shape, bool sharded, const Body &body) {
    FakeCode code{{"sm_90"}};
    std::vector<uint8_t> bytes = toyProgram(shape, 3, sharded, &code.writer);
    std::map<std::string, HostKernel> functions;
    for (auto &[symbol, function] : toyKernels())
      functions[symbol] = function;
    code.registerKernels(functions);
    ProgramFile file = ProgramFile::fromBytes(bytes, "toy");
    GlobalBatch batch = randomBatch(file.globalBatch(), file.program().seq_length(), 1);
    ThreadGroup group(file.grid());
    std::vector<std::string> errors(size_t(file.grid().size()));
    std::vector<std::thread> threads;
    for (int number = 0; number < file.grid().size(); ++number)
      threads.emplace_back([&, number] {
        auto device = createCudaDevice(fakeOptions(number));
        std::unique_ptr<Communicator> communicator;
        try {
          device->loadKernels(file.program());
          communicator = device->exchange(group.communicator(number));
          Executor executor(file, *device, *communicator);
          executor.initializeParameters(5);
          Rank rank{*communicator, executor, batch};
          body(rank);
          communicator->barrier();
        } catch (const std::exception &error) {
          group.abort(error.what());
          errors[size_t(number)] = group.abortMessage();
        }
      });
    for (std::thread &thread : threads)
      thread.join();
    return errors;
  }
};

Bytes bytesOf(const Communicator &communicator) {
  Bytes bytes;
  for (int i = 0; i < kTrafficKinds; ++i)
    bytes[size_t(i)] = communicator.bytesSent(Traffic(i));
  return bytes;
}

/// From the third step on nothing waits for an event except in graphs: fork and join are recorded.
/// The bytes are those of the first step, where the first two micro-batches run as they are.
TEST_F(RecordedExchanges, areIssuedAndCountedByReplays) {
  for (bool sharded : {false, true}) {
    SCOPED_TRACE(sharded);
    ProgramShape shape = sharded ? toyShape(2, 12, 2, 3) : toyShape(4, 31);
    auto errors = run(shape, sharded, [&](Rank &rank) {
      Bytes first{};
      for (int i = 0; i < 4; ++i) {
        rank.communicator.barrier();
        if (rank.communicator.rank() == 0)
          fakecuda::takeOperations();
        rank.communicator.barrier();
        rank.communicator.forgetBytesSent();
        rank.step();
        Bytes sent = bytesOf(rank.communicator);
        if (i == 0)
          first = sent;
        EXPECT_EQ(sent, first) << i;
        EXPECT_GT(sent[size_t(Traffic::RingShift)], 0u);
        rank.communicator.barrier();
        if (rank.communicator.rank() != 0)
          continue;
        std::vector<std::string> operations = fakecuda::takeOperations();
        auto count = [&](const std::string &label) {
          return std::count(operations.begin(), operations.end(), label);
        };
        EXPECT_GT(count("nccl"), 0) << i;
        EXPECT_EQ(count("capture") > 0, i == 1 || (i == 0 && shape.microBatches > 1)) << i;
        EXPECT_EQ(count("graph") > 0, i > 0 || shape.microBatches > 1) << i;
        EXPECT_EQ(count("wait") > 0, i < 2) << i;
      }
    });
    EXPECT_THAT(errors, Each(""));
  }
}

/// What a replay has in it has the timeout as a whole; and ranks with graphs of NCCL's work end.
TEST_F(RecordedExchanges, aSilentPeerIsNoticedInAReplay) {
  auto begin = std::chrono::steady_clock::now();
  auto errors = run(toyShape(3, 12), false, [](Rank &rank) {
    for (int i = 0; i < 3; ++i)
      rank.step();
    rank.communicator.barrier();
    rank.communicator.setTimeout(0.3);
    if (rank.communicator.rank() == 1) {
      while (rank.communicator.abortMessage().empty())
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      fail("woken");
    }
    rank.step();
  });
  EXPECT_THAT(errors, Each(testing::MatchesRegex("waited 0.3 s in vain for the others in [0-9]+ "
                                                 "recorded exchanges from toy.* on; --timeout sets "
                                                 "the limit")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

} // namespace

} // namespace seqpar::rt::test
