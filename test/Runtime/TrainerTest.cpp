#include "TrainerTest.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <thread>
#include <utility>

namespace seqpar::rt::test {

namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

TEST_F(Trainer, TheLossFalls) {
  options.steps = 60;
  auto records = run(kShape);
  ASSERT_EQ(records.size(), 60u);
  double late = 0;
  for (size_t i = 50; i < 60; ++i)
    late += records[i].loss / 10;
  EXPECT_LT(late, 0.8 * records[0].loss);
}

TEST_F(Trainer, EveryGridLogsTheSameNumbers) {
  auto one = run(toyShape(1, 10, 1, 1, 8));
  for (const ProgramShape &shape :
       {toyShape(4, 10, 1, 1, 8), toyShape(3, 10, 2, 2, 2), toyShape(1, 10, 4, 2, 1)}) {
    auto other = run(shape);
    ASSERT_EQ(other.size(), one.size());
    for (size_t i = 0; i < one.size(); ++i) {
      EXPECT_NEAR(other[i].loss, one[i].loss, 2e-5 * one[i].loss);
      EXPECT_NEAR(other[i].gradNorm, one[i].gradNorm, 2e-5 * one[i].gradNorm);
    }
  }
}

TEST_F(Trainer, TheLogHasOneObjectAStep) {
  options.log = path("log.jsonl");
  auto records = run(kShape);
  auto lines = logLines(options.log);
  ASSERT_EQ(lines.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(lines[i]["step"], i + 1);
    EXPECT_NEAR(lines[i]["loss"].get<double>(), records[i].loss, 1e-8);
    EXPECT_NEAR(lines[i]["mlm_loss"].get<double>(), records[i].mlmLoss, 1e-8);
    EXPECT_EQ(lines[i]["sop_loss"], 0);
    EXPECT_NEAR(lines[i]["grad_norm"].get<double>(), records[i].gradNorm, 1e-8);
    EXPECT_EQ(lines[i]["loss_scale"], 1);
    EXPECT_EQ(lines[i]["samples"], 4);
    EXPECT_EQ(lines[i]["tokens"], 40);
    EXPECT_GT(lines[i]["step_ms"].get<double>(), 0);
  }
  EXPECT_EQ(lines[0]["lr"], 0);
  EXPECT_EQ(lines[1]["lr"], 0.05);
}

TEST_F(Trainer, SavesGradientsOfTheFirstStepAndParametersOfTheLast) {
  options.saveGradients = path("g.safetensors");
  options.saveParameters = path("p.safetensors");
  auto records = run(kShape);
  double square = 0;
  for (float value : tensor(path("g.safetensors"), "grad.table"))
    square += double(value) * value;
  EXPECT_NEAR(std::sqrt(square), records[0].gradNorm, 1e-5 * records[0].gradNorm);
  SafetensorsFile saved(path("p.safetensors"));
  EXPECT_EQ(saved.tensors().size(), 1u);
  EXPECT_EQ(saved.metadata().at("format"), "pt");
  // Those parameters are where a run that starts from them goes on.
  options.saveGradients.clear();
  options.initFrom = path("p.safetensors");
  options.saveParameters = path("q.safetensors");
  options.steps = 0;
  run(kShape);
  EXPECT_EQ(tensor(path("q.safetensors"), "table"), tensor(path("p.safetensors"), "table"));
}

TEST_F(Trainer, AResumedRunGoesOnBitByBit) {
  options.steps = 6;
  options.decay = 6;
  options.saveParameters = path("whole.safetensors");
  auto whole = run(kShape);
  options.saveParameters.clear();
  options.steps = 3;
  options.save = path("checkpoints");
  options.log = path("log.jsonl");
  run(kShape);
  options.steps = 6;
  options.load = path("checkpoints");
  options.saveParameters = path("resumed.safetensors");
  auto rest = run(kShape);
  ASSERT_EQ(rest.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(rest[i].step, whole[i + 3].step);
    EXPECT_EQ(rest[i].loss, whole[i + 3].loss);
    EXPECT_EQ(rest[i].lr, whole[i + 3].lr);
  }
  EXPECT_EQ(contents("resumed.safetensors"), contents("whole.safetensors"));
  EXPECT_EQ(logLines(options.log).size(), 6u);
  EXPECT_TRUE(fs::exists(path("checkpoints/step-000000006.safetensors")));
}

TEST_F(Trainer, ACheckpointFitsAnotherGrid) {
  options.steps = 2;
  options.decay = 4;
  options.save = path("checkpoints");
  run(toyShape(4, 10, 1, 1, 4));
  options.steps = 4;
  options.load = options.save;
  auto other = run(toyShape(1, 10, 2, 2, 1));
  options.load = path("checkpoints/step-000000002.safetensors");
  auto same = run(toyShape(4, 10, 1, 1, 4));
  ASSERT_EQ(other.size(), 2u);
  for (size_t i = 0; i < 2; ++i)
    EXPECT_NEAR(other[i].loss, same[i].loss, 2e-5 * same[i].loss);
}

TEST_F(Trainer, CheckpointsAreCheckedAgainstTheRun) {
  options.save = path("checkpoints");
  options.saveInterval = 2;
  run(kShape);
  EXPECT_TRUE(fs::exists(path("checkpoints/step-000000002.safetensors")));
  EXPECT_TRUE(fs::exists(path("checkpoints/step-000000004.safetensors")));
  options.save.clear();
  options.load = path("checkpoints");
  options.seed = 99;
  EXPECT_THAT(errorOf(kShape), HasSubstr("it was made with --seed=1234, this run has 99"));
  fs::create_directories(path("none"));
  options.load = path("none");
  EXPECT_THAT(errorOf(kShape), HasSubstr("there is no checkpoint"));
}

TEST_F(Trainer, CheckpointsAreCheckedByVersionAndNames) {
  auto write = [&](std::map<std::string, std::string> metadata, const std::string &extra) {
    metadata.insert({{"step", "1"}, {"samples", "4"}, {"seed", "1234"}});
    auto fill = [](std::span<uint8_t> to) { std::memset(to.data(), 0, to.size()); };
    std::vector<TensorToWrite> tensors;
    for (const char *prefix : {"param.", "moment1.", "moment2."})
      tensors.push_back({prefix + std::string("table"), "F32", {16, 8}, 512, fill});
    if (!extra.empty())
      tensors.push_back({extra, "F32", {16, 8}, 512, fill});
    writeSafetensors(path("c.safetensors"), tensors, metadata);
  };
  options.load = path("c.safetensors");
  write({{"seqpar_checkpoint", "1"}}, "");
  EXPECT_EQ(errorOf(kShape), "");
  write({}, "");
  EXPECT_THAT(errorOf(kShape),
              HasSubstr("not a checkpoint: its metadata has no seqpar_checkpoint"));
  write({{"seqpar_checkpoint", "2"}}, "");
  EXPECT_THAT(errorOf(kShape), HasSubstr("expected a checkpoint of version 1, found 2"));
  write({{"seqpar_checkpoint", "1"}, {"step", "1e5"}}, "");
  EXPECT_THAT(errorOf(kShape), HasSubstr("expected a number from 0 for step in its metadata, found "
                                         "'1e5'"));
  write({{"seqpar_checkpoint", "1"}}, "moment3.table");
  EXPECT_THAT(errorOf(kShape), HasSubstr("tensor moment3.table: expected a name that begins with "
                                         "param., moment1., moment2."));
  write({{"seqpar_checkpoint", "1"}}, "moment1.lost");
  EXPECT_THAT(errorOf(kShape), HasSubstr("tensor moment1.lost is of no parameter of the model"));
}

TEST_F(Trainer, InitialParametersAreCheckedByName) {
  auto write = [&](const std::string &name, std::vector<int64_t> shape,
                   const char *extra = nullptr) {
    size_t bytes = 4;
    for (int64_t extent : shape)
      bytes *= static_cast<size_t>(extent);
    auto fill = [](std::span<uint8_t> to) { std::memset(to.data(), 0, to.size()); };
    std::vector<TensorToWrite> tensors = {{name, "F32", shape, bytes, fill},
                                          {"batch.0.tokens", "F32", {1}, 4, fill}};
    if (extra)
      tensors.push_back({extra, "F32", {1}, 4, fill});
    writeSafetensors(path("i.safetensors"), tensors);
  };
  options.initFrom = path("i.safetensors");
  write("table", {16, 8});
  EXPECT_EQ(errorOf(kShape), "");
  write("param.table", {16, 8});
  EXPECT_EQ(errorOf(kShape), "");
  write("other", {16, 8});
  EXPECT_THAT(errorOf(kShape), HasSubstr("tensor table is missing"));
  write("table", {8, 16});
  EXPECT_THAT(errorOf(kShape), HasSubstr("tensor table has shape [8, 16], expected [16, 8]"));
  write("table", {16, 8}, "param.lost");
  EXPECT_THAT(errorOf(kShape), HasSubstr("tensor lost is no parameter of the model"));
  write("table", {16, 8}, "cls.predictions.decoder.weight");
  EXPECT_THAT(errorOf(kShape), HasSubstr("cls.predictions.decoder.weight"));
}

TEST_F(Trainer, EvaluationChangesNothing) {
  auto plain = run(kShape);
  options.evalInterval = 2;
  options.evalIters = 3;
  options.log = path("log.jsonl");
  auto evaluated = run(kShape);
  for (size_t i = 0; i < plain.size(); ++i)
    EXPECT_EQ(plain[i].loss, evaluated[i].loss);
  auto lines = logLines(options.log);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_FALSE(lines[0].contains("valid_loss"));
  EXPECT_NEAR(lines[1]["valid_loss"].get<double>(), plain[1].loss, 1.0);
  EXPECT_NE(lines[1]["valid_loss"], lines[3]["valid_loss"]);
}

TEST_F(Trainer, ALossThatIsNoNumberEndsTheRun) {
  TestKernels kernels = toyKernels();
  auto good = kernels["cross_entropy"];
  int calls = 0;
  kernels["cross_entropy"] = [&](void *const *operands, int64_t rows) {
    good(operands, rows);
    if (++calls > 3)
      *static_cast<float *>(operands[3]) = NAN;
  };
  options.log = path("log.jsonl");
  EXPECT_THAT(errorOf(toyShape(1, 10, 1, 1, 4), kernels),
              AllOf(HasSubstr("the loss is nan"), HasSubstr("diverged")));
  for (const auto &line : logLines(options.log))
    EXPECT_TRUE(line["loss"].is_number());
}

TEST_F(Trainer, AFailingRankLeavesNoOutput) {
  TestKernels kernels = toyKernels();
  std::atomic<int> calls = 0;
  kernels["embed"] = [&](void *const *, int64_t) {
    if (++calls == 9)
      throw std::runtime_error("broken");
  };
  options.saveParameters = path("p.safetensors");
  options.save = path("checkpoints");
  EXPECT_THAT(errorOf(kShape, kernels), AllOf(HasSubstr("rank "), HasSubstr("toy.embed: broken")));
  EXPECT_FALSE(fs::exists(path("p.safetensors")));
  EXPECT_FALSE(fs::exists(path("checkpoints")));
}

TEST_F(Trainer, ARankThatHangsIsNamed) {
  TestKernels kernels = toyKernels();
  std::atomic<int> calls = 0;
  kernels["embed"] = [&](void *const *, int64_t) {
    if (++calls == 9)
      std::this_thread::sleep_for(std::chrono::seconds(2));
  };
  options.timeout = 0.3;
  EXPECT_THAT(
      errorOf(kShape, kernels),
      AllOf(HasSubstr("rank "), HasSubstr("waited 0.3 s in vain for "), HasSubstr("--timeout")));
}

/// Tells when its rank has taken back what it has asked for.
class Watched final : public Communicator {
public:
  Watched(std::unique_ptr<Communicator> host, bool &cancelled)
      : Communicator(host->grid(), host->rank()), host(std::move(host)), cancelled(cancelled) {}

  Request send(const void *data, size_t bytes, int to, int tag, Traffic traffic) override {
    return host->send(data, bytes, to, tag, traffic);
  }
  Request receive(void *data, size_t bytes, int from, int tag) override {
    return host->receive(data, bytes, from, tag);
  }
  void wait(Request request) override { host->wait(request); }
  void allReduce(void *buffer, size_t elements, ElementType type, int axes) override {
    host->allReduce(buffer, elements, type, axes);
  }
  void allGather(const void *send, void *receive, size_t outer, size_t inner, ElementType type,
                 int axes) override {
    host->allGather(send, receive, outer, inner, type, axes);
  }
  void reduceScatter(const void *send, void *receive, size_t outer, size_t inner, ElementType type,
                     int axes) override {
    host->reduceScatter(send, receive, outer, inner, type, axes);
  }
  Request startAllReduce(void *buffer, size_t elements, ElementType type, int axes) override {
    return host->startAllReduce(buffer, elements, type, axes);
  }
  Request startReduceScatter(const void *send, void *receive, size_t outer, size_t inner,
                             ElementType type, int axes) override {
    return host->startReduceScatter(send, receive, outer, inner, type, axes);
  }
  void barrier() override { host->barrier(); }
  void localBarrier() override { host->localBarrier(); }
  bool sharesMemory(int axes) const override { return host->sharesMemory(axes); }
  void abort(const std::string &message) override { host->abort(message); }
  void cancel() override {
    host->cancel();
    cancelled = true;
  }

private:
  std::unique_ptr<Communicator> host;
  bool &cancelled;
};

/// Counts what is freed while an exchange may still write into it.
class WatchedDevice final : public TestDevice {
public:
  WatchedDevice(TestKernels kernels, int &freedTooEarly)
      : TestDevice(std::move(kernels)), freedTooEarly(freedTooEarly) {}
  void release(void *memory) override {
    freedTooEarly += !cancelled;
    TestDevice::release(memory);
  }
  std::unique_ptr<Communicator> exchange(std::unique_ptr<Communicator> host) override {
    return std::make_unique<Watched>(std::move(host), cancelled);
  }

private:
  bool cancelled = false;
  int &freedTooEarly;
};

TEST_F(Trainer, RanksTakeBackTheirExchangesBeforeAFailedRunsMemoryIsFreed) {
  TestKernels kernels = toyKernels();
  std::atomic<int> calls = 0;
  kernels["embed"] = [&](void *const *, int64_t) {
    if (++calls == 9)
      throw std::runtime_error("broken");
  };
  int freedTooEarly = 0;
  auto factory = [&](int, int) { return std::make_unique<WatchedDevice>(kernels, freedTooEarly); };
  EXPECT_THROW(train(program(kShape), options, factory), Error);
  EXPECT_GE(calls, 9);
  EXPECT_EQ(freedTooEarly, 0);
}

TEST_F(Trainer, ADeviceThatCannotBeMadeEndsAll) {
  auto factory = [](int rank, int) -> std::unique_ptr<Device> {
    if (rank == 1)
      fail("rank 1 has no device");
    return std::make_unique<TestDevice>(toyKernels());
  };
  try {
    train(program(kShape), options, factory);
    FAIL() << "expected an error";
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "rank 1 has no device");
  }
}

TEST_F(Trainer, ReportsMemoryTimeAndTrace) {
  options.memoryReport = path("memory.json");
  options.profile = path("profile.json");
  options.trace = path("trace.json");
  run(kShape);
  auto memory = nlohmann::json::parse(contents("memory.json"))["ranks"];
  ProgramFile file = program(kShape);
  ASSERT_EQ(memory.size(), 3u);
  EXPECT_EQ(memory[2]["arena_bytes"], file.stage(0).arena_bytes());
  EXPECT_EQ(memory[2]["total_bytes"], ProgramFile::memoryBytes(file.stage(0)));
  auto profile = nlohmann::json::parse(contents("profile.json"));
  EXPECT_EQ(profile["steps"], 4);
  EXPECT_GT(profile["ranks"][1]["attention_ms"].get<double>(), 0);
  EXPECT_GT(profile["ranks"][0]["feed_ms"].get<double>(), 0);
  EXPECT_GT(profile["ranks"][2]["ring_shift_bytes"].get<uint64_t>(), 0u);
  EXPECT_EQ(profile["ranks"][2]["all_gather_bytes"], 0);
  // Of each step the gradient and the loss, and nothing of the set-up.
  EXPECT_EQ(profile["ranks"][2]["all_reduce_bytes"], 4 * (16 * kToyWidth * 4 + 4));
  auto events = nlohmann::json::parse(contents("trace.json"))["traceEvents"];
  int attention = 0;
  for (const auto &event : events)
    attention += event["name"] == "toy.attention" && event["pid"] == 1 && event["tid"] == 0;
  EXPECT_EQ(attention, 4 * 3);
}

TEST_F(Trainer, ACheckpointBehindTheLastStepLeavesNothingToReport) {
  options.save = path("checkpoints");
  run(kShape);
  options.load = std::exchange(options.save, "");
  options.steps = 2;
  options.profile = path("profile.json");
  EXPECT_TRUE(run(kShape).empty());
  EXPECT_EQ(nlohmann::json::parse(contents("profile.json"))["steps"], 0);
  options.saveGradients = path("g.safetensors");
  for (int64_t steps : {2, 4}) {
    options.steps = steps;
    EXPECT_THAT(errorOf(kShape),
                AllOf(HasSubstr("--save-gradients: "), HasSubstr("is of step 4"),
                      HasSubstr(fmt::format("--steps={} leaves none to run", steps))));
  }
}

TEST_F(Trainer, WithoutDataItTakesTheBundledCorpus) {
  options.data.clear();
  EXPECT_THAT(errorOf(kShape), AllOf(HasSubstr("models/corpus/vocab.txt has 30524 ids"),
                                     HasSubstr("the model's vocabulary only 16")));
}

TEST_F(Trainer, ImpossibleOptionsAreUsageErrors) {
  auto usage = [&](auto change) {
    RunOptions changed = options;
    change(changed);
    try {
      checkRunOptions(changed);
    } catch (const UsageError &error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(usage([](RunOptions &) {}), "");
  EXPECT_THAT(usage([](RunOptions &o) { o.minLr = 1; }), HasSubstr("--min-lr"));
  EXPECT_THAT(usage([](RunOptions &o) { o.batchFrom = "b"; }), HasSubstr("--batch-from"));
  EXPECT_THAT(usage([](RunOptions &o) { o.data = "prefix"; }), HasSubstr("--vocab"));
  for (auto [name, member] : {std::pair("--save-gradients", &RunOptions::saveGradients),
                              {"--log", &RunOptions::log},
                              {"--tensorboard", &RunOptions::tensorboard},
                              {"--profile", &RunOptions::profile},
                              {"--trace", &RunOptions::trace}}) {
    auto change = [member = member](RunOptions &o) { o.*member = "x"; };
    EXPECT_EQ(usage(change), "");
    EXPECT_EQ(usage([&](RunOptions &o) {
                change(o);
                o.steps = 0;
              }),
              fmt::format("{}: needs at least one step", name));
  }
  EXPECT_THAT(usage([](RunOptions &o) {
                o.initFrom = "i";
                o.load = "l";
              }),
              HasSubstr("--init-from"));
  options.saveParameters = path("missing/p.safetensors");
  EXPECT_THAT(errorOf(kShape),
              AllOf(HasSubstr("--save-parameters: "), HasSubstr("cannot be written")));
}

} // namespace

} // namespace seqpar::rt::test
