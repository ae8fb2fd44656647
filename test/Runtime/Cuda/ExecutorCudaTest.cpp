//===- ExecutorCudaTest.cpp - steps on fake GPUs --------------------------===//
//
// The toy model's steps on the fake driver against the same on the plain test device: every
// sequence split, ranks sharing one GPU, with everything recorded and checked for races.
//
//===----------------------------------------------------------------------===//

#include "../ExecutorRun.h"
#include "../ExpectClose.h"
#include "../RandomBatch.h"
#include "../ToyModel.h"
#include "CudaTest.h"

#include <algorithm>
#include <atomic>

namespace seqpar::rt::test {

namespace {

using namespace program;
using testing::Each;

struct Results {
  std::vector<double> losses, norms; ///< by step
  std::vector<float> gradient, value;
};

/// Which results are read: of all ranks the same values.
enum class Compare { All, AllButGradient, Nothing };

using MakeDevice = std::function<std::unique_ptr<Device>()>;

class ExecutorCudaTest : public CudaTest {
protected:
  FakeCode code{{"sm_90"}};

  void SetUp() override {
    CudaTest::SetUp();
    fakecuda::reset({.devices = 8});
  }

  void registerKernels() {
    std::map<std::string, HostKernel> functions;
    for (auto &[symbol, function] : toyKernels())
      functions[symbol] = function;
    code.registerKernels(functions);
    registerAddKernels();
  }

  Results run(const std::vector<uint8_t> &bytes, const std::vector<GlobalBatch> &batches,
              const MakeDevice &makeDevice, Compare compare = Compare::All) {
    ProgramFile file = ProgramFile::fromBytes(bytes, "toy");
    size_t size = static_cast<size_t>(file.grid().size());
    std::vector<std::unique_ptr<Device>> devices(size);
    std::vector<std::unique_ptr<Communicator>> communicators(size);
    std::vector<std::unique_ptr<Executor>> executors(size);
    ThreadGroup group(file.grid());
    std::vector<Results> results(size);
    std::vector<std::string> errors(size);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < file.grid().size(); ++rank)
      threads.emplace_back([&, rank] {
        size_t i = static_cast<size_t>(rank);
        try {
          devices[i] = makeDevice();
          devices[i]->loadKernels(file.program());
          communicators[i] = devices[i]->exchange(group.communicator(rank));
          executors[i] = std::make_unique<Executor>(file, *devices[i], *communicators[i]);
          steps(*executors[i], *communicators[i], batches, results[i], compare);
        } catch (const std::exception &error) {
          group.abort(error.what());
          errors[i] = error.what();
        }
      });
    for (std::thread &thread : threads)
      thread.join();
    EXPECT_THAT(errors, Each(""));
    while (!executors.empty()) {
      executors.pop_back();
      communicators.pop_back();
      devices.pop_back();
    }
    for (const Results &each : results) {
      if (compare == Compare::Nothing)
        break;
      EXPECT_EQ(each.losses, results[0].losses);
      EXPECT_EQ(each.value, results[0].value);
    }
    return results[0];
  }

  static void steps(Executor &executor, Communicator &communicator,
                    const std::vector<GlobalBatch> &batches, Results &results, Compare compare) {
    executor.initializeParameters(5);
    communicator.barrier();
    for (size_t i = 0; i < batches.size(); ++i) {
      executor.step({.step = static_cast<int64_t>(i), .learningRate = 0.1f, .clipNorm = 0.05f},
                    batches[i]);
      results.losses.push_back(executor.metric(MetricKind::MlmLoss));
      results.norms.push_back(executor.metric(MetricKind::GradientNorm));
    }
    executor.evaluate({.step = 0, .training = false}, batches[0]);
    results.losses.push_back(executor.metric(MetricKind::MlmLoss));
    results.gradient.resize(16 * kToyWidth);
    results.value.resize(16 * kToyWidth);
    // Of a shared update each rank has a piece of the gradient.
    if (compare == Compare::All)
      executor.readParameter(0, ParameterPart::Gradient, results.gradient);
    executor.readParameter(0, ParameterPart::Value, results.value);
  }

  void expectSame(const ProgramShape &shape, const std::vector<GlobalBatch> &batches,
                  bool sharded = false) {
    SCOPED_TRACE(testing::Message() << "sp " << shape.sp << " dp " << shape.dp << " length "
                                    << shape.length << " micro-batches " << shape.microBatches);
    std::vector<uint8_t> bytes = toyProgram(shape, 3, sharded, &code.writer);
    registerKernels();
    Compare compare = sharded ? Compare::AllButGradient : Compare::All;
    Results expected =
        run(bytes, batches, [] { return std::make_unique<TestDevice>(toyKernels()); }, compare);
    Results found = run(bytes, batches, [] { return createCudaDevice(fakeOptions()); }, compare);
    expectSameResults(found, expected, sharded);
#ifdef SEQPAR_TEST_WITH_NCCL
    auto next = std::make_shared<std::atomic<int>>(0);
    SCOPED_TRACE("a GPU for each rank");
    expectSameResults(
        run(
            bytes, batches, [=] { return createCudaDevice(fakeOptions((*next)++)); }, compare),
        expected, sharded);
#endif
  }

  static void expectSameResults(const Results &found, const Results &expected, bool sharded) {
    ASSERT_EQ(found.losses.size(), expected.losses.size());
    for (size_t i = 0; i < found.losses.size(); ++i)
      EXPECT_NEAR(found.losses[i], expected.losses[i], 2e-5 * expected.losses[i]) << i;
    for (size_t i = 0; i < found.norms.size(); ++i)
      EXPECT_NEAR(found.norms[i], expected.norms[i], 2e-5 * expected.norms[i]) << i;
    if (!sharded)
      expectClose(found.gradient, expected.gradient);
    expectClose(found.value, expected.value);
  }

  static std::vector<GlobalBatch> batches(int64_t samples, int64_t length, uint32_t count = 4) {
    std::vector<GlobalBatch> result;
    for (uint32_t i = 0; i < count; ++i)
      result.push_back(randomBatch(samples, length, 10 * i + 1));
    return result;
  }
};

TEST_F(ExecutorCudaTest, StepsAreTheSameForEverySequenceSplit) {
  for (int sp : {1, 2, 4, 8})
    expectSame(toyShape(sp, 31), batches(2, 31));
}

TEST_F(ExecutorCudaTest, StepsOfSeveralMicroBatchesAndReplicas) {
  expectSame(toyShape(1, 12, 1, 3), batches(6, 12));
  expectSame(toyShape(2, 12, 2, 3), batches(12, 12));
}

#ifdef SEQPAR_TEST_WITH_NCCL
/// Shifts of a ring run beside the attention of the block at hand: on another stream, and neither
/// the host nor the GPU waits for them before their result is needed.
TEST_F(ExecutorCudaTest, RingShiftsDoNotStopTheHost) {
  std::vector<uint8_t> bytes = toyProgram(toyShape(4, 31), 4, false, &code.writer);
  registerKernels();
  auto next = std::make_shared<std::atomic<int>>(0);
  fakecuda::takeOperations();
  constexpr int64_t steps = 3, ranks = 4, products = 3;
  run(bytes, batches(2, 31, steps), [=] { return createCudaDevice(fakeOptions((*next)++)); });
  std::vector<std::string> operations = fakecuda::takeOperations();
  auto count = [&](const std::string &label) {
    return std::count(operations.begin(), operations.end(), label);
  };
  EXPECT_GT(count("nccl"), steps * ranks * 5);
  // Of a step one at its end, and two for each of the metrics read; the same for the evaluation and
  // its metric; those of the parameters (set, and read twice), of the end of a device, and of the
  // search for the best code of each product.
  EXPECT_LE(count("synchronize"), ranks * (steps * 5 + 3 + 5 + 1 + products));
}
#endif

TEST_F(ExecutorCudaTest, ASharedUpdateIsTheSame) {
  expectSame(toyShape(2, 12, 2), batches(4, 12), true);
}

/// What an executor needs that is the only rank.
struct OneRank {
  explicit OneRank(const std::vector<uint8_t> &bytes)
      : file(ProgramFile::fromBytes(bytes, "toy")), group(file.grid()),
        device(createCudaDevice(fakeOptions())) {
    device->loadKernels(file.program());
    communicator = device->exchange(group.communicator(0));
  }

  ProgramFile file;
  ThreadGroup group;
  std::unique_ptr<Device> device;
  std::unique_ptr<Communicator> communicator;
};

/// Does a step and returns what was issued in it.
std::vector<std::string> operationsOf(Executor &executor, const GlobalBatch &batch, size_t step) {
  fakecuda::takeOperations();
  executor.step({.step = static_cast<int64_t>(step), .learningRate = 0.1f}, batch);
  return fakecuda::takeOperations();
}

/// Samples of one length whose first `masked` positions are to be predicted.
GlobalBatch maskedBatch(int64_t samples, int64_t length, int64_t masked) {
  GlobalBatch batch = randomBatch(samples, length, 3, 0);
  std::fill(batch.paddingMask.begin(), batch.paddingMask.end(), 1);
  for (size_t i = 0; i < static_cast<size_t>(masked); ++i) {
    batch.lossMask[i] = 1;
    batch.labels[i] = static_cast<int32_t>(5 * i % 16);
  }
  batch.countLossTokens();
  return batch;
}

/// From the third step on, all is replayed, and nothing in a step waits for the GPU except the
/// executor at its end and for results.
TEST_F(ExecutorCudaTest, StepsAreReplayed) {
  std::vector<uint8_t> bytes = toyProgram(toyShape(1, 31), 3, false, &code.writer);
  registerKernels();
  OneRank rank(bytes);
  Executor executor(rank.file, *rank.device, *rank.communicator);
  executor.initializeParameters(5);
  for (size_t i = 0; i < 4; ++i) {
    size_t allocated = fakecuda::allocatedBytes();
    std::vector<std::string> operations = operationsOf(executor, maskedBatch(2, 31, 20), i);
    auto count = [&](const std::string &label) {
      return std::count(operations.begin(), operations.end(), label);
    };
    EXPECT_EQ(count("capture") > 0, i == 1) << i;
    EXPECT_EQ(count("graph") > 1, i > 0) << i;
    if (i == 0)
      continue;
    EXPECT_EQ(fakecuda::allocatedBytes(), allocated);
    EXPECT_EQ(count("synchronize"), 1) << i;
    EXPECT_EQ(operations.back(), "synchronize");
  }
}

/// However many rows are masked, their chunks are replayed once they have been met twice, and the
/// entries past the last row count for nothing.
TEST_F(ExecutorCudaTest, ChunksOfMaskedRowsAreReplayed) {
  constexpr int64_t chunk = 10; // of 62 rows: the seventh has two
  std::vector<uint8_t> bytes = toyProgram(toyShape(1, 31), chunk, false, &code.writer);
  registerKernels();
  std::vector<GlobalBatch> all;
  for (int64_t masked : {25, 23, 30, 62, 61, 62, 5, 0})
    all.push_back(maskedBatch(2, 31, masked));
  expectSameResults(
      run(bytes, all, [] { return createCudaDevice(fakeOptions()); }),
      run(bytes, all, [] { return std::make_unique<TestDevice>(toyKernels()); }), false);

  OneRank rank(bytes);
  Executor executor(rank.file, *rank.device, *rank.communicator);
  executor.initializeParameters(5);
  std::vector<int> replayed, launched;
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<std::string> operations = operationsOf(executor, all[i], i);
    int after = 0, alone = 0, capturing = 0;
    for (size_t j = 1; j < operations.size(); ++j) {
      if (operations[j] != "launch gather_main")
        continue;
      const std::string &before = operations[j - 1];
      ++(before == "graph" ? after : before == "capture" ? capturing : alone);
    }
    replayed.push_back(after);
    launched.push_back(alone);
    EXPECT_EQ(capturing, i == 1 ? 3 : i == 4 ? 4 : 0) << i;
  }
  EXPECT_THAT(replayed, testing::ElementsAre(0, 3, 3, 3, 7, 7, 1, 0));
  EXPECT_THAT(launched, testing::ElementsAre(3, 0, 0, 4, 0, 0, 0, 0));
}

TEST_F(ExecutorCudaTest, NotEnoughMemoryNamesTheGpu) {
  fakecuda::reset({.memory = size_t(36) << 20}); // cuBLASLt's workspace and little else
  std::vector<uint8_t> bytes = toyProgram(toyShape(1, 31, 1, 1, 4096), 3, false, &code.writer);
  registerKernels();
  OneRank rank(bytes);
  EXPECT_THAT(errorOf([&] { Executor(rank.file, *rank.device, *rank.communicator); }),
              testing::HasSubstr("not enough memory on Fake GPU (device 0):"));
}

#ifndef SEQPAR_TEST_UNDER_TSAN
class Hasty final : public ForwardingDevice {
public:
  using ForwardingDevice::ForwardingDevice;
  void synchronize() override {}
};

/// What the check of the fake is worth: a step whose exchanges do not wait for the GPU.
TEST_F(ExecutorCudaTest, AMissingWaitIsFound) {
  std::vector<uint8_t> bytes = toyProgram(toyShape(2, 12), 3, false, &code.writer);
  registerKernels();
  run(
      bytes, batches(2, 12, 1),
      [] { return std::make_unique<Hasty>(createCudaDevice(fakeOptions())); }, Compare::Nothing);
  EXPECT_THAT(fakecuda::takeProblems(), testing::Contains(testing::HasSubstr("race: ")));
}
#endif

} // namespace

} // namespace seqpar::rt::test
