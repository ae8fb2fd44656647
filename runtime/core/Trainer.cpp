//===- Trainer.cpp - the step loop ------------------------------*- C++ -*-===//

#include "seqpar/rt/Trainer.h"

#include "Agreement.h"
#include "Memory.h"
#include "ParameterFiles.h"
#include "RankMessages.h"
#include "Report.h"
#include "RunInputs.h"
#include "RunOutputs.h"
#include "seqpar/rt/Communicator.h"
#include "seqpar/rt/Executor.h"
#include "seqpar/rt/LossScale.h"
#include "seqpar/rt/Processes.h"
#include "seqpar/rt/Schedule.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <sched.h>
#include <thread>
#include <vector>

namespace seqpar::rt {

using program::MetricKind;

namespace {

// After a failure, for all ranks of the process to come to their end.
constexpr auto kTimeToEnd = std::chrono::seconds(6);
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
  std::unique_ptr<Profiler> profiler;
  std::unique_ptr<Device> device;
  std::unique_ptr<Communicator> communicator;
  std::unique_ptr<Executor> executor;
  // Of a program with a loss scale; the same on all ranks, which have the same gradient norm.
  LossScale lossScale;
  int64_t skipped = 0; // steps, by overflows

  int number() const { return communicator->rank(); }
};

class Run {
public:
  Run(const ProgramFile &file, const RunOptions &options, const DeviceFactory &devices,
      const std::function<void(const StepRecord &)> &onStep, Processes *processes);
  /// Finds out what would fail before the first step or in its batch; makes nothing.
  void rehearse();
  void go();

private:
  void checkMemory();
  void describe() const;
  void waitForRanks(size_t started);
  void rankMain(Rank &self);
  void setUp(Rank &self);
  void steps(Rank &self);
  void loadBatch(Feed &feed, int64_t number, int64_t firstSample, GlobalBatch &batch);
  const GlobalBatch &nextBatch(Rank &self, Feed &feed, GlobalBatch (&batches)[2], int64_t number,
                               int64_t firstSample);
  Evaluation evaluate(Rank &self, const StepInputs &inputs);
  StepRecord recordOf(const Rank &self, int64_t step, uint64_t begin) const;
  void checkFinite(const StepRecord &record, const LossScale &lossScale) const;
  bool overflowed(const StepRecord &record) const;
  void report(Rank &self, LoggedStep logged);
  void saveAfterStep(Rank &self, const StepInputs &inputs);
  void finish(Rank &self);
  void saveCheckpointAfter(Rank &self, int64_t steps);
  bool evaluatesAfter(int64_t step) const {
    return options.evalInterval > 0 && (step + 1) % options.evalInterval == 0;
  }
  bool checkpointAfter(int64_t step) const {
    return !options.save.empty() && options.saveInterval > 0 &&
           (step + 1) % options.saveInterval == 0 && step + 1 < options.steps;
  }
  RunPosition positionOf(const Rank &self, int64_t steps) const {
    RunPosition position{.step = steps, .samples = samplesBefore(steps), .skipped = self.skipped};
    if (file.hasLossScale())
      position.lossScale = self.lossScale;
    return position;
  }
  int64_t samplesBefore(int64_t step) const {
    return opened.start.samples + (step - opened.start.step) * globalBatch;
  }

  const ProgramFile &file;
  const RunOptions &options;
  const DeviceFactory &devices;
  const std::function<void(const StepRecord &)> &onStep;
  Processes *processes; ///< null: this one is alone
  const Schedule schedule;
  const int64_t globalBatch;
  BatchLimits limits;
  RunInputs opened;
  std::unique_ptr<Report> output; // of rank 0
  // One rank fills the next batch while others may still read the last.
  GlobalBatch trainBatches[2], validBatches[2];
  ThreadGroup group;
  std::vector<Rank> ranks; // of this process
  int lossRank;            // the first rank whose stage has the loss
  std::mutex mutex;        // of the number
  size_t endedRanks = 0;
  std::condition_variable rankEnded;
};

Run::Run(const ProgramFile &file, const RunOptions &options, const DeviceFactory &devices,
         const std::function<void(const StepRecord &)> &onStep, Processes *processes)
    : file(file), options(options), devices(devices), onStep(onStep), processes(processes),
      schedule(scheduleOf(options)), globalBatch(file.globalBatch()), limits(batchLimits(file)),
      group(file.grid(), processes), ranks(static_cast<size_t>(group.localRanks())),
      lossRank(file.grid().rankOf({0, file.grid().pp - 1, 0})) {
  checkMemory();
  opened = openInputs(file, options, processes);
}

// No process allocates before all have looked at what is free.
void Run::checkMemory() {
  const int count = group.localRanks(); // the same in all processes
  std::vector<RankRange> here;
  int before = 0;
  for (int process : processes ? processes->onThisMachine() : std::vector{0}) {
    here.push_back({process * count, count});
    before += process * count < group.firstRank() ? count : 0;
  }
  if (devices.place)
    devices.place(file, group.firstRank(), count, before);
  else
    rt::checkMemory(file, here, availableMemory());
  if (processes)
    processes->agree("the memory's being enough", "");
}

void Run::describe() const {
  if (opened.feeds.train)
    fmt::print("{}\n", opened.feeds.train->describe());
  if (opened.checkpoint)
    fmt::print("{}: goes on after step {}\n", opened.checkpoint->path(), opened.start.step);
}

void Run::rehearse() {
  describe();
  devices(group.firstRank(), 1)->loadKernels(file.program());
  // A file of batches is there as a whole; other data is looked at as it is needed.
  int64_t first = opened.start.step;
  int64_t last = options.batchFrom.empty() ? std::min(first + 1, options.steps) : options.steps;
  for (int64_t step = first; step < last; ++step)
    loadBatch(*opened.feeds.train, step, samplesBefore(step), trainBatches[0]);
  if (opened.feeds.valid)
    loadBatch(*opened.feeds.valid, 0, 0, validBatches[0]);
}

void Run::go() {
  describe();
  for (size_t i = 0; i < ranks.size(); ++i) {
    ranks[i].profiler = std::make_unique<Profiler>(options.trace.empty() ? 0 : kTraceEvents);
    ranks[i].communicator = group.communicator(group.firstRank() + static_cast<int>(i));
    ranks[i].communicator->setTimeout(options.timeout);
    ranks[i].lossScale = opened.start.lossScale.value_or(LossScale{.scale = options.lossScale});
    ranks[i].skipped = opened.start.skipped;
  }
  if (group.firstRank() == 0)
    output = std::make_unique<Report>(options, opened.checkpoint != nullptr,
                                      processes && processes->count() > 1);
  std::vector<std::thread> threads;
  try {
    for (Rank &rank : ranks)
      threads.emplace_back([this, &rank] { rankMain(rank); });
  } catch (const std::exception &error) {
    group.abort(
        fmt::format("cannot start a thread for each of {} ranks: {}", ranks.size(), error.what()));
  }
  waitForRanks(threads.size());
  for (std::thread &thread : threads)
    thread.join();
  if (group.aborted())
    fail("{}", group.abortMessage());
}

// A rank that does not come back after a failure, from a kernel that hangs or a file that is not
// read, ends with its process.
void Run::waitForRanks(size_t started) {
  std::unique_lock lock(mutex);
  auto failed = std::chrono::steady_clock::time_point::max();
  while (endedRanks < started) {
    rankEnded.wait_for(lock, std::chrono::milliseconds(500));
    auto now = std::chrono::steady_clock::now();
    if (group.aborted() && processes)
      failed = std::min(failed, now);
    if (failed < now && now - failed > kTimeToEnd)
      processes->end(group.abortMessage(), 1);
  }
}

void Run::rankMain(Rank &self) {
  try {
    setUp(self);
    steps(self);
    finish(self);
  } catch (const Aborted &) {
    // Another rank has failed first; its message is kept.
  } catch (const std::exception &error) {
    group.abort(error.what());
  }
  // What the rank has asked for may still be written into memory that is freed when all have ended.
  if (group.aborted() && self.communicator)
    self.communicator->cancel();
  std::lock_guard lock(mutex);
  ++endedRanks;
  rankEnded.notify_all();
}

void Run::setUp(Rank &self) {
  int sharing = group.localRanks() * (processes ? processes->sharingCores() : 1);
  int threads = std::max(1, availableCores() / sharing);
  self.device =
      devices(self.number(), options.threads ? std::min(threads, options.threads) : threads);
  self.communicator = self.device->exchange(std::move(self.communicator));
  NoTimeout patient(*self.communicator); // others may be reading files
  self.device->loadKernels(file.program());
  self.executor =
      std::make_unique<Executor>(file, *self.device, *self.communicator, self.profiler.get());
  if (opened.checkpoint)
    loadCheckpoint(*self.executor, *opened.checkpoint);
  else if (opened.initial)
    loadParameters(*self.executor, *opened.initial);
  else
    self.executor->initializeParameters(options.seed);
  self.communicator->barrier();
  self.communicator->forgetBytesSent(); // the profile is of the steps
}

void Run::steps(Rank &self) {
  for (int64_t step = opened.start.step; step < options.steps; ++step) {
    uint64_t begin = Profiler::now();
    const GlobalBatch &batch =
        nextBatch(self, *opened.feeds.train, trainBatches, step, samplesBefore(step));

    StepInputs inputs{.step = step,
                      .skipped = self.skipped,
                      .seed = options.seed,
                      .learningRate = static_cast<float>(schedule.rate(step - self.skipped)),
                      .clipNorm = static_cast<float>(options.clip),
                      .weightDecay = static_cast<float>(options.weightDecay),
                      .lossScale = self.lossScale.scale};
    self.executor->step(inputs, batch);

    LoggedStep logged{recordOf(self, step, begin), {}, false};
    if (self.number() == lossRank)
      checkFinite(logged.record, self.lossScale);
    if (file.hasLossScale()) {
      bool finite = !overflowed(logged.record);
      self.skipped += !finite;
      self.lossScale.update(finite);
      logged.record.skipped = self.skipped;
    }
    saveAfterStep(self, inputs);
    if (evaluatesAfter(step)) {
      logged.evaluation = evaluate(self, inputs);
      logged.evaluated = true;
    }
    report(self, logged);
  }
}

void Run::loadBatch(Feed &feed, int64_t number, int64_t firstSample, GlobalBatch &batch) {
  feed.load(number, firstSample, batch);
  checkBatch(batch, limits);
  if (processes && processes->count() > 1)
    processes->claim(fmt::format("the {} batch of step {}",
                                 &feed == opened.feeds.train.get() ? "training" : "validation",
                                 number + 1),
                     wordsOf(batch));
}

// The first rank of each process loads; all of them wait for it.
const GlobalBatch &Run::nextBatch(Rank &self, Feed &feed, GlobalBatch (&batches)[2], int64_t number,
                                  int64_t firstSample) {
  GlobalBatch &batch = batches[number % 2];
  uint64_t begin = Profiler::now();
  if (self.number() == group.firstRank()) {
    loadBatch(feed, number, firstSample, batch);
    self.profiler->add(Category::Feed, "next batch", begin, Profiler::now());
  }
  self.communicator->localBarrier();
  return batch;
}

Evaluation Run::evaluate(Rank &self, const StepInputs &inputs) {
  StepInputs evaluation = inputs;
  evaluation.training = false;
  Evaluation mean;
  int64_t number = inputs.step / options.evalInterval * options.evalIters;
  for (int64_t i = 0; i < options.evalIters; ++i) {
    const GlobalBatch &batch =
        nextBatch(self, *opened.feeds.valid, validBatches, number + i, (number + i) * globalBatch);
    self.executor->evaluate(evaluation, batch);
    double share = 1.0 / static_cast<double>(options.evalIters);
    mean.mlmLoss += share * self.executor->metric(MetricKind::MlmLoss);
    mean.sopLoss += share * self.executor->metric(MetricKind::SopLoss);
  }
  mean.loss = mean.mlmLoss + mean.sopLoss;
  return mean;
}

StepRecord Run::recordOf(const Rank &self, int64_t step, uint64_t begin) const {
  const Executor &executor = *self.executor;
  StepRecord record;
  record.step = step + 1;
  record.mlmLoss = executor.metric(MetricKind::MlmLoss);
  record.sopLoss = executor.metric(MetricKind::SopLoss);
  record.loss = record.mlmLoss + record.sopLoss;
  record.gradNorm = executor.metric(MetricKind::GradientNorm);
  record.lr = schedule.rate(step - self.skipped);
  if (file.hasLossScale())
    record.lossScale = self.lossScale.scale;
  record.samples = globalBatch;
  record.tokens = globalBatch * limits.length;
  record.stepMs = static_cast<double>(Profiler::now() - begin) / 1e6;
  return record;
}

// As the update has decided, which has the norm in fp32.
bool Run::overflowed(const StepRecord &record) const {
  return file.hasLossScale() &&
         !(static_cast<float>(record.gradNorm) < std::numeric_limits<float>::max());
}

void Run::checkFinite(const StepRecord &record, const LossScale &lossScale) const {
  if (overflowed(record)) {
    if (lossScale.exhausted())
      fail(
          "step {}: the gradients overflow though the loss scale is {:.9g} (loss {}): the training "
          "has diverged; try a smaller --lr or a longer --warmup, or --dtype=bf16",
          record.step, lossScale.scale, record.loss);
    return;
  }
  if (!std::isfinite(record.loss) || !std::isfinite(record.gradNorm))
    fail("step {}: the loss is {} (mlm {}, sop {}) and the gradient norm {}: the training has "
         "diverged; try a smaller --lr or a longer --warmup",
         record.step, record.loss, record.mlmLoss, record.sopLoss, record.gradNorm);
}

// The rank that knows the loss tells rank 0, which reports.
void Run::report(Rank &self, LoggedStep logged) {
  if (lossRank != 0) {
    Communicator &communicator = *self.communicator;
    if (self.number() == lossRank)
      communicator.wait(
          communicator.send(&logged, sizeof(logged), 0, kRecordTag, Traffic::PointToPoint));
    if (self.number() == 0)
      communicator.wait(communicator.receive(&logged, sizeof(logged), lossRank, kRecordTag));
  }
  if (self.number() != 0)
    return;
  output->step(logged);
  if (onStep)
    onStep(logged.record);
}

void Run::saveAfterStep(Rank &self, const StepInputs &inputs) {
  if (inputs.step == opened.start.step && !options.saveGradients.empty()) {
    double scale = file.hasLossScale() ? inputs.lossScale : 1;
    saveParameters(options.saveGradients, file, *self.executor, *self.communicator,
                   ParameterPart::Gradient, "grad.", static_cast<float>(1 / scale));
  }
  if (checkpointAfter(inputs.step))
    saveCheckpointAfter(self, inputs.step + 1);
}

void Run::saveCheckpointAfter(Rank &self, int64_t steps) {
  saveCheckpoint(options.save, file, *self.executor, *self.communicator, positionOf(self, steps),
                 options.seed);
}

void Run::finish(Rank &self) {
  if (self.number() == 0)
    output->finish();
  if (!options.saveParameters.empty())
    saveParameters(options.saveParameters, file, *self.executor, *self.communicator,
                   ParameterPart::Value, "");
  if (!options.save.empty())
    saveCheckpointAfter(self, std::max(options.steps, opened.start.step));
  if (!options.profile.empty())
    writeProfile(options.profile, std::max<int64_t>(0, options.steps - opened.start.step),
                 *self.profiler, *self.communicator);
  if (!options.trace.empty())
    writeTrace(options.trace, *self.profiler, *self.communicator);
}

// Before anything is shared: ranks of different programs would wait for each other for ever.
void checkProcesses(const ProgramFile &file, const RunOptions &options, Processes &processes) {
  processes.setTimeout(options.timeout);
  processes.agree("the program", wordsOf(file));
  processes.agree("the options", wordsOf(options));
  int ranks = file.grid().size(), count = processes.count();
  if (ranks % count == 0)
    return;
  std::string possible;
  for (int n = 1; n <= ranks; ++n)
    if (ranks % n == 0)
      possible += fmt::format("{}{}", n == 1 ? "" : ", ", n);
  throw UsageError(fmt::format("--dp={} --pp={} --sp={}: {} ranks cannot be divided among {} "
                               "processes; possible: {}",
                               file.grid().dp, file.grid().pp, file.grid().sp, ranks, count,
                               possible));
}

} // namespace

void train(const ProgramFile &file, const RunOptions &options, const DeviceFactory &devices,
           const std::function<void(const StepRecord &)> &onStep, Processes *processes) {
  checkRunOptions(options);
  if (options.noBinaryHead && file.program().has_sop())
    throw UsageError("--no-binary-head: the model has a sentence-order head");
  if (processes && processes->count() > 1)
    checkProcesses(file, options, *processes);
  if (!processes || processes->isFirst()) {
    checkOutputs(options);
    if (!options.memoryReport.empty())
      writeMemoryReport(options.memoryReport, file);
  }
  bool runs = options.steps > 0 || !options.saveParameters.empty() || !options.save.empty();
  if (!runs)
    return;
  RunOptions resolved = options;
  if (options.steps > 0)
    useBundledCorpus(resolved);
  Run run(file, resolved, devices, onStep, processes);
  options.dryRun ? run.rehearse() : run.go();
}

} // namespace seqpar::rt
