// Two pipeline stages, written by hand: the first looks up tokens in a table and sends them on, the
// second makes the loss, the sum of w[c] * x[c]^2 over all tokens, and sends the gradient back.

#include "ExecutorRun.h"
#include "ProgramBuilder.h"
#include "RandomBatch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace seqpar::rt::test {

namespace {

using namespace program;
using testing::Each;
using testing::HasSubstr;

constexpr int64_t kWidth = 8, kVocabulary = 16, kLength = 6;
constexpr int kActivation = 1, kGradient = 2;
using Turns = std::vector<Turn>;
using Ops = std::vector<ProgramBuilder::Op>;

Turns oneForwardOneBackward(int stage, int stages, int count) {
  Turns turns;
  int warmUp = std::min(count, stages - 1 - stage);
  for (int i = 0; i < warmUp; ++i)
    turns.emplace_back(i, false);
  for (int i = 0; i < count; ++i) {
    if (i + warmUp < count)
      turns.emplace_back(i + warmUp, false);
    turns.emplace_back(i, true);
  }
  return turns;
}

Turns allForwardThenBackward(int count) {
  Turns turns;
  for (bool backward : {false, true})
    for (int i = 0; i < count; ++i)
      turns.emplace_back(i, backward);
  return turns;
}

struct Pipeline {
  ProgramShape shape;
  Turns orders[2];
  int slots[2] = {1, 1};
  bool waitInUpdate = true;
};

ProgramShape pipelineShape(int sp, int dp, int64_t microBatches) {
  ProgramShape shape;
  shape.dp = dp;
  shape.pp = 2;
  shape.sp = sp;
  shape.microBatch = 2;
  shape.microBatches = microBatches;
  shape.length = kLength;
  shape.chunk = kLength / sp;
  shape.vocabulary = kVocabulary;
  return shape;
}

Pipeline pipeline(int sp, int dp, int microBatches, bool gpipe) {
  Pipeline made;
  made.shape = pipelineShape(sp, dp, microBatches);
  for (int stage : {0, 1}) {
    made.orders[stage] = gpipe ? allForwardThenBackward(microBatches)
                               : oneForwardOneBackward(stage, 2, microBatches);
    made.slots[stage] = gpipe ? microBatches : std::min(microBatches, 2 - stage);
  }
  return made;
}

class PipelineWriter {
public:
  explicit PipelineWriter(const Pipeline &made)
      : made(made), p(made.shape), rows(made.shape.microBatch * made.shape.chunk),
        size(static_cast<uint64_t>(rows * kWidth) * 4) {}

  std::vector<uint8_t> write() {
    first();
    second();
    return p.finish();
  }

private:
  void first() {
    p.slots = made.slots[0];
    p.parameter("table", {kVocabulary, kWidth}, Initializer::Normal, 0.5f);
    auto table = p.parameters[0];
    int x = p.slotted(Segment::Arena, {rows, kWidth}),
        dx = p.buffer(Segment::Arena, {rows, kWidth});
    int tokens = p.input(InputKind::Tokens);
    int look = p.kernel("look_up", {{Access::Gather, kWidth, DataType::F32, 1},
                                    {Access::RowScalar, 1, DataType::I32},
                                    {Access::Row, kWidth, DataType::F32, -1, true}});
    int add = p.kernel("add_rows", {{Access::ScatterAdd, kWidth, DataType::F32, 1, true},
                                    {Access::RowScalar, 1, DataType::I32},
                                    {Access::Row, kWidth, DataType::F32}});
    auto use = [](int buffer) { return ProgramBuilder::use(buffer); };
    Ops forward = {p.launch(look, {use(table.value), use(tokens), use(x)}, rows),
                   p.send(x, size, 1, kActivation)};
    Ops backward = {p.wait(kActivation), p.receive(dx, size, 1, kGradient), p.wait(kGradient),
                    p.fill(table.gradient, static_cast<uint64_t>(kVocabulary * kWidth) * 4, true),
                    p.launch(add, {use(table.gradient), use(tokens), use(dx)}, rows)};
    Ops update = {p.allReduce(table.gradient, kVocabulary * kWidth, 5)};
    p.endStage(forward, backward, update, made.orders[0]);
  }

  void second() {
    p.slots = made.slots[1];
    p.parameter("w", {kWidth}, Initializer::Normal, 1.0f);
    auto w = p.parameters[0];
    int x = p.slotted(Segment::Arena, {rows, kWidth}),
        dx = p.buffer(Segment::Arena, {rows, kWidth});
    int loss = p.metric(MetricKind::MlmLoss);
    int energy = p.kernel("energy", {{Access::Row, kWidth},
                                     {Access::Broadcast, kWidth},
                                     {Access::SumRows, 1, DataType::F32, -1, true}});
    int slope = p.kernel("slope", {{Access::Row, kWidth},
                                   {Access::Broadcast, kWidth},
                                   {Access::Row, kWidth, DataType::F32, -1, true},
                                   {Access::SumRows, kWidth, DataType::F32, -1, true}});
    auto use = [](int buffer) { return ProgramBuilder::use(buffer); };
    Ops forward = {p.receive(x, size, 0, kActivation), p.wait(kActivation),
                   p.launch(energy, {use(x), use(w.value), use(loss)}, rows,
                            Combine::AddAfterFirstMicroBatch)};
    Ops backward = {p.wait(kGradient),
                    p.launch(slope, {use(x), use(w.value), use(dx), use(w.gradient)}, rows,
                             Combine::AddAfterFirstMicroBatch),
                    p.send(dx, size, 0, kGradient)};
    Ops update = {p.allReduce(loss, 1, 5), p.allReduce(w.gradient, kWidth, 5)};
    if (made.waitInUpdate)
      update.insert(update.begin(), p.wait(kGradient));
    p.endStage(forward, backward, update, made.orders[1]);
  }

  const Pipeline &made;
  ProgramBuilder p;
  int64_t rows;
  uint64_t size;
};

template <typename T> T *as(void *operand) { return static_cast<T *>(operand); }

TestKernels pipelineKernels() {
  TestKernels kernels;
  kernels["look_up"] = [](void *const *o, int64_t rows) {
    for (int64_t i = 0; i < rows * kWidth; ++i)
      as<float>(o[2])[i] = as<float>(o[0])[as<int32_t>(o[1])[i / kWidth] * kWidth + i % kWidth];
  };
  kernels["add_rows"] = [](void *const *o, int64_t rows) {
    for (int64_t i = 0; i < rows * kWidth; ++i)
      as<float>(o[0])[as<int32_t>(o[1])[i / kWidth] * kWidth + i % kWidth] += as<float>(o[2])[i];
  };
  kernels["energy"] = [](void *const *o, int64_t rows) {
    for (int64_t i = 0; i < rows * kWidth; ++i)
      *as<float>(o[2]) += as<float>(o[1])[i % kWidth] * as<float>(o[0])[i] * as<float>(o[0])[i];
  };
  kernels["slope"] = [](void *const *o, int64_t rows) {
    for (int64_t i = 0; i < rows * kWidth; ++i) {
      float x = as<float>(o[0])[i];
      as<float>(o[2])[i] = 2 * as<float>(o[1])[i % kWidth] * x;
      as<float>(o[3])[i % kWidth] += x * x;
    }
  };
  return kernels;
}

/// What the two stages must compute, in double precision.
struct Expected {
  double loss = 0;
  std::vector<double> table = std::vector<double>(kVocabulary * kWidth);
  std::vector<double> w = std::vector<double>(kWidth);
};

Expected compute(const GlobalBatch &batch, const std::vector<float> &table,
                 const std::vector<float> &w) {
  Expected result;
  for (int32_t token : batch.tokens)
    for (int64_t c = 0; c < kWidth; ++c) {
      size_t at = static_cast<size_t>(token * kWidth + c), column = static_cast<size_t>(c);
      double x = table[at];
      result.loss += w[column] * x * x;
      result.table[at] += 2.0 * w[column] * x;
      result.w[column] += x * x;
    }
  return result;
}

void expectClose(const std::vector<float> &found, const std::vector<double> &expected) {
  double largest = 0;
  for (double value : expected)
    largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 1e-5 * largest) << i;
}

/// Runs two steps and an evaluation, each on its own batch, and compares each with `compute`.
void checkRun(const Pipeline &made) {
  ProgramFile file = ProgramFile::fromBytes(PipelineWriter(made).write(), "pipeline");
  std::vector<float> table(kVocabulary * kWidth), w(kWidth);
  for (size_t i = 0; i < table.size(); ++i)
    table[i] = 0.1f * static_cast<float>(i % 23) - 1.0f;
  for (size_t i = 0; i < w.size(); ++i)
    w[i] = 0.3f * static_cast<float>(i) - 0.7f;
  auto errors = runProgram(
      file, pipelineKernels(), [&](Executor &executor, TestDevice &, Communicator &communicator) {
        bool last = communicator.coordinates().pp == 1;
        const std::vector<float> &own = last ? w : table;
        executor.writeParameter(0, ParameterPart::Value, own);
        for (uint32_t step = 0; step < 3; ++step) {
          GlobalBatch batch = randomBatch(file.globalBatch(), kLength, step + 1);
          Expected expected = compute(batch, table, w);
          communicator.barrier();
          bool evaluates = step == 1;
          evaluates ? executor.evaluate({}, batch) : executor.step({}, batch);
          if (last)
            EXPECT_NEAR(executor.metric(MetricKind::MlmLoss), expected.loss,
                        1e-5 * std::abs(expected.loss));
          if (evaluates)
            continue;
          std::vector<float> gradient(own.size());
          executor.readParameter(0, ParameterPart::Gradient, gradient);
          expectClose(gradient, last ? expected.w : expected.table);
        }
      });
  EXPECT_THAT(errors, Each(""));
}

TEST(Pipeline, GradientsAreThoseOfTheWholeBatch) {
  for (int sp : {1, 2, 3})
    for (int dp : {1, 2})
      for (int microBatches : {1, 2, 5})
        for (bool gpipe : {false, true}) {
          SCOPED_TRACE(testing::Message() << "sp " << sp << " dp " << dp << " micro-batches "
                                          << microBatches << (gpipe ? " gpipe" : " 1f1b"));
          checkRun(pipeline(sp, dp, microBatches, gpipe));
        }
}

std::string errorOf(const Pipeline &made) {
  try {
    ProgramFile::fromBytes(PipelineWriter(made).write(), "pipeline");
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

TEST(Pipeline, EachMicroBatchHasItsTurns) {
  Pipeline good = pipeline(1, 1, 3, false);
  EXPECT_EQ(errorOf(good), "");
  auto change = [&](auto edit) {
    Pipeline made = good;
    edit(made);
    return errorOf(made);
  };
  EXPECT_THAT(change([](Pipeline &made) { made.orders[0].pop_back(); }),
              HasSubstr("stage 0: expected 6 turns for 3 micro-batches, found 5"));
  EXPECT_THAT(change([](Pipeline &made) { made.orders[0][1] = Turn(0, false); }),
              HasSubstr("forward of micro-batch 0 is out of order"));
  EXPECT_THAT(change([](Pipeline &made) { std::swap(made.orders[1][0], made.orders[1][1]); }),
              HasSubstr("stage 1: backward of micro-batch 0 is out of order"));
  EXPECT_THAT(change([](Pipeline &made) { made.orders[0][0] = Turn(3, false); }),
              HasSubstr("forward of micro-batch 3: there are 3"));
  EXPECT_THAT(change([](Pipeline &made) { made.orders[0][0] = Turn(-1, false); }),
              HasSubstr("forward of micro-batch -1: there are 3"));
}

TEST(Pipeline, MicroBatchesComeInTheirOrderInBothDirections) {
  Pipeline good = pipeline(1, 1, 3, true);
  EXPECT_EQ(errorOf(good), "");
  Pipeline made = good;
  std::swap(made.orders[0][1], made.orders[0][2]);
  EXPECT_THAT(errorOf(made),
              HasSubstr("forward of micro-batch 2 comes before that of micro-batch 1"));
  made = good;
  std::swap(made.orders[1][3], made.orders[1][4]);
  EXPECT_THAT(errorOf(made),
              HasSubstr("stage 1: backward of micro-batch 1 comes before that of micro-batch 0"));
}

TEST(Pipeline, LiveMicroBatchesHaveTheirOwnSlots) {
  Pipeline made = pipeline(1, 1, 3, true);
  made.slots[0] = 2;
  EXPECT_THAT(errorOf(made),
              HasSubstr("forward of micro-batch 2: its slot still holds micro-batch 0"));
  made.slots[0] = 0;
  EXPECT_THAT(errorOf(made), HasSubstr("expected 1 to 3 slots, found 0"));
  made.slots[0] = 4;
  EXPECT_THAT(errorOf(made), HasSubstr("expected 1 to 3 slots, found 4"));
  made.slots[0] = 3;
  made.orders[0].clear();
  EXPECT_THAT(errorOf(made), HasSubstr("stage 0: expected 1 slot in a stage"));
}

TEST(Pipeline, TheLastGradientIsWaitedForInTheUpdate) {
  Pipeline made = pipeline(1, 1, 3, false);
  made.waitInUpdate = false;
  EXPECT_THAT(errorOf(made), HasSubstr("stage 1: exchange 2 is never waited for"));
}

} // namespace

} // namespace seqpar::rt::test
