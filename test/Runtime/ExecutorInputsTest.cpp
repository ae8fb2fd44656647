#include "ExecutorRun.h"
#include "ProgramBuilder.h"
#include "RandomBatch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>

namespace seqpar::rt::test {

namespace {

using namespace program;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// What a kernel saw, by rank and call.
using Seen = std::map<int, std::vector<std::vector<int32_t>>>;

/// Runs one step of a program whose micro-batch looks at an input, as int32 numbers.
Seen seeInput(InputKind kind, const ProgramShape &shape, const GlobalBatch &batch,
              const StepInputs &inputs = {}) {
  ProgramBuilder p(shape);
  int buffer = kind == InputKind::Constant ? (p.constant(3), p.constant(-7)) : p.input(kind);
  bool ofLossScale = kind >= InputKind::ScaledInverseLossTokens;
  if (ofLossScale) {
    p.input(InputKind::InverseLossScale);
    p.metric(MetricKind::GradientNorm);
  }
  // An input of the step is one number; of the others the whole array is looked at.
  int64_t rows = kind == InputKind::PaddingMask ? shape.microBatch * shape.chunk * shape.sp
                 : kind == InputKind::SentenceOrder || kind == InputKind::SampleNumbers ||
                         kind == InputKind::FirstTokenRows
                     ? shape.microBatch
                 : kind < InputKind::InverseLossTokens || kind == InputKind::RowSamples
                     ? shape.microBatch * shape.chunk
                     : 1;
  DataType type = kind >= InputKind::InverseLossTokens && kind != InputKind::Step &&
                              kind != InputKind::Seed && kind < InputKind::FirstTokenRows ||
                          ofLossScale
                      ? DataType::F32
                      : DataType::I32;
  int look = p.kernel("look", {{Access::RowScalar, 1, type}});
  auto op = p.launch(look, {p.use(buffer)}, rows);
  ProgramFile file = ProgramFile::fromBytes(p.finish({op}, {}), "inputs");
  Seen seen;
  std::mutex mutex;
  auto errors = runThreads(file.grid(), [&](Communicator &communicator) {
    auto &calls = [&]() -> auto & {
      std::lock_guard lock(mutex);
      return seen[communicator.rank()];
    }();
    TestDevice device({{"look", [&](void *const *operands, int64_t rows) {
                          auto *values = static_cast<int32_t *>(operands[0]);
                          calls.emplace_back(values, values + rows);
                        }}});
    device.loadKernels(file.program());
    Executor executor(file, device, communicator);
    executor.step(inputs, batch);
  });
  EXPECT_THAT(errors, Each(""));
  return seen;
}

GlobalBatch countedBatch(int64_t samples, int64_t length) {
  GlobalBatch batch;
  batch.resize(samples, length);
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    batch.tokens[i] = static_cast<int32_t>(100 + i);
    batch.paddingMask[i] = 1;
    batch.labels[i] = -1;
  }
  return batch;
}

ProgramShape shapeOf(int dp, int sp, int64_t microBatch, int64_t microBatches, int64_t length,
                     int64_t chunk) {
  return {dp, 1, sp, microBatch, microBatches, length, chunk};
}

TEST(ExecutorInputs, ARankGetsItsChunkPaddedWithZeros) {
  Seen seen = seeInput(InputKind::Tokens, shapeOf(1, 3, 2, 1, 5, 2), countedBatch(2, 5));
  EXPECT_THAT(seen[0], ElementsAre(ElementsAre(100, 101, 105, 106)));
  EXPECT_THAT(seen[1], ElementsAre(ElementsAre(102, 103, 107, 108)));
  EXPECT_THAT(seen[2], ElementsAre(ElementsAre(104, 0, 109, 0)));
}

TEST(ExecutorInputs, MicroBatchesAndReplicasTakeTheSamplesInMegatronsOrder) {
  // Micro-batch m of replica d: samples (m * dp + d) * B + 0 ... B - 1.
  GlobalBatch batch = countedBatch(8, 1);
  batch.firstSample = 40;
  Seen seen = seeInput(InputKind::SampleNumbers, shapeOf(2, 1, 2, 2, 1, 1), batch);
  EXPECT_THAT(seen[0], ElementsAre(ElementsAre(40, 41), ElementsAre(44, 45)));
  EXPECT_THAT(seen[1], ElementsAre(ElementsAre(42, 43), ElementsAre(46, 47)));
}

TEST(ExecutorInputs, EachPositionHasTheNumberOfItsSample) {
  GlobalBatch batch = countedBatch(4, 3);
  batch.firstSample = 40;
  Seen seen = seeInput(InputKind::RowSamples, shapeOf(1, 2, 2, 2, 3, 2), batch);
  for (int rank : {0, 1})
    EXPECT_THAT(seen[rank], ElementsAre(ElementsAre(40, 40, 41, 41), ElementsAre(42, 42, 43, 43)));
}

TEST(ExecutorInputs, PositionsCountInTheSequence) {
  Seen seen = seeInput(InputKind::Positions, shapeOf(1, 2, 2, 1, 5, 3), countedBatch(2, 5));
  EXPECT_THAT(seen[0], ElementsAre(ElementsAre(0, 1, 2, 0, 1, 2)));
  EXPECT_THAT(seen[1], ElementsAre(ElementsAre(3, 4, 0, 3, 4, 0)));
}

TEST(ExecutorInputs, TheMaskIsOfTheWholeSequence) {
  GlobalBatch batch = countedBatch(1, 5);
  batch.paddingMask = {1, 1, 1, 1, 0};
  Seen seen = seeInput(InputKind::PaddingMask, shapeOf(1, 2, 1, 1, 5, 3), batch);
  for (int rank : {0, 1})
    EXPECT_THAT(seen[rank], ElementsAre(ElementsAre(1, 1, 1, 1, 0, 0)));
}

TEST(ExecutorInputs, MaskedRowsAreThoseOfTheChunk) {
  GlobalBatch batch = countedBatch(2, 5);
  batch.lossMask = {0, 1, 0, 1, 0, 1, 0, 0, 0, 1};
  batch.labels = {-1, 7, -1, 8, -1, 9, -1, -1, -1, 6};
  ProgramShape shape = shapeOf(1, 2, 2, 1, 5, 3);
  Seen rows = seeInput(InputKind::MaskedRows, shape, batch);
  EXPECT_THAT(rows[0], ElementsAre(ElementsAre(1, 3, -1, -1, -1, -1)));
  EXPECT_THAT(rows[1], ElementsAre(ElementsAre(0, 4, -1, -1, -1, -1)));
  Seen labels = seeInput(InputKind::MaskedLabels, shape, batch);
  EXPECT_THAT(labels[0], ElementsAre(ElementsAre(7, 9, -1, -1, -1, -1)));
  EXPECT_THAT(labels[1], ElementsAre(ElementsAre(8, 6, -1, -1, -1, -1)));
}

TEST(ExecutorInputs, FirstTokensAreOnTheFirstRankOfTheSequence) {
  Seen seen = seeInput(InputKind::FirstTokenRows, shapeOf(1, 2, 2, 1, 5, 3), countedBatch(2, 5));
  EXPECT_THAT(seen[0], ElementsAre(ElementsAre(0, 3)));
  EXPECT_THAT(seen[1], ElementsAre(ElementsAre(-1, -1)));
}

float floatIn(const Seen &seen) {
  float value;
  std::memcpy(&value, seen.at(0).at(0).data(), sizeof(value));
  return value;
}

TEST(ExecutorInputs, DenominatorsAreOfTheWholeGlobalBatch) {
  GlobalBatch batch = countedBatch(4, 5);
  batch.lossMask[3] = batch.lossMask[19] = batch.lossMask[18] = 1;
  batch.countLossTokens();
  ProgramShape shape = shapeOf(2, 1, 1, 2, 5, 5);
  EXPECT_FLOAT_EQ(floatIn(seeInput(InputKind::InverseLossTokens, shape, batch)), 1.0f / 3);
  EXPECT_FLOAT_EQ(floatIn(seeInput(InputKind::InverseSamples, shape, batch)), 0.25f);
  batch.lossTokens = 0;
  EXPECT_EQ(floatIn(seeInput(InputKind::InverseLossTokens, shape, batch)), 0.0f);
}

TEST(ExecutorInputs, TheLossScaleIsInTheSeedsAndItsInverseApart) {
  GlobalBatch batch = countedBatch(4, 5);
  batch.lossMask[3] = batch.lossMask[19] = batch.lossMask[18] = 1;
  batch.countLossTokens();
  ProgramShape shape = shapeOf(2, 1, 1, 2, 5, 5);
  StepInputs inputs{.lossScale = 4096};
  auto seen = [&](InputKind kind) { return floatIn(seeInput(kind, shape, batch, inputs)); };
  EXPECT_FLOAT_EQ(seen(InputKind::ScaledInverseLossTokens), 4096.0f / 3);
  EXPECT_EQ(seen(InputKind::ScaledInverseSamples), 1024.0f);
  EXPECT_EQ(seen(InputKind::InverseLossScale), 1.0f / 4096);
  EXPECT_FLOAT_EQ(seen(InputKind::InverseLossTokens), 1.0f / 3);
  EXPECT_EQ(seen(InputKind::InverseSamples), 0.25f);
}

// Dropout counts all steps, the bias corrections those that have changed the moments.
TEST(ExecutorInputs, SkippedStepsCountForDropoutOnly) {
  ProgramShape shape = shapeOf(1, 1, 1, 1, 1, 1);
  StepInputs inputs{.step = 5, .skipped = 3};
  auto seen = seeInput(InputKind::BiasCorrection1, shape, countedBatch(1, 1), inputs);
  EXPECT_FLOAT_EQ(floatIn(seen), static_cast<float>(1 / (1 - 0.9 * 0.9 * 0.9)));
  EXPECT_EQ(seeInput(InputKind::Step, shape, countedBatch(1, 1), inputs)[0][0][0], 5);
}

TEST(ExecutorInputs, StepNumbersAreWritten) {
  ProgramShape shape = shapeOf(1, 1, 1, 1, 1, 1);
  GlobalBatch batch = countedBatch(1, 1);
  StepInputs inputs{
      .step = 2, .seed = 9, .learningRate = 0.5f, .clipNorm = 2, .weightDecay = 0.25f};
  EXPECT_EQ(seeInput(InputKind::Step, shape, batch, inputs)[0][0][0], 2);
  EXPECT_EQ(seeInput(InputKind::Seed, shape, batch, inputs)[0][0][0], 9);
  EXPECT_EQ(seeInput(InputKind::Training, shape, batch, inputs)[0][0][0], 1);
  EXPECT_EQ(seeInput(InputKind::Constant, shape, batch, inputs)[0][0][0], -7);
  inputs.training = false;
  EXPECT_EQ(seeInput(InputKind::Training, shape, batch, inputs)[0][0][0], 0);
  EXPECT_EQ(floatIn(seeInput(InputKind::LearningRate, shape, batch, inputs)), 0.5f);
  EXPECT_EQ(floatIn(seeInput(InputKind::ClipNorm, shape, batch, inputs)), 2.0f);
  EXPECT_EQ(floatIn(seeInput(InputKind::WeightDecay, shape, batch, inputs)), 0.25f);
  EXPECT_FLOAT_EQ(floatIn(seeInput(InputKind::BiasCorrection1, shape, batch, inputs)),
                  static_cast<float>(1 / (1 - 0.9 * 0.9 * 0.9)));
  EXPECT_FLOAT_EQ(floatIn(seeInput(InputKind::BiasCorrection2, shape, batch, inputs)),
                  static_cast<float>(1 / (1 - 0.999 * 0.999 * 0.999)));
}

/// Rows and labels of each chunk of a rows loop.
std::vector<std::vector<int32_t>> chunksOf(int64_t chunk, int64_t masked) {
  ProgramBuilder p(shapeOf(1, 1, 1, 1, 8, 8));
  int rows = p.input(InputKind::MaskedRows), labels = p.input(InputKind::MaskedLabels);
  int look = p.kernel(
      "look", {{Access::RowScalar, 1, DataType::I32}, {Access::RowScalar, 1, DataType::I32}});
  auto loop =
      p.rows(chunk, {p.launch(look, {p.use(rows), p.use(labels)}, chunk, Combine::Overwrite, true)},
             rows, labels);
  ProgramFile file = ProgramFile::fromBytes(p.finish({loop}, {}), "rows");
  GlobalBatch batch = countedBatch(1, 8);
  for (int64_t i = 0; i < masked; ++i) {
    batch.lossMask[static_cast<size_t>(7 - i)] = 1;
    batch.labels[static_cast<size_t>(7 - i)] = static_cast<int32_t>(10 + 7 - i);
  }
  std::vector<std::vector<int32_t>> seen;
  TestKernels kernels{{"look", [&](void *const *operands, int64_t count) {
                         auto *row = static_cast<int32_t *>(operands[0]);
                         auto *label = static_cast<int32_t *>(operands[1]);
                         for (int64_t i = 0; i < count; ++i)
                           EXPECT_EQ(label[i], row[i] + 10);
                         seen.emplace_back(row, row + count);
                       }}};
  auto errors = runProgram(file, kernels, [&](Executor &executor, TestDevice &, Communicator &) {
    executor.step({}, batch);
  });
  EXPECT_THAT(errors, Each(""));
  return seen;
}

TEST(ExecutorRows, ChunksCoverTheMaskedRows) {
  EXPECT_THAT(chunksOf(3, 7),
              ElementsAre(ElementsAre(1, 2, 3), ElementsAre(4, 5, 6), ElementsAre(7)));
  EXPECT_THAT(chunksOf(4, 8), ElementsAre(ElementsAre(0, 1, 2, 3), ElementsAre(4, 5, 6, 7)));
  EXPECT_THAT(chunksOf(100, 2), ElementsAre(ElementsAre(6, 7)));
  EXPECT_THAT(chunksOf(3, 0), IsEmpty());
}

TEST(ExecutorCombine, SumsOverTheMicroBatchesOfAStep) {
  ProgramBuilder p(shapeOf(1, 1, 1, 3, 1, 1));
  int metric = p.metric(MetricKind::MlmLoss), other = p.metric(MetricKind::SopLoss);
  int one = p.kernel("one", {{Access::SumRows, 1, DataType::F32, -1, true}});
  auto sum = p.launch(one, {p.use(metric)}, 1, Combine::AddAfterFirstMicroBatch);
  auto last = p.launch(one, {p.use(other)}, 1, Combine::Overwrite);
  ProgramFile file = ProgramFile::fromBytes(p.finish({sum, last}, {}), "combine");
  TestKernels kernels{
      {"one", [](void *const *operands, int64_t) { *static_cast<float *>(operands[0]) += 1; }}};
  auto errors = runProgram(file, kernels, [&](Executor &executor, TestDevice &, Communicator &) {
    for (int step = 0; step < 2; ++step) {
      executor.step({}, countedBatch(3, 1));
      EXPECT_EQ(executor.metric(MetricKind::MlmLoss), 3);
      EXPECT_EQ(executor.metric(MetricKind::SopLoss), 1);
    }
  });
  EXPECT_THAT(errors, Each(""));
}

TEST(ExecutorFailure, OneRanksFailureEndsAllWithItsPlace) {
  ProgramBuilder p(shapeOf(1, 4, 1, 1, 8, 2));
  int metric = p.metric(MetricKind::MlmLoss);
  int work = p.kernel("work", {{Access::Scalar, 1, DataType::F32}});
  auto op = p.launch(work, {p.use(metric)}, 1, Combine::Overwrite, false,
                     "nn.layer_norm bert-tiny.mlir:21:10");
  ProgramFile file = ProgramFile::fromBytes(p.finish({op, p.allReduce(metric, 1, 4)}, {}), "fails");
  std::atomic<int> calls = 0;
  TestKernels kernels{{"work", [&](void *const *, int64_t) {
                         if (++calls == 7)
                           throw std::runtime_error("no more memory");
                       }}};
  auto begin = std::chrono::steady_clock::now();
  auto errors = runProgram(file, kernels, [&](Executor &executor, TestDevice &, Communicator &) {
    for (int step = 0; step < 100; ++step)
      executor.step({}, countedBatch(1, 8));
  });
  EXPECT_THAT(errors, Each(HasSubstr(
                          ": RowKernel of nn.layer_norm bert-tiny.mlir:21:10: no more memory")));
  EXPECT_THAT(errors, Each(testing::StartsWith("rank ")));
  EXPECT_THAT(errors, Each(errors[0]));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(ExecutorBatch, ABatchOfAnotherShapeIsAnError) {
  ProgramBuilder p(shapeOf(1, 1, 2, 1, 8, 8));
  ProgramFile file = ProgramFile::fromBytes(p.finish({}, {}), "shape");
  auto errors = runProgram(file, {}, [&](Executor &executor, TestDevice &, Communicator &) {
    executor.step({}, countedBatch(2, 7));
  });
  EXPECT_THAT(errors, Each(HasSubstr("expected a global batch of 2 samples of 8 positions")));
}

} // namespace

} // namespace seqpar::rt::test
