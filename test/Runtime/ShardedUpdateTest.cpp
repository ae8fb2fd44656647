//===- ShardedUpdateTest.cpp - ranks that share the update ------*- C++ -*-===//

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
using testing::HasSubstr;

constexpr size_t kElements = 16 * kToyWidth;
constexpr ParameterPart kAllParts[] = {ParameterPart::Value, ParameterPart::Gradient,
                                       ParameterPart::FirstMoment, ParameterPart::SecondMoment};

struct Result {
  double loss = 0, norm = 0;
  std::vector<float> parts[4]; ///< as kAllParts, on the first rank
};

StepInputs inputsOf(size_t step) {
  return {.step = static_cast<int64_t>(step), .learningRate = 0.1f, .clipNorm = 0.05f};
}

/// Steps over the batches from `start` on (moments and values), or from the initialiser.
Result runSteps(const ProgramShape &shape, bool sharded, const std::vector<GlobalBatch> &batches,
                size_t firstStep = 0, const Result *start = nullptr, bool hostMemory = true) {
  ProgramFile file = ProgramFile::fromBytes(toyProgram(shape, 3, sharded), "toy");
  std::vector<Result> results(static_cast<size_t>(file.grid().size()));
  auto errors = runProgram(
      file, toyKernels(),
      [&](Executor &executor, TestDevice &, Communicator &communicator) {
        Result &result = results[static_cast<size_t>(communicator.rank())];
        executor.initializeParameters(5);
        communicator.barrier();
        if (start)
          for (int part : {0, 2, 3})
            executor.writeParameter(0, kAllParts[part], start->parts[part]);
        communicator.barrier();
        for (size_t i = firstStep; i < batches.size(); ++i)
          executor.step(inputsOf(i), batches[i]);
        result.loss = executor.metric(MetricKind::MlmLoss);
        result.norm = executor.metric(MetricKind::GradientNorm);
        for (int part = 0; part < 4; ++part) {
          if (communicator.rank() == 0)
            result.parts[part].resize(kElements);
          executor.gatherParameter(0, kAllParts[part], result.parts[part]);
        }
        std::vector<float> own(kElements);
        executor.readParameter(0, ParameterPart::Value, own);
        communicator.barrier();
        if (own != results[0].parts[0])
          fail("rank {} has other parameters than rank 0", communicator.rank());
      },
      hostMemory);
  EXPECT_THAT(errors, Each(""));
  return results[0];
}

void expectSame(const Result &found, const Result &expected) {
  EXPECT_NEAR(found.loss, expected.loss, 2e-5 * expected.loss);
  EXPECT_NEAR(found.norm, expected.norm, 2e-5 * expected.norm);
  for (int part = 0; part < 4; ++part) {
    SCOPED_TRACE(part);
    expectClose(found.parts[part], expected.parts[part]);
  }
}

TEST(ShardedUpdate, IsTheSameOnEveryGrid) {
  std::vector<GlobalBatch> batches;
  for (uint32_t i = 0; i < 3; ++i)
    batches.push_back(randomBatch(4, 9, 10 * i + 1));
  Result one = runSteps(toyShape(1, 9, 1, 1, 4), false, batches);
  // With one copy of the parameters for all ranks, and with one for each.
  for (bool hostMemory : {true, false}) {
    SCOPED_TRACE(hostMemory);
    auto expectAsOne = [&](const ProgramShape &shape) {
      expectSame(runSteps(shape, true, batches, 0, nullptr, hostMemory), one);
    };
    expectAsOne(toyShape(1, 9, 1, 1, 4));
    expectAsOne(toyShape(3, 9, 1, 1, 4));
    expectAsOne(toyShape(8, 9, 1, 2, 2));
    expectAsOne(toyShape(1, 9, 4, 1, 1));
    expectAsOne(toyShape(2, 9, 2, 2, 1));
  }
}

TEST(ShardedUpdate, GoesOnOnAnotherGridWithTheMomentsGathered) {
  std::vector<GlobalBatch> batches;
  for (uint32_t i = 0; i < 4; ++i)
    batches.push_back(randomBatch(4, 9, 10 * i + 1));
  Result whole = runSteps(toyShape(3, 9, 1, 1, 4), true, batches);
  std::vector<GlobalBatch> half(batches.begin(), batches.begin() + 2);
  Result middle = runSteps(toyShape(2, 9, 2, 1, 2), true, half);
  expectSame(runSteps(toyShape(5, 9, 1, 2, 2), true, batches, 2, &middle), whole);
  expectSame(runSteps(toyShape(2, 9, 1, 1, 4), false, batches, 2, &middle), whole);
}

TEST(ShardedUpdate, AnEvaluationChangesNothing) {
  ProgramFile file = ProgramFile::fromBytes(toyProgram(toyShape(3, 9, 1, 2, 2), 3, true), "toy");
  GlobalBatch batch = randomBatch(4, 9, 1), other = randomBatch(4, 9, 2);
  std::vector<float> values[2];
  for (bool evaluates : {false, true}) {
    std::vector<float> &last = values[evaluates];
    last.resize(kElements);
    auto errors = runProgram(
        file, toyKernels(), [&](Executor &executor, TestDevice &, Communicator &communicator) {
          executor.initializeParameters(5);
          communicator.barrier();
          executor.step(inputsOf(0), batch);
          if (evaluates)
            executor.evaluate(inputsOf(0), other);
          executor.step(inputsOf(1), batch);
          executor.gatherParameter(0, ParameterPart::Value,
                                   communicator.rank() ? std::span<float>() : std::span(last));
        });
    EXPECT_THAT(errors, Each(""));
  }
  EXPECT_EQ(values[0], values[1]);
}

// A shard of the moments on each rank and one copy of the parameters; each rank hands over its
// whole gradient once and its shard of the parameters once.
TEST(ShardedUpdate, MemoryAndBytesAreAsTheFormulaSays) {
  ProgramFile file = ProgramFile::fromBytes(toyProgram(toyShape(4, 8), 3, true), "toy");
  EXPECT_EQ(file.stage(0).optimizer_state_bytes(), 2 * kElements);
  GlobalBatch batch = randomBatch(2, 8, 1);
  auto errors = runProgram(
      file, toyKernels(), [&](Executor &executor, TestDevice &, Communicator &communicator) {
        executor.initializeParameters(5);
        communicator.barrier();
        uint64_t before = communicator.bytesSent(Traffic::AllGather);
        executor.step(inputsOf(0), batch);
        uint64_t scattered = communicator.bytesSent(Traffic::ReduceScatter);
        uint64_t gathered = communicator.bytesSent(Traffic::AllGather) - before;
        if (scattered != 4 * kElements || gathered != kElements)
          fail("{} bytes scattered, {} gathered", scattered, gathered);
        std::vector<float> values(kElements, static_cast<float>(communicator.rank()));
        executor.writeParameter(0, ParameterPart::Value, values);
        communicator.barrier();
        executor.readParameter(0, ParameterPart::Value, values);
        if (values != std::vector<float>(kElements, 0.0f))
          fail("the first rank's values are not everyone's");
      });
  EXPECT_THAT(errors, Each(""));
}

// Two replicas that share nothing, each with one copy for its chunks of the sequence.
TEST(ShardedUpdate, EveryCopyOfTheParametersIsInitialisedWhole) {
  auto valuesOn = [](const ProgramShape &shape) {
    ProgramBuilder p(shape);
    p.shardAxes = kAxisSp;
    p.shardedParameter("w", {12, 8}, 12 / shape.sp, Initializer::Normal, 1.0f);
    ProgramFile file = ProgramFile::fromBytes(p.finish({}, {}), "copies");
    std::vector<std::vector<float>> values(static_cast<size_t>(file.grid().size()),
                                           std::vector<float>(12 * 8));
    auto errors =
        runProgram(file, {}, [&](Executor &executor, TestDevice &, Communicator &communicator) {
          executor.initializeParameters(5);
          communicator.barrier();
          executor.readParameter(0, ParameterPart::Value,
                                 values[static_cast<size_t>(communicator.rank())]);
        });
    EXPECT_THAT(errors, Each(""));
    return values;
  };
  auto expected = valuesOn(toyShape(1, 8))[0];
  EXPECT_THAT(expected, Each(testing::Ne(0.0f)));
  EXPECT_THAT(valuesOn(toyShape(3, 9, 2)), Each(expected));
}

TEST(ShardedUpdate, WhatLiesOnSeveralRanksIsNotRead) {
  ProgramFile file = ProgramFile::fromBytes(toyProgram(toyShape(2, 8), 3, true), "toy");
  auto errors =
      runProgram(file, toyKernels(), [&](Executor &executor, TestDevice &, Communicator &) {
        std::vector<float> values(kElements);
        executor.readParameter(0, ParameterPart::FirstMoment, values);
      });
  EXPECT_THAT(errors, Each(HasSubstr("lies on several ranks")));
}

// Shards that their segment cannot hold; a reduction that begins in a ring loop, one that nobody
// waits for; a parameter outside of all shards.
TEST(ShardedUpdate, ProgramsThatDoNotFitAreRefused) {
  auto expectRefused = [](ProgramBuilder &p, const std::vector<ProgramBuilder::Op> &update,
                          const char *why) {
    try {
      ProgramFile::fromBytes(p.finish({}, update), "wrong");
      ADD_FAILURE() << "was loaded, expected: " << why;
    } catch (const Error &error) {
      EXPECT_THAT(error.what(), HasSubstr(why));
    }
  };
  ProgramShape shape = toyShape(2, 8);
  ProgramBuilder narrow(shape);
  narrow.shardedParameter("w", {2, 8}, 1, Initializer::Zeros, 0);
  expectRefused(narrow, {}, "are outside of segment Parameter");

  ProgramBuilder started(shape);
  started.shardedParameter("w", {4, 8}, 2, Initializer::Zeros, 0);
  Operand gradient = ProgramBuilder::use(started.parameters[0].gradient);
  auto reduce = [&](int tag) {
    return started.op(CreateAllReduce(started.bytes, &gradient, 32, DataType::F32, 5, tag));
  };
  auto inLoop = started.ring({reduce(3)});
  expectRefused(started, {inLoop, started.wait(3)}, "cannot begin in a ring loop");

  ProgramBuilder forgotten(shape);
  forgotten.shardedParameter("w", {4, 8}, 2, Initializer::Zeros, 0);
  gradient = ProgramBuilder::use(forgotten.parameters[0].gradient);
  auto begun = forgotten.op(CreateAllReduce(forgotten.bytes, &gradient, 32, DataType::F32, 5, 3));
  expectRefused(forgotten, {begun}, "exchange 3 is never waited for");

  ProgramBuilder mixed(shape);
  mixed.shardedParameter("w", {4, 8}, 2, Initializer::Zeros, 0);
  mixed.parameter("v", {4, 8});
  expectRefused(mixed, {}, "no moments");
}

} // namespace

} // namespace seqpar::rt::test
