//===- LossScaleTrainingTest.cpp - steps that overflow --------------------===//
//
// A model of four numbers whose gradients pass through f16, as the compiler's would. The loss is
// half of the sum of their squares, so their gradients are the numbers themselves.
//
//===----------------------------------------------------------------------===//

#include "ProgramBuilder.h"
#include "TestDevice.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/Float16.h"
#include "seqpar/rt/LossScale.h"
#include "seqpar/rt/Safetensors.h"
#include "seqpar/rt/Trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace seqpar::rt::test {

namespace {

using namespace program;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kNumbers = 4;

std::vector<uint8_t> squares(bool hasLossScale, int sp) {
  ProgramBuilder p({.sp = sp, .length = 6, .chunk = 6 / sp});
  p.parameter("w", {kNumbers}, Initializer::Ones);
  auto w = p.parameters[0];
  int loss = p.metric(MetricKind::MlmLoss), norm = p.metric(MetricKind::GradientNorm);
  using enum InputKind;
  int seed = p.input(hasLossScale ? ScaledInverseSamples : InverseSamples);
  int inverse = hasLossScale ? p.input(InverseLossScale) : p.input(InverseSamples);
  int backward = p.kernel("backward", {{Access::Scalar},
                                       {Access::Broadcast, kNumbers},
                                       {Access::Broadcast, kNumbers, DataType::F32, -1, true},
                                       {Access::Scalar, 1, DataType::F32, -1, true}});
  int update = p.kernel("update", {{Access::Scalar},
                                   {Access::Scalar},
                                   {Access::Scalar},
                                   {Access::Broadcast, kNumbers},
                                   {Access::Broadcast, kNumbers, DataType::F32, -1, true},
                                   {Access::Broadcast, kNumbers, DataType::F32, -1, true},
                                   {Access::Scalar, 1, DataType::F32, -1, true}});
  return p.finish(
      {p.launch(backward, {p.use(seed), p.use(w.value), p.use(w.gradient), p.use(loss)}, 1)},
      {p.launch(update,
                {p.use(inverse), p.use(p.input(LearningRate)), p.use(p.input(BiasCorrection1)),
                 p.use(w.gradient), p.use(w.value), p.use(w.first), p.use(norm)},
                1)});
}

/// `factor` of the gradients, between the loss and what is stored in f16.
TestKernels kernels(float factor) {
  auto f = [](void *memory) { return static_cast<float *>(memory); };
  return {{"backward",
           [=](void *const *operands, int64_t) {
             float loss = 0;
             for (int i = 0; i < kNumbers; ++i) {
               float value = f(operands[1])[i];
               f(operands[2])[i] = fromF16(toF16(*f(operands[0]) * factor * value));
               loss += value * value / 2;
             }
             *f(operands[3]) = loss;
           }},
          {"update", [=](void *const *operands, int64_t) {
             float inverse = *f(operands[0]), rate = *f(operands[1]), correction = *f(operands[2]);
             float sum = 0;
             for (int i = 0; i < kNumbers; ++i)
               sum += f(operands[3])[i] * inverse * f(operands[3])[i] * inverse;
             *f(operands[6]) = std::sqrt(sum);
             for (int i = 0; std::isfinite(sum) && i < kNumbers; ++i) {
               float &moment = f(operands[5])[i];
               moment = 0.9f * moment + 0.1f * f(operands[3])[i] * inverse;
               f(operands[4])[i] -= rate * correction * moment;
             }
           }}};
}

class LossScaleTraining : public testing::Test {
protected:
  void SetUp() override {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    options.data = "synthetic";
    options.lr = 0.125;
    options.warmup = 3;
    options.decayStyle = "constant";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::string path(const std::string &name) const { return folder + "/" + name; }

  std::vector<StepRecord> run(int64_t steps, int sp = 1, float factor = 1,
                              bool hasLossScale = true) {
    options.steps = steps;
    options.saveParameters = path("parameters");
    std::vector<StepRecord> records;
    train(
        ProgramFile::fromBytes(squares(hasLossScale, sp), "squares"), options,
        [&](int, int) { return std::make_unique<TestDevice>(kernels(factor)); },
        [&](const StepRecord &record) { records.push_back(record); });
    return records;
  }
  std::vector<float> tensor(const std::string &file, const std::string &name) const {
    SafetensorsFile opened(path(file));
    const Tensor &found = opened.get(name, "F32", std::vector<int64_t>{kNumbers});
    std::vector<float> values(kNumbers);
    std::memcpy(values.data(), found.data, found.bytes);
    return values;
  }
  std::vector<float> parameters() const { return tensor("parameters", "w"); }

  std::string folder = testing::TempDir() + "seqpar-loss-scale-test";
  RunOptions options;
};

/// A scale of 2^20 overflows until it is 2^15: once forgiven, then five halvings.
constexpr double kTooLarge = 1 << 20;
constexpr int kOverflows = 6;

TEST_F(LossScaleTraining, OverflowsLowerTheScaleAndChangeNothingElse) {
  for (int sp : {1, 3}) {
    options.lossScale = kTooLarge;
    std::vector<StepRecord> records = run(kOverflows, sp);
    ASSERT_EQ(records.size(), size_t(kOverflows));
    double scale = kTooLarge;
    for (int i = 0; i < kOverflows; ++i) {
      EXPECT_EQ(records[size_t(i)].lossScale, scale);
      EXPECT_EQ(records[size_t(i)].skipped, i + 1);
      EXPECT_EQ(records[size_t(i)].gradNorm, INFINITY);
      EXPECT_EQ(records[size_t(i)].loss, 2);
      EXPECT_EQ(records[size_t(i)].lr, 0);
      if (i > 0)
        scale /= 2;
    }
    EXPECT_THAT(parameters(), testing::Each(1.0f));
    StepRecord next = run(kOverflows + 1, sp).back();
    EXPECT_EQ(next.lossScale, 32768);
    EXPECT_EQ(next.skipped, kOverflows);
    EXPECT_EQ(next.gradNorm, 2);
  }
}

// Powers of two change no bit, so what follows is the run without an overflow: the same learning
// rates and bias corrections.
TEST_F(LossScaleTraining, TheScheduleAndTheMomentsCountTheStepsApplied) {
  options.lossScale = 1024;
  std::vector<StepRecord> plain = run(8);
  std::vector<float> expected = parameters();
  EXPECT_EQ(plain.back().skipped, 0);
  EXPECT_LT(expected[0], 0.9f);
  options.lossScale = kTooLarge;
  std::vector<StepRecord> records = run(8 + kOverflows);
  EXPECT_EQ(parameters(), expected);
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_EQ(records[i + kOverflows].lr, plain[i].lr);
    EXPECT_EQ(records[i + kOverflows].gradNorm, plain[i].gradNorm);
    EXPECT_EQ(records[i + kOverflows].loss, plain[i].loss);
  }
}

TEST_F(LossScaleTraining, ACheckpointHasTheScale) {
  options.lossScale = kTooLarge;
  std::vector<StepRecord> whole = run(10);
  std::vector<float> expected = parameters();
  for (int64_t half : {1, 4, 8}) {
    options.save = path("checkpoints");
    run(half);
    options.save.clear();
    options.load = path("checkpoints");
    options.lossScale = 2; // of no consequence: the checkpoint has one
    std::vector<StepRecord> rest = run(10);
    ASSERT_EQ(rest.size(), size_t(10 - half));
    for (size_t i = 0; i < rest.size(); ++i) {
      const StepRecord &other = whole[size_t(half) + i];
      EXPECT_EQ(rest[i].lossScale, other.lossScale);
      EXPECT_EQ(rest[i].skipped, other.skipped);
      EXPECT_EQ(rest[i].lr, other.lr);
      EXPECT_EQ(rest[i].loss, other.loss);
    }
    EXPECT_EQ(parameters(), expected);
    std::filesystem::remove_all(path("checkpoints"));
    options.load.clear();
    options.lossScale = kTooLarge;
  }
}

TEST_F(LossScaleTraining, CheckpointsGoFromOneTypeToAnother) {
  // From a program without a scale: a new one.
  options.save = path("plain");
  run(2, 1, 1, false);
  options.save.clear();
  options.load = path("plain");
  options.lossScale = 512;
  std::vector<StepRecord> records = run(3);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].lossScale, 512);
  EXPECT_EQ(records[0].skipped, 0);
  // And to one: what the steps that were skipped mean for the schedule stays.
  options.load.clear();
  options.lossScale = kTooLarge;
  options.save = path("scaled");
  run(kOverflows + 1);
  options.save.clear();
  options.load = path("scaled");
  records = run(kOverflows + 2, 1, 1, false);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].skipped, std::nullopt);
  EXPECT_EQ(records[0].lossScale, 1);
  EXPECT_EQ(records[0].lr, options.lr / 3);
}

TEST_F(LossScaleTraining, SavedGradientsAreWithoutTheScale) {
  options.lossScale = 1024;
  options.saveGradients = path("gradients");
  run(1);
  EXPECT_THAT(tensor("gradients", "grad.w"), testing::Each(1.0f));
}

TEST_F(LossScaleTraining, OverflowsThatNoScalePreventsEndTheRun) {
  options.lossScale = 4;
  try {
    run(100, 3, 1e6f);
    FAIL() << "overflows at scale 1 went on";
  } catch (const Error &error) {
    EXPECT_THAT(error.what(),
                HasSubstr("step 4: the gradients overflow though the loss scale is 1"));
  }
}

TEST_F(LossScaleTraining, TheLogTellsTheScaleAndTheStepsSkipped) {
  options.lossScale = 2 * 65536;
  options.log = path("log");
  run(4);
  std::ifstream stream(options.log);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(stream, line);)
    lines.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(lines.size(), 4u);
  std::vector<double> scales, skipped;
  for (const nlohmann::json &line : lines) {
    scales.push_back(line["loss_scale"]);
    skipped.push_back(line["skipped"]);
  }
  EXPECT_THAT(scales, ElementsAre(131072, 131072, 65536, 32768));
  EXPECT_THAT(skipped, ElementsAre(1, 2, 3, 3));
  EXPECT_TRUE(lines[0]["grad_norm"].is_null());
  EXPECT_EQ(lines[3]["grad_norm"], 2);
  EXPECT_EQ(lines[0]["loss"], 2);
}

} // namespace

} // namespace seqpar::rt::test
