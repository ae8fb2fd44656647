//===- CommunicatorCudaTest.cpp - exchange between fake GPUs --------------===//
//
// The conformance cases of communicators on NCCL, one fake GPU per rank, and on ranks that share
// one GPU. The cases hand over memory of the host; here each call works on a copy on the GPU.
//
//===----------------------------------------------------------------------===//

#include "../CommunicatorConformance.h"
#include "CudaTest.h"
#include "FakeCuda/FakeNccl.h"

#include <chrono>
#include <cstring>
#include <map>
#include <set>
#include <thread>

namespace seqpar::rt::test {

namespace {

using testing::Each;
using testing::HasSubstr;

/// Hands copies on the GPU to a communicator, and is done when the GPU is.
class OnDevice final : public Communicator {
public:
  OnDevice(std::unique_ptr<Communicator> host, const CudaOptions &options)
      : Communicator(host->grid(), host->rank()), device(createCudaDevice(options)),
        inner(device->exchange(std::move(host))) {}
  ~OnDevice() override {
    inner.reset();
    for (void *memory : owned)
      device->release(memory);
  }

  Request send(const void *data, size_t bytes, int destination, int tag, Traffic traffic) override {
    count(traffic, destination == rank() ? 0 : bytes);
    void *memory = push(data, bytes);
    return keep(inner->send(memory, bytes, destination, tag, traffic), {memory, nullptr, 0});
  }
  Request receive(void *data, size_t bytes, int source, int tag) override {
    void *memory = allocate(bytes);
    return keep(inner->receive(memory, bytes, source, tag), {memory, data, bytes});
  }
  void wait(Request request) override {
    inner->setTimeout(timeout());
    inner->wait(request);
    settle();
    Copy copy = copies.at(request);
    copies.erase(request);
    if (copy.data)
      device->copyToHost(copy.data, copy.from ? copy.from : copy.memory, copy.bytes);
    release(copy.memory);
  }
  void allReduce(void *buffer, size_t elements, ElementType type, int axes) override {
    size_t bytes = elements * elementBytes(type);
    void *memory = push(buffer, bytes);
    finish([&] { inner->allReduce(memory, elements, type, axes); }, buffer, memory, bytes);
    countLike(Traffic::AllReduce);
  }
  void allGather(const void *send, void *receive, size_t outer, size_t inner_, ElementType type,
                 int axes) override {
    size_t bytes = outer * inner_ * elementBytes(type);
    size_t all = bytes * size_t(grid().groupSize(axes));
    bool inPlace = send >= receive && send < static_cast<char *>(receive) + all;
    void *to = push(receive, all), *own = inPlace ? nullptr : push(send, bytes);
    const void *from = inPlace ? static_cast<char *>(to) + (static_cast<const char *>(send) -
                                                            static_cast<char *>(receive))
                               : own;
    finish([&] { inner->allGather(from, to, outer, inner_, type, axes); }, receive, to, all, own);
    countLike(Traffic::AllGather);
  }
  void reduceScatter(const void *send, void *receive, size_t outer, size_t inner_, ElementType type,
                     int axes) override {
    wait(startReduceScatter(send, receive, outer, inner_, type, axes));
  }
  Request startAllReduce(void *buffer, size_t elements, ElementType type, int axes) override {
    size_t bytes = elements * elementBytes(type);
    void *memory = push(buffer, bytes);
    Request request = inner->startAllReduce(memory, elements, type, axes);
    countLike(Traffic::AllReduce);
    return keep(request, {memory, buffer, bytes});
  }
  Request startReduceScatter(const void *send, void *receive, size_t outer, size_t inner_,
                             ElementType type, int axes) override {
    size_t bytes = outer * inner_ * elementBytes(type);
    size_t all = bytes * size_t(grid().groupSize(axes));
    // In one piece, so that what is in place stays so.
    auto *from = static_cast<char *>(allocate(all + bytes));
    device->copyToDevice(from, send, all);
    if (!inner->followsDevice())
      device->synchronize();
    bool inPlace = receive >= send && receive < static_cast<const char *>(send) + all;
    char *to = inPlace ? from + (static_cast<char *>(receive) - static_cast<const char *>(send))
                       : from + all;
    Request request = inner->startReduceScatter(from, to, outer, inner_, type, axes);
    countLike(Traffic::ReduceScatter);
    return keep(request, {from, receive, bytes, to});
  }
  void barrier() override {
    inner->setTimeout(timeout());
    inner->barrier();
  }
  void localBarrier() override { inner->localBarrier(); }
  bool sharesMemory(int axes) const override { return inner->sharesMemory(axes); }
  void abort(const std::string &message) override { inner->abort(message); }
  void cancel() override { inner->cancel(); }
  std::string abortMessage() const override { return inner->abortMessage(); }

private:
  struct Copy {
    void *memory = nullptr, *data = nullptr;
    size_t bytes = 0;
    void *from = nullptr; ///< null: memory
  };

  void *push(const void *data, size_t bytes) {
    void *memory = allocate(bytes);
    device->copyToDevice(memory, data, bytes);
    if (!inner->followsDevice())
      device->synchronize();
    return memory;
  }
  void *allocate(size_t bytes) { return *owned.insert(device->allocate(bytes)).first; }
  void release(void *memory) {
    owned.erase(memory);
    device->release(memory);
  }
  Request keep(Request request, Copy copy) {
    copies[request] = copy;
    return request;
  }
  /// A rank that has heard of an abort while it waited ends with its message.
  void settle() {
    device->synchronize();
    if (std::string message = inner->abortMessage(); !message.empty())
      throw Aborted(message);
  }
  template <typename Call>
  void finish(Call call, void *data, void *memory, size_t bytes, void *other = nullptr) {
    inner->setTimeout(timeout());
    call();
    settle();
    device->copyToHost(data, memory, bytes);
    release(memory);
    if (other)
      release(other);
  }
  void countLike(Traffic traffic) {
    count(traffic, inner->bytesSent(traffic) - bytesSent(traffic));
  }

  std::unique_ptr<Device> device;
  std::unique_ptr<Communicator> inner;
  std::map<Request, Copy> copies;
  std::set<void *> owned;
};

std::vector<std::string> runOnDevices(Grid grid, const RankBody &body, bool apart) {
  fakecuda::reset({.devices = 64});
  fakenccl::reset();
  registerAddKernels();
  ThreadGroup group(grid);
  std::vector<std::string> errors(static_cast<size_t>(grid.size()));
  std::vector<std::unique_ptr<OnDevice>> communicators(errors.size());
  std::vector<std::thread> threads;
  for (int rank = 0; rank < grid.size(); ++rank)
    threads.emplace_back([&, rank] {
      size_t i = static_cast<size_t>(rank);
      try {
        communicators[i] =
            std::make_unique<OnDevice>(group.communicator(rank), fakeOptions(apart ? rank : 0));
        body(*communicators[i]);
      } catch (const std::exception &error) {
        if (communicators[i])
          communicators[i]->abort(error.what());
        else
          group.abort(error.what());
        errors[i] = group.abortMessage();
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  communicators.clear();
  std::vector<std::string> problems = fakecuda::takeProblems();
  if (!problems.empty())
    errors[0] += (errors[0].empty() ? "" : "; ") + problems[0];
  EXPECT_EQ(fakecuda::allocatedBytes(), 0u);
  EXPECT_EQ(fakenccl::live(), 0);
  return errors;
}

} // namespace

std::vector<CommunicatorCase> communicatorCases() {
  return {
      {"nccl", [](Grid grid, const RankBody &body) { return runOnDevices(grid, body, true); }},
      {"one_gpu", [](Grid grid, const RankBody &body) { return runOnDevices(grid, body, false); }}};
}

namespace {

TEST(NcclCommunicator, NcclsErrorEndsAllRanksWithItsText) {
  auto errors = runOnDevices(
      {1, 1, 3},
      [](Communicator &communicator) {
        float value = 1;
        communicator.allReduce(&value, 1, ElementType::F32, kAxisSp);
        communicator.barrier();
        if (communicator.rank() == 0)
          fakenccl::failAsync(ncclRemoteError, "connection closed by peer");
        while (true) {
          communicator.barrier();
          std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
      },
      true);
  EXPECT_THAT(errors, Each(HasSubstr("NCCL has failed in a collective: remote process exited or "
                                     "there was a network error: connection closed by peer")));
}

TEST(NcclCommunicator, ARankThatCannotJoinSaysWhy) {
  auto errors = runOnDevices(
      {1, 1, 1},
      [](Communicator &communicator) {
        fakenccl::failInit(ncclSystemError);
        float value = 1;
        communicator.wait(communicator.startAllReduce(&value, 1, ElementType::F32, kAxisSp));
      },
      true);
  EXPECT_THAT(errors, Each(""));
  errors = runOnDevices(
      {1, 2, 1},
      [](Communicator &communicator) {
        // The group of one: nobody else waits in NCCL for a rank that does not come.
        fakenccl::failInit(ncclSystemError);
        float value = 1;
        communicator.wait(communicator.startAllReduce(&value, 1, ElementType::F32, kAxisSp));
      },
      true);
  EXPECT_THAT(errors, testing::Contains(HasSubstr("NCCL cannot join the ranks of a group")));
}

/// A rank that dies while NCCL joins the ranks.
TEST(NcclCommunicator, APeerThatDoesNotJoinEndsAll) {
  auto begin = std::chrono::steady_clock::now();
  auto errors = runOnDevices(
      {1, 1, 3},
      [](Communicator &communicator) {
        if (communicator.rank() == 0)
          fakenccl::loseNextInit();
        communicator.barrier();
        communicator.setTimeout(0.3);
        float value = 1;
        communicator.allReduce(&value, 1, ElementType::F32, kAxisSp);
      },
      true);
  EXPECT_THAT(errors, Each(HasSubstr("waited 0.3 s in vain for the others to join NCCL's "
                                     "communicator for a collective; --timeout sets the limit")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

/// NCCL connects to peers with the first exchange, in a thread of its own.
TEST(NcclCommunicator, APeerThatCannotBeReachedEndsAll) {
  auto errors = runOnDevices(
      {1, 1, 2},
      [](Communicator &communicator) {
        float value = 1;
        communicator.allReduce(&value, 1, ElementType::F32, kAxisSp);
        if (communicator.rank() == 0)
          fakenccl::hangNextCall();
        communicator.barrier();
        communicator.setTimeout(0.3);
        communicator.allReduce(&value, 1, ElementType::F32, kAxisSp);
      },
      true);
  EXPECT_THAT(errors, Each(HasSubstr("waited 0.3 s in vain for the others in NCCL's all-reduce of "
                                     "1 elements; --timeout sets the limit")));
}

/// What an abort has freed is neither used nor freed again: the fake reports both.
TEST(NcclCommunicator, AfterAnAbortNcclIsLeftAlone) {
  auto errors = runOnDevices(
      {1, 1, 3},
      [](Communicator &communicator) {
        float value = 1;
        communicator.allReduce(&value, 1, ElementType::F32, kAxisSp);
        communicator.barrier();
        if (communicator.rank() == 1)
          fail("rank 1 gives up");
        while (communicator.abortMessage().empty())
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        std::this_thread::sleep_for(
            std::chrono::milliseconds(60)); // the watching thread has seen it
        for (int i = 0; i < 2; ++i)
          EXPECT_THROW(communicator.startAllReduce(&value, 1, ElementType::F32, kAxisSp), Aborted);
        EXPECT_THROW(communicator.send(&value, 4, 0, 1, Traffic::RingShift), Aborted);
        communicator.abort("again");
        communicator.startAllReduce(&value, 1, ElementType::F32, kAxisSp);
      },
      true);
  EXPECT_THAT(errors, Each("rank 1 gives up"));
}

TEST(NcclCommunicator, ASilentPeerIsNamed) {
  auto begin = std::chrono::steady_clock::now();
  auto errors = runOnDevices(
      {1, 1, 3},
      [](Communicator &communicator) {
        float value = 1;
        communicator.allReduce(&value, 1, ElementType::F32, kAxisSp); // makes NCCL's communicator
        communicator.setTimeout(0.3);
        if (communicator.rank() == 1) {
          while (communicator.abortMessage().empty())
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
          fail("woken");
        }
        communicator.allReduce(&value, 1, ElementType::F32, kAxisSp);
      },
      true);
  EXPECT_THAT(errors,
              Each(HasSubstr("waited 0.3 s in vain for the others in NCCL's all-reduce of 1 "
                             "elements; --timeout sets the limit")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(NcclCommunicator, WithoutNcclRanksOfOneProcessCopy) {
  fakecuda::reset({.devices = 2});
  registerAddKernels();
  ThreadGroup group({1, 1, 2});
  CudaOptions options = fakeOptions();
  options.nccl = "/nowhere/libnccl.so.2";
  std::vector<bool> follows(2, true);
  std::vector<std::thread> threads;
  testing::internal::CaptureStderr();
  for (int rank : {0, 1})
    threads.emplace_back([&, rank] {
      CudaOptions own = options;
      own.device = rank;
      auto device = createCudaDevice(own);
      auto communicator = device->exchange(group.communicator(rank));
      EXPECT_FALSE(communicator->followsDevice());
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("ranks exchange through copies that wait for the GPUs: exchange between "
                        "GPUs needs /nowhere/libnccl.so.2"));
  EXPECT_THAT(fakecuda::takeProblems(), testing::IsEmpty());
}

} // namespace

} // namespace seqpar::rt::test
