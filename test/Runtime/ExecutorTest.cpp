#include "ExecutorRun.h"
#include "ExpectClose.h"
#include "RandomBatch.h"
#include "ToyModel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seqpar::rt::test {

namespace {

using namespace program;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

struct StepResult {
  double loss = 0, norm = 0;
  std::vector<float> gradient, value;
};

/// Several steps on a grid; the results of the last one, which all ranks must share bit by bit.
StepResult runSteps(const ProgramShape &shape, const std::vector<GlobalBatch> &batches,
                    int64_t rowChunk = 3) {
  ProgramFile file = ProgramFile::fromBytes(toyProgram(shape, rowChunk), "toy");
  std::vector<StepResult> results(static_cast<size_t>(file.grid().size()));
  auto errors = runProgram(
      file, toyKernels(), [&](Executor &executor, TestDevice &, Communicator &communicator) {
        executor.initializeParameters(5);
        StepResult &result = results[static_cast<size_t>(communicator.rank())];
        for (size_t i = 0; i < batches.size(); ++i) {
          StepInputs inputs{
              .step = static_cast<int64_t>(i), .learningRate = 0.1f, .clipNorm = 0.05f};
          executor.step(inputs, batches[i]);
        }
        result.loss = executor.metric(MetricKind::MlmLoss);
        result.norm = executor.metric(MetricKind::GradientNorm);
        result.gradient.resize(16 * kToyWidth);
        result.value.resize(16 * kToyWidth);
        executor.readParameter(0, ParameterPart::Gradient, result.gradient);
        executor.readParameter(0, ParameterPart::Value, result.value);
      });
  EXPECT_THAT(errors, Each(""));
  for (const StepResult &result : results) {
    EXPECT_EQ(result.loss, results[0].loss);
    EXPECT_EQ(result.gradient, results[0].gradient);
    EXPECT_EQ(result.value, results[0].value);
  }
  return results[0];
}

void expectSameStep(const StepResult &found, const StepResult &expected) {
  EXPECT_NEAR(found.loss, expected.loss, 2e-5 * expected.loss);
  EXPECT_NEAR(found.norm, expected.norm, 2e-5 * expected.norm);
  expectClose(found.gradient, expected.gradient);
  expectClose(found.value, expected.value);
}

TEST(Executor, AStepIsTheSameForEverySequenceSplit) {
  for (int64_t length : {1, 7, 12, 31}) {
    std::vector<GlobalBatch> batches;
    for (uint32_t i = 0; i < 3; ++i)
      batches.push_back(randomBatch(2, length, 10 * i + 1, length == 1 ? 1 : 0.3));
    StepResult one = runSteps(toyShape(1, length), batches);
    EXPECT_GT(one.loss, 0.5);
    for (int sp : {2, 3, 4, 5, 8})
      if (sp <= length)
        expectSameStep(runSteps(toyShape(sp, length), batches, 2), one);
  }
}

TEST(Executor, AStepIsTheSameForEveryReplicaAndMicroBatchCount) {
  std::vector<GlobalBatch> batches = {randomBatch(8, 9, 3), randomBatch(8, 9, 4)};
  StepResult one = runSteps(toyShape(1, 9, 1, 1, 8), batches);
  expectSameStep(runSteps(toyShape(1, 9, 1, 4, 2), batches), one);
  expectSameStep(runSteps(toyShape(3, 9, 2, 2, 2), batches), one);
  expectSameStep(runSteps(toyShape(2, 9, 4, 1, 2), batches), one);
  expectSameStep(runSteps(toyShape(1, 9, 8, 1, 1), batches), one);
}

// A chunk far longer than the rest of the sequence leaves the last ranks nothing but padding.
TEST(Executor, ChunksOfOnlyPaddingChangeNothing) {
  std::vector<GlobalBatch> batches = {randomBatch(2, 9, 3)};
  ProgramShape wide = toyShape(4, 9);
  wide.chunk = 5;
  expectSameStep(runSteps(wide, batches), runSteps(toyShape(1, 9), batches));
}

TEST(Executor, ABatchWithoutPredictionsHasNoLossAndNoGradient) {
  GlobalBatch batch = randomBatch(2, 6, 3, 0);
  ASSERT_EQ(batch.lossTokens, 0);
  StepResult result = runSteps(toyShape(2, 6), {batch});
  EXPECT_EQ(result.loss, 0);
  EXPECT_EQ(result.norm, 0);
}

TEST(Executor, TheGradientIsTheSlopeOfTheLoss) {
  ProgramFile file = ProgramFile::fromBytes(toyProgram(toyShape(3, 7)), "toy");
  GlobalBatch batch = randomBatch(2, 7, 8);
  std::vector<float> gradient(16 * kToyWidth);
  double losses[2], along = 0;
  auto errors = runProgram(file, toyKernels(),
                           [&](Executor &executor, TestDevice &, Communicator &communicator) {
                             executor.initializeParameters(5);
                             std::vector<float> start(gradient.size()), moved(gradient.size());
                             executor.readParameter(0, ParameterPart::Value, start);
                             StepInputs inputs;
                             executor.step(inputs, batch);
                             std::vector<float> slope(gradient.size());
                             executor.readParameter(0, ParameterPart::Gradient, slope);
                             double length = executor.metric(MetricKind::GradientNorm);
                             for (int side : {0, 1}) {
                               float way = static_cast<float>((side ? 0.02 : -0.02) / length);
                               for (size_t i = 0; i < moved.size(); ++i)
                                 moved[i] = start[i] + way * slope[i];
                               executor.writeParameter(0, ParameterPart::Value, moved);
                               executor.evaluate(inputs, batch);
                               if (communicator.rank() == 0) {
                                 losses[side] = executor.metric(MetricKind::MlmLoss);
                                 along = length;
                               }
                             }
                           });
  EXPECT_THAT(errors, Each(""));
  EXPECT_NEAR((losses[1] - losses[0]) / 0.04, along, 2e-3 * along);
}

TEST(Executor, TheRingVisitsEveryBlockOnceAndFinishesInItsLastIteration) {
  ProgramFile file = ProgramFile::fromBytes(toyProgram(toyShape(4, 8)), "toy");
  auto errors = runProgram(file, toyKernels(),
                           [&](Executor &executor, TestDevice &device, Communicator &communicator) {
                             executor.step({}, randomBatch(2, 8, 1));
                             ASSERT_EQ(device.attentions.size(), 8u);
                             for (int i = 0; i < 4; ++i) {
                               const auto &forward = device.attentions[static_cast<size_t>(i)];
                               const auto &backward = device.attentions[static_cast<size_t>(4 + i)];
                               int block = (communicator.rank() - i + 4) % 4;
                               EXPECT_EQ(forward.maskOffset, block * 2);
                               EXPECT_EQ(backward.maskOffset, block * 2);
                               EXPECT_EQ(forward.initialize, i == 0);
                               EXPECT_EQ(forward.finish, i == 3);
                               EXPECT_EQ(backward.initialize, i == 0);
                               // The own block and the first of the ring overwrite, later ones add
                               // to what travels.
                               EXPECT_EQ(backward.accumulateKV, i > 1);
                             }
                           });
  EXPECT_THAT(errors, Each(""));
}

TEST(Executor, TheBytesOfTheRingEqualTheFormula) {
  for (int sp : {1, 2, 5}) {
    ProgramFile file = ProgramFile::fromBytes(toyProgram(toyShape(sp, 10)), "toy");
    auto errors = runProgram(
        file, toyKernels(), [&](Executor &executor, TestDevice &, Communicator &communicator) {
          executor.step({}, randomBatch(2, 10, 1));
          // Keys are values here: one block forward, one backward, and dK, dV, each P - 1 times.
          uint64_t block =
              2u * static_cast<uint64_t>(file.program().chunk_length()) * kToyWidth * 4;
          EXPECT_EQ(communicator.bytesSent(Traffic::RingShift),
                    (1 + 1 + 2) * static_cast<uint64_t>(sp - 1) * block);
          EXPECT_EQ(communicator.bytesSent(Traffic::AllReduce),
                    sp == 1 ? 0u : 16 * kToyWidth * 4 + 4);
        });
    EXPECT_THAT(errors, Each(""));
  }
}

} // namespace

} // namespace seqpar::rt::test
