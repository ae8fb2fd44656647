//===- FakeCudaTest.cpp - what the fake driver finds wrong ----------------===//

#include "CudaTest.h"

#include "seqpar/rt/cuda/Context.h"

#include <atomic>
#include <thread>

namespace seqpar::rt::test {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class FakeCuda : public CudaTest {
protected:
  void SetUp() override {
    CudaTest::SetUp();
    context = std::make_unique<cuda::Context>(cuda::loadDriver(SEQPAR_FAKE_CUDA), 0);
    one = std::make_unique<cuda::Stream>(*context);
    two = std::make_unique<cuda::Stream>(*context);
    memory = context->allocate(1024);
    other = context->allocate(1024);
  }
  void TearDown() override {
    context->release(memory);
    context->release(other);
    one.reset();
    two.reset();
    context.reset();
    CudaTest::TearDown();
  }

  void set(const cuda::Stream &stream, CUdeviceptr at, size_t bytes = 1024) {
    (*context)->cuMemsetD8Async(at, 1, bytes, stream);
  }

  std::unique_ptr<cuda::Context> context;
  std::unique_ptr<cuda::Stream> one, two;
  CUdeviceptr memory = 0, other = 0;
};

TEST_F(FakeCuda, StreamsEventsAndTheHostOrder) {
  set(*one, memory);
  set(*one, memory); // the same stream
  cuda::Event event(*context);
  event.record(*one);
  event.block(*two);
  set(*two, memory); // an event
  two->synchronize();
  set(*one, memory); // the host
  set(*two, other);  // other memory
  one->synchronize();
  two->synchronize();
  EXPECT_THAT(fakecuda::takeProblems(), IsEmpty());
}

TEST_F(FakeCuda, RacesAreFound) {
  set(*one, memory);
  set(*two, memory + 1000, 10);
  EXPECT_THAT(fakecuda::takeProblems(), ElementsAre(HasSubstr("race: set and set")));
  one->synchronize(); // of one stream only
  (*context)->cuMemcpyDtoDAsync(other, memory + 1000, 8, *one);
  EXPECT_THAT(fakecuda::takeProblems(), ElementsAre(HasSubstr("race: copy and set")));
}

TEST_F(FakeCuda, AnEventOrdersWhatCameBeforeIt) {
  cuda::Event event(*context);
  event.record(*one);
  set(*one, memory); // after the event
  event.block(*two);
  set(*two, memory);
  EXPECT_THAT(fakecuda::takeProblems(), ElementsAre(HasSubstr("race: set and set")));
}

TEST_F(FakeCuda, TwoReadersAreNoRace) {
  (*context)->cuMemcpyDtoDAsync(other, memory, 8, *one);
  (*context)->cuMemcpyDtoDAsync(other + 8, memory, 8, *two);
  EXPECT_THAT(fakecuda::takeProblems(), IsEmpty());
}

TEST_F(FakeCuda, WrongMemoryIsFound) {
  set(*one, memory, 1025);
  EXPECT_THAT(fakecuda::takeProblems(),
              ElementsAre(HasSubstr("set: 1025 bytes are outside of allocated memory")));
  one->synchronize();
  CUdeviceptr freed = context->allocate(64);
  context->release(freed);
  // It is not run: the memory is gone.
  fakecuda::issue(*one, "touch", {fakecuda::writes(reinterpret_cast<void *>(freed), 4)}, [] {});
  EXPECT_THAT(fakecuda::takeProblems(),
              ElementsAre(HasSubstr("touch: 4 bytes are outside of allocated memory")));
  EXPECT_NE((*context)->cuMemFree(freed), CUDA_SUCCESS);
  EXPECT_THAT(fakecuda::takeProblems(), ElementsAre(HasSubstr("is freed that is not allocated")));
}

TEST_F(FakeCuda, WrongStreamsAndEventsAreFound) {
  EXPECT_NE((*context)->cuMemsetD8Async(memory, 0, 4, nullptr), CUDA_SUCCESS);
  EXPECT_NE((*context)->cuStreamWaitEvent(*one, nullptr, 0), CUDA_SUCCESS);
  cuda::Event never(*context);
  never.block(*one);
  EXPECT_THAT(fakecuda::takeProblems(),
              ElementsAre("the default stream is used", "an unknown event is used",
                          "a stream waits for an event that was never recorded"));
}

/// Captures what `body` issues, which goes to stream two and comes back.
class Captured {
public:
  template <typename Body>
  Captured(const cuda::Context &context, const cuda::Stream &one, const cuda::Stream &two,
           Body body)
      : context(context), fork(context), join(context) {
    context->cuStreamBeginCapture(one, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    fork.record(one);
    fork.block(two);
    body();
    join.record(two);
    join.block(one);
    CUgraph graph = nullptr;
    EXPECT_EQ(context->cuStreamEndCapture(one, &graph), CUDA_SUCCESS);
    EXPECT_EQ(context->cuGraphInstantiate(&executable, graph, 0), CUDA_SUCCESS);
    context->cuGraphDestroy(graph);
  }
  ~Captured() { context->cuGraphExecDestroy(executable); }
  void launch(const cuda::Stream &on) { context->cuGraphLaunch(executable, on); }

  const cuda::Context &context;
  cuda::Event fork, join;
  CUgraphExec executable = nullptr;
};

TEST_F(FakeCuda, BranchesOfAGraphRunAtTheSameTime) {
  std::atomic<int> waiting = 0, arrived = 0;
  Captured graph(*context, *one, *two, [&] {
    fakecuda::issue(*two, "wait", {}, [&] {
      while (waiting == arrived)
        std::this_thread::yield();
      ++arrived;
    });
    fakecuda::issue(*one, "wake", {}, [&] { ++waiting; });
  });
  for (int launches = 1; launches <= 2; ++launches) {
    graph.launch(*one);
    one->synchronize();
    EXPECT_EQ(arrived, launches);
  }
}

/// In every launch, and against what is not in the graph.
TEST_F(FakeCuda, RacesOfGraphsAreFound) {
  Captured graph(*context, *one, *two, [&] { set(*two, memory); });
  set(*one, memory);
  graph.launch(*one);
  graph.launch(*one);
  set(*one, memory);
  EXPECT_THAT(fakecuda::takeProblems(), IsEmpty());
  graph.launch(*one);
  set(*two, memory); // the stream that the capture went to is not in the graph
  EXPECT_THAT(fakecuda::takeProblems(), ElementsAre(HasSubstr("race: set and set")));
  one->synchronize();
  two->synchronize();
  Captured racing(*context, *one, *two, [&] {
    set(*two, other);
    set(*one, other);
  });
  EXPECT_THAT(fakecuda::takeProblems(), ElementsAre(HasSubstr("race: set and set")));
  racing.launch(*one);
  EXPECT_THAT(fakecuda::takeProblems(), ElementsAre(HasSubstr("race: set and set")));
}

TEST_F(FakeCuda, EventsOfCapturesAreNotForOthers) {
  Captured graph(*context, *one, *two, [&] { set(*two, memory); });
  EXPECT_ANY_THROW(graph.join.block(*one));
  EXPECT_ANY_THROW(graph.join.synchronize());
  EXPECT_TRUE(graph.join.over());
  EXPECT_THAT(fakecuda::takeProblems(),
              ElementsAre("a stream waits for an event of another capture",
                          "the host waits for an event of a capture",
                          "an event of a capture is asked for"));
}

TEST_F(FakeCuda, ACaptureForbidsItsThreadToAllocate) {
  for (auto [mode, others] : {std::pair(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL, 0),
                              std::pair(CU_STREAM_CAPTURE_MODE_GLOBAL, 1)}) {
    (*context)->cuStreamBeginCapture(*one, mode);
    CUdeviceptr none = 0, some = 0;
    EXPECT_NE((*context)->cuMemAlloc(&none, 64), CUDA_SUCCESS);
    EXPECT_THAT(fakecuda::takeProblems(), ElementsAre("cuMemAlloc while a stream captures"));
    CUgraph graph = nullptr;
    std::thread other([&] {
      context->use();
      if ((*context)->cuMemAlloc(&some, 64) == CUDA_SUCCESS)
        (*context)->cuMemFree(some);
      EXPECT_THAT(fakecuda::takeProblems(), testing::SizeIs(others));
      EXPECT_EQ((*context)->cuStreamEndCapture(*one, &graph),
                CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
      EXPECT_THAT(fakecuda::takeProblems(),
                  ElementsAre("a capture is ended by another thread than began it"));
    });
    other.join();
    EXPECT_EQ((*context)->cuStreamEndCapture(*one, &graph), CUDA_SUCCESS);
    (*context)->cuGraphDestroy(graph);
  }
}

TEST_F(FakeCuda, CapturesHaveToComeBack) {
  cuda::Event fork(*context), join(*context);
  auto capture = [&](bool joins) {
    (*context)->cuStreamBeginCapture(*one, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    fork.record(*one);
    fork.block(*two);
    set(*two, memory);
    if (joins) {
      join.record(*two);
      join.block(*one);
    }
    set(*one, memory);
    CUgraph graph = nullptr;
    CUresult result = (*context)->cuStreamEndCapture(*one, &graph);
    (*context)->cuGraphDestroy(graph);
    return result;
  };
  EXPECT_EQ(capture(true), CUDA_SUCCESS);
  EXPECT_THAT(fakecuda::takeProblems(), IsEmpty());
  EXPECT_EQ(capture(false), CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
  EXPECT_THAT(fakecuda::takeProblems(),
              ElementsAre(HasSubstr("race: "), HasSubstr("a capture ends without work")));
}

} // namespace

} // namespace seqpar::rt::test
