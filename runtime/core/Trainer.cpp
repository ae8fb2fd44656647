//===- Trainer.cpp - the step loop ------------------------------*- C++ -*-===//

#include "seqpar/rt/Trainer.h"

#include "Memory.h"
#include "ParameterFiles.h"
#include "Report.h"
#include "RunFeeds.h"
#include "seqpar/rt/AtomicFile.h"
#include "seqpar/rt/Communicator.h"
#include "seqpar/rt/Executor.h"
#include "seqpar/rt/Schedule.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <sched.h>
#include <thread>
#include <vector>

namespace seqpar::rt {

using program::MetricKind;

namespace {

constexpr size_t kTraceEvents = 200'000; // of one rank

int availableCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

Schedule scheduleOf(const RunOptions &options) {
  Schedule schedule;
  schedule.peak = options.lr;
  schedule.minimum = options.minLr >= 0 ? options.minLr : options.lr / 100;
  schedule.warmup =
      options.warmup >= 0 ? options.warmup : std::min<int64_t>(options.steps / 10, 1000);
  schedule.decay = options.decay >= 0 ? options.decay : std::max<int64_t>(options.steps, 1);
  schedule.style = options.decayStyle == "cosine"     ? DecayStyle::Cosine
                   : options.decayStyle == "constant" ? DecayStyle::Constant
                                                      : DecayStyle::Linear;
  return schedule;
}

/// One rank. The members are destroyed last to first, after all threads have ended: until then
/// other ranks may read this one's memory.
struct Rank {
  std::unique_ptr<Device> device;
  std::unique_ptr<Communicator> communicator;
  std::unique_ptr<Executor> executor;
};

class Run {
public:
  Run(const ProgramFile &file, const RunOptions &options, const DeviceFactory &devices,
      const std::function<void(const StepRecord &)> &onStep);
  void go();

private:
  void rankMain(int rank);
  void setUp(int rank);
  void steps(int rank);
  void loadBatch(Feed &feed, int64_t step, int64_t firstSample, GlobalBatch &batch, int rank);
  std::optional<Evaluation> evaluate(int rank, const StepInputs &inputs);
  StepRecord recordOf(const Executor &executor, int64_t step, uint64_t begin) const;
  static void checkFinite(const StepRecord &record);
  void saveAfterStep(int rank, int64_t step);
  void saveAtEnd();
  std::vector<Executor *> stageExecutors() const;
  bool evaluatesAfter(int64_t step) const {
    return options.evalInterval > 0 && (step + 1) % options.evalInterval == 0;
  }
  bool checkpointAfter(int64_t step) const {
    return !options.save.empty() && options.saveInterval > 0 &&
           (step + 1) % options.saveInterval == 0 && step + 1 < options.steps;
  }

  const ProgramFile &file;
  const RunOptions &options;
  const DeviceFactory &devices;
  const std::function<void(const StepRecord &)> &onStep;
  const Schedule schedule;
  const int64_t globalBatch;
  BatchLimits limits;
  RunFeeds feeds;
  std::unique_ptr<SafetensorsFile> initial, checkpoint;
  RunPosition start;
  std::unique_ptr<Report> output;
  // Rank 0 fills the next batch while others may still read the last.
  GlobalBatch batches[2], validBatches[2];
  ThreadGroup group;
  std::vector<std::unique_ptr<Profiler>> profilers;
  std::vector<Rank> ranks;
  int reporter; ///< the first rank whose stage has the loss
};

Run::Run(const ProgramFile &file, const RunOptions &options, const DeviceFactory &devices,
         const std::function<void(const StepRecord &)> &onStep)
    : file(file), options(options), devices(devices), onStep(onStep), schedule(scheduleOf(options)),
      globalBatch(file.globalBatch()), limits(batchLimits(file)), group(file.grid()),
      ranks(static_cast<size_t>(file.grid().size())),
      reporter(file.grid().rankOf({0, file.grid().pp - 1, 0})) {
  checkMemory(file, availableMemory());
  if (!options.initFrom.empty()) {
    initial = std::make_unique<SafetensorsFile>(options.initFrom);
    checkParameterFile(file, *initial);
  }
  if (!options.load.empty()) {
    checkpoint = std::make_unique<SafetensorsFile>(findCheckpoint(options.load));
    start = checkCheckpoint(file, *checkpoint, options.seed);
  }
  if (options.steps > 0)
    feeds = createFeeds(file, options);
  size_t events = options.trace.empty() ? 0 : kTraceEvents;
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    profilers.push_back(std::make_unique<Profiler>(events));
  output = std::make_unique<Report>(options, checkpoint != nullptr);
}

void Run::go() {
  if (feeds.train)
    fmt::print("{}\n", feeds.train->describe());
  if (checkpoint)
    fmt::print("{}: goes on after step {}\n", checkpoint->path(), start.step);
  std::vector<std::thread> threads;
  try {
    for (int rank = 0; rank < file.grid().size(); ++rank)
      threads.emplace_back([this, rank] { rankMain(rank); });
  } catch (const std::exception &error) {
    group.abort(fmt::format("cannot start a thread for each of {} ranks: {}", file.grid().size(),
                            error.what()));
  }
  for (std::thread &thread : threads)
    thread.join();
  if (group.aborted())
    fail("{}", group.abortMessage());
  output->finish();
  saveAtEnd();
}

void Run::rankMain(int rank) {
  try {
    setUp(rank);
    steps(rank);
  } catch (const Aborted &) {
    // Another rank has failed first; its message is kept.
  } catch (const std::exception &error) {
    group.abort(error.what());
  }
}

void Run::setUp(int rank) {
  Rank &self = ranks[static_cast<size_t>(rank)];
  int threads = std::max(1, availableCores() / file.grid().size());
  self.device = devices(rank, options.threads ? std::min(threads, options.threads) : threads);
  self.device->loadKernels(file.program());
  self.communicator = group.communicator(rank);
  self.executor = std::make_unique<Executor>(file, *self.device, *self.communicator,
                                             profilers[static_cast<size_t>(rank)].get());
  if (checkpoint)
    loadCheckpoint(*self.executor, *checkpoint);
  else if (initial)
    loadParameters(*self.executor, *initial);
  else
    self.executor->initializeParameters(options.seed);
}

void Run::steps(int rank) {
  Rank &self = ranks[static_cast<size_t>(rank)];
  for (int64_t step = start.step; step < options.steps; ++step) {
    uint64_t begin = Profiler::now();
    GlobalBatch &batch = batches[step % 2];
    if (rank == 0)
      loadBatch(*feeds.train, step, start.samples + (step - start.step) * globalBatch, batch, rank);
    self.communicator->barrier();

    StepInputs inputs{.step = step,
                      .seed = options.seed,
                      .learningRate = static_cast<float>(schedule.rate(step)),
                      .clipNorm = static_cast<float>(options.clip),
                      .weightDecay = static_cast<float>(options.weightDecay)};
    self.executor->step(inputs, batch);

    StepRecord record = recordOf(*self.executor, step, begin);
    if (rank == reporter)
      checkFinite(record);
    saveAfterStep(rank, step);
    std::optional<Evaluation> evaluation;
    if (evaluatesAfter(step))
      evaluation = evaluate(rank, inputs);
    if (rank == reporter) {
      output->step(record, evaluation);
      if (onStep)
        onStep(record);
    }
  }
}

void Run::loadBatch(Feed &feed, int64_t step, int64_t firstSample, GlobalBatch &batch, int rank) {
  uint64_t begin = Profiler::now();
  feed.load(step, firstSample, batch);
  checkBatch(batch, limits);
  profilers[static_cast<size_t>(rank)]->add(Category::Feed, "next batch", begin, Profiler::now());
}

std::optional<Evaluation> Run::evaluate(int rank, const StepInputs &inputs) {
  Rank &self = ranks[static_cast<size_t>(rank)];
  StepInputs evaluation = inputs;
  evaluation.training = false;
  Evaluation mean;
  int64_t number = inputs.step / options.evalInterval * options.evalIters;
  for (int64_t i = 0; i < options.evalIters; ++i) {
    GlobalBatch &batch = validBatches[i % 2];
    if (rank == 0)
      loadBatch(*feeds.valid, number + i, (number + i) * globalBatch, batch, rank);
    self.communicator->barrier();
    self.executor->evaluate(evaluation, batch);
    double share = 1.0 / static_cast<double>(options.evalIters);
    mean.mlmLoss += share * self.executor->metric(MetricKind::MlmLoss);
    mean.sopLoss += share * self.executor->metric(MetricKind::SopLoss);
  }
  mean.loss = mean.mlmLoss + mean.sopLoss;
  return mean;
}

StepRecord Run::recordOf(const Executor &executor, int64_t step, uint64_t begin) const {
  StepRecord record;
  record.step = step + 1;
  record.mlmLoss = executor.metric(MetricKind::MlmLoss);
  record.sopLoss = executor.metric(MetricKind::SopLoss);
  record.loss = record.mlmLoss + record.sopLoss;
  record.gradNorm = executor.metric(MetricKind::GradientNorm);
  record.lr = schedule.rate(step);
  record.samples = globalBatch;
  record.tokens = globalBatch * limits.length;
  record.stepMs = static_cast<double>(Profiler::now() - begin) / 1e6;
  return record;
}

void Run::checkFinite(const StepRecord &record) {
  if (!std::isfinite(record.loss) || !std::isfinite(record.gradNorm))
    fail("step {}: the loss is {} (mlm {}, sop {}) and the gradient norm {}: the training has "
         "diverged; try a smaller --lr or a longer --warmup",
         record.step, record.loss, record.mlmLoss, record.sopLoss, record.gradNorm);
}

std::vector<Executor *> Run::stageExecutors() const {
  std::vector<Executor *> result;
  for (int pp = 0; pp < file.grid().pp; ++pp)
    result.push_back(ranks[static_cast<size_t>(file.grid().rankOf({0, pp, 0}))].executor.get());
  return result;
}

// Rank 0 writes; the others wait at the next step's barrier at the latest, so what it reads stays.
void Run::saveAfterStep(int rank, int64_t step) {
  bool gradients = step == start.step && !options.saveGradients.empty();
  if (!gradients && !checkpointAfter(step))
    return;
  ranks[static_cast<size_t>(rank)].communicator->barrier();
  if (rank == 0 && gradients)
    saveParameters(options.saveGradients, stageExecutors(), ParameterPart::Gradient, "grad.");
  if (rank == 0 && checkpointAfter(step))
    saveCheckpoint(options.save, stageExecutors(),
                   {step + 1, start.samples + (step + 1 - start.step) * globalBatch}, options.seed);
}

void Run::saveAtEnd() {
  if (!options.saveParameters.empty())
    saveParameters(options.saveParameters, stageExecutors(), ParameterPart::Value, "");
  int64_t end = std::max(options.steps, start.step);
  if (!options.save.empty())
    saveCheckpoint(options.save, stageExecutors(),
                   {end, start.samples + (end - start.step) * globalBatch}, options.seed);
  if (!options.profile.empty())
    writeProfile(options.profile, options.steps - start.step, profilers);
  if (!options.trace.empty())
    writeTrace(options.trace, profilers);
}

void checkOutputs(const RunOptions &options) {
  const std::pair<const char *, const std::string &> files[] = {
      {"--save-gradients", options.saveGradients},
      {"--save-parameters", options.saveParameters},
      {"--memory-report", options.memoryReport},
      {"--profile", options.profile},
      {"--trace", options.trace}};
  for (auto &[option, path] : files)
    if (!path.empty())
      checkWritable(option, path);
  if (options.save.empty())
    return;
  std::error_code error;
  std::filesystem::create_directories(options.save, error);
  if (error)
    throw UsageError(
        fmt::format("--save: {}: cannot be written: {}", options.save, error.message()));
  checkWritable("--save", options.save + "/step-000000000.safetensors");
}

} // namespace

void train(const ProgramFile &file, const RunOptions &options, const DeviceFactory &devices,
           const std::function<void(const StepRecord &)> &onStep) {
  checkRunOptions(options);
  if (options.noBinaryHead && file.program().has_sop())
    throw UsageError("--no-binary-head: the model has a sentence-order head");
  checkOutputs(options);
  if (!options.memoryReport.empty())
    writeMemoryReport(options.memoryReport, file);
  bool runs = options.steps > 0 || !options.saveParameters.empty() || !options.save.empty();
  if (!runs || options.dryRun)
    return;
  RunOptions resolved = options;
  if (options.steps > 0)
    useBundledCorpus(resolved);
  Run(file, resolved, devices, onStep).go();
}

} // namespace seqpar::rt
