#include "Agreement.h"
#include "MegatronFeed.h"
#include "Memory.h"
#include "TestPaths.h"
#include "ToyModel.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/LossScale.h"
#include "seqpar/rt/RunOptions.h"

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <numeric>

namespace seqpar::rt::test {

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Parsed {
  int status;
  std::string error; ///< what the tool prints behind "error: "
  RunOptions options;
};

Parsed parse(std::vector<std::string> arguments) {
  CLI::App app("test", "tool");
  Parsed result;
  addRunOptions(app, result.options);
  arguments.insert(arguments.begin(), "tool");
  std::vector<char *> pointers;
  for (std::string &argument : arguments)
    pointers.push_back(argument.data());
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  try {
    result.status = parseCommandLine(app, static_cast<int>(pointers.size()), pointers.data());
  } catch (const UsageError &error) {
    result.status = 2;
    result.error = error.what();
  }
  testing::internal::GetCapturedStdout();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  return result;
}

TEST(RunOptions, AreRead) {
  Parsed parsed =
      parse({"--steps=7", "--lr=2e-3", "--min-lr", "1e-4", "--decay-style=cosine", "--clip=0",
             "--loss-scale=300", "--splits=8,1,1", "--dry-run", "--seed=5", "--warmup=0"});
  EXPECT_EQ(parsed.status, -1);
  EXPECT_EQ(parsed.options.steps, 7);
  EXPECT_EQ(parsed.options.lr, 2e-3);
  EXPECT_EQ(parsed.options.minLr, 1e-4);
  EXPECT_EQ(parsed.options.decayStyle, "cosine");
  EXPECT_EQ(parsed.options.clip, 0);
  EXPECT_EQ(parsed.options.lossScale, 300);
  EXPECT_EQ(parsed.options.splits, "8,1,1");
  EXPECT_EQ(parsed.options.seed, 5u);
  EXPECT_EQ(parsed.options.warmup, 0);
  EXPECT_TRUE(parsed.options.dryRun);
  EXPECT_EQ(parse({}).options.lossScale, LossScale::kInitial);
}

TEST(RunOptions, WrongOnesAreOneLineThatNamesThem) {
  for (const char *argument :
       {"--steps=-1", "--steps=x", "--steps=", "--lr=nan", "--lr=inf", "--lr=-1", "--mask-prob=1.5",
        "--decay-style=square", "--seed=0", "--seed=4294967296", "--threads=-2", "--eval-iters=0",
        "--vocab=/missing/file", "--init-from=/missing/file", "--batch-from=/", "--loss-scale=0.5",
        "--loss-scale=16777217", "--cpu-target=x86-64-v9", "--unknown=3"}) {
    Parsed parsed = parse({argument});
    std::string name = std::string(argument).substr(0, std::string(argument).find('='));
    EXPECT_EQ(parsed.status, 2) << argument;
    EXPECT_THAT(parsed.error, AllOf(HasSubstr(name), Not(HasSubstr("\n"))));
    EXPECT_TRUE(std::islower(parsed.error[0]) || parsed.error[0] == '-') << parsed.error;
  }
}

TEST(RunOptions, HelpIsNoError) {
  Parsed parsed = parse({"--help"});
  EXPECT_EQ(parsed.status, 0);
  EXPECT_EQ(parsed.error, "");
}

TEST(Agreement, IsAboutWhatChangesNumbersAndNotAboutPaths) {
  auto words = [](auto change) {
    RunOptions options;
    change(options);
    return wordsOf(options);
  };
  std::string same = words([](RunOptions &) {});
  EXPECT_EQ(words([](RunOptions &o) { o.cacheDir = "somewhere"; }), same);
  EXPECT_THAT(same, AllOf(HasSubstr("--device=cpu "), HasSubstr("--cpu-target=best "),
                          HasSubstr("--no-binary-head=false ")));
  EXPECT_THAT(words([](RunOptions &o) { o.device = "cuda"; }), HasSubstr("--device=cuda "));
  EXPECT_THAT(words([](RunOptions &o) { o.cpuTarget = "x86-64-v3"; }),
              HasSubstr("--cpu-target=x86-64-v3 "));
  EXPECT_THAT(words([](RunOptions &o) { o.noBinaryHead = true; }),
              HasSubstr("--no-binary-head=true "));
}

TEST(Memory, ARunThatDoesNotFitIsAnError) {
  ProgramFile file = ProgramFile::fromBytes(toyProgram(toyShape(4, 12)), "toy");
  uint64_t needed = 4 * ProgramFile::memoryBytes(file.stage(0));
  auto check = [&](std::vector<RankRange> processes, uint64_t available) {
    checkMemory(file, processes, available);
  };
  EXPECT_NO_THROW(check({{0, 4}}, needed));
  EXPECT_NO_THROW(check({{2, 2}}, needed / 2));
  // Processes of one machine need its memory together.
  EXPECT_NO_THROW(check({{0, 2}, {2, 2}}, needed));
  for (const std::vector<RankRange> &processes :
       {std::vector<RankRange>{{0, 4}}, {{0, 2}, {2, 2}}, {{0, 1}, {1, 1}, {2, 1}, {3, 1}}})
    try {
      check(processes, needed - 1);
      FAIL() << "expected an error";
    } catch (const Error &error) {
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr("not enough memory: the 4 ranks on this machine need"),
                        HasSubstr("--micro-batch")));
    }
}

TEST(Memory, ParametersCountOnceInAProcessThatHasAllTheirRanks) {
  ProgramFile file = ProgramFile::fromBytes(toyProgram(toyShape(4, 12), 3, true), "toy");
  uint64_t all = 4 * ProgramFile::memoryBytes(file.stage(0));
  uint64_t parameters = ProgramFile::sharedBytes(file.stage(0));
  ASSERT_GT(parameters, 0u);
  const RankRange one[] = {{0, 4}}, two[] = {{0, 2}, {2, 2}};
  EXPECT_NO_THROW(checkMemory(file, one, all - 3 * parameters));
  EXPECT_THROW(checkMemory(file, one, all - 3 * parameters - 1), Error);
  EXPECT_NO_THROW(checkMemory(file, two, all));
  EXPECT_THROW(checkMemory(file, two, all - 1), Error);
}

TEST(Memory, TheReportSaysWhetherRanksShareTheParameters) {
  std::string path = testing::TempDir() + "seqpar-memory-report.json";
  for (int sp : {1, 3}) {
    writeMemoryReport(path, ProgramFile::fromBytes(toyProgram(toyShape(sp, 12), 3, true), "toy"));
    auto ranks = nlohmann::json::parse(std::ifstream(path))["ranks"];
    ASSERT_EQ(ranks.size(), static_cast<size_t>(sp));
    for (const auto &rank : ranks)
      EXPECT_EQ(rank["parameters_shared"], sp > 1);
  }
  std::filesystem::remove(path);
}

TEST(Memory, TheMachineHasSome) {
  EXPECT_GT(availableMemory(), uint64_t(1) << 20);
  EXPECT_LT(availableMemory(), uint64_t(1) << 60);
}

class MegatronFeedTest : public testing::Test {
protected:
  static std::shared_ptr<const data::PretrainingData> corpus() {
    std::string folder = SEQPAR_TEST_DIR "/../models/corpus/";
    data::DataOptions options;
    options.dataPath = folder + "corpus_text_sentence";
    options.vocabFile = folder + "vocab.txt";
    options.seqLength = 64;
    options.trainIters = 10;
    options.globalBatch = 4;
    options.evalInterval = 10;
    options.evalIters = 1;
    return std::make_shared<const data::PretrainingData>(options);
  }
};

TEST_F(MegatronFeedTest, GivesTheSplitsSamplesInOrder) {
  auto data = corpus();
  for (auto split : {data::Split::train, data::Split::valid}) {
    auto feed = createMegatronFeed(data, split, 4);
    GlobalBatch batch;
    data::Sample sample;
    for (int64_t step : {0, 1}) {
      feed->load(step, step * 4, batch);
      EXPECT_NO_THROW(checkBatch(batch, {4, 64, data->vocabSize(), 2}));
      int64_t predicted = 0;
      for (int64_t b = 0; b < 4; ++b) {
        data->sample(split, step * 4 + b, sample);
        auto same = [&](const std::vector<int32_t> &all, const std::vector<int32_t> &one) {
          return std::equal(one.begin(), one.end(), all.begin() + b * 64);
        };
        EXPECT_TRUE(same(batch.tokens, sample.text));
        EXPECT_TRUE(same(batch.labels, sample.labels));
        EXPECT_TRUE(same(batch.lossMask, sample.lossMask));
        EXPECT_TRUE(same(batch.paddingMask, sample.paddingMask));
        EXPECT_EQ(batch.isRandom[static_cast<size_t>(b)], sample.isRandom);
        predicted += std::accumulate(sample.lossMask.begin(), sample.lossMask.end(), int64_t(0));
      }
      EXPECT_EQ(batch.lossTokens, predicted);
    }
  }
}

TEST_F(MegatronFeedTest, StartsAnywhereAndBeginsAgainAtTheEnd) {
  auto data = corpus();
  int64_t size = data->size(data::Split::train);
  auto feed = createMegatronFeed(data, data::Split::train, 4);
  GlobalBatch batch;
  data::Sample sample;
  for (int64_t first : {int64_t(12), size - 2}) {
    feed->load(0, first, batch);
    for (int64_t b = 0; b < 4; ++b) {
      data->sample(data::Split::train, (first + b) % size, sample);
      EXPECT_TRUE(
          std::equal(sample.text.begin(), sample.text.end(), batch.tokens.begin() + b * 64));
    }
  }
}

} // namespace

} // namespace seqpar::rt::test
