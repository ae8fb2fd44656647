#include "Report.h"

#include "RankMessages.h"
#include "seqpar/rt/AtomicFile.h"
#include "seqpar/rt/Error.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <iterator>
#include <unistd.h>

namespace seqpar::rt {

Report::Report(const RunOptions &options, bool append, bool plain) : options(options) {
  terminal = !plain && isatty(STDOUT_FILENO);
  interval = options.logInterval ? options.logInterval : std::max<int64_t>(1, options.steps / 50);
  if (!options.tensorboard.empty())
    events.emplace(options.tensorboard);
  if (options.log.empty())
    return;
  log = std::fopen(options.log.c_str(), append ? "ae" : "we");
  if (!log)
    throw UsageError(
        fmt::format("--log: {}: cannot be written: {}", options.log, std::strerror(errno)));
}

Report::~Report() {
  if (log)
    std::fclose(log);
}

void Report::step(const LoggedStep &logged) {
  if (log)
    write(logged);
  if (events)
    writeEvents(logged);
  print(logged);
}

void Report::writeEvents(const LoggedStep &logged) {
  const StepRecord &record = logged.record;
  auto narrow = [](double value) { return static_cast<float>(value); };
  double tokensPerSecond = static_cast<double>(record.tokens) * 1e3 / std::max(record.stepMs, 1e-6);
  std::vector<Scalar> scalars = {{"loss", narrow(record.loss)},
                                 {"mlm_loss", narrow(record.mlmLoss)},
                                 {"sop_loss", narrow(record.sopLoss)},
                                 {"lr", narrow(record.lr)},
                                 {"grad_norm", narrow(record.gradNorm)},
                                 {"loss_scale", narrow(record.lossScale)},
                                 {"tokens_per_second", narrow(tokensPerSecond)}};
  if (record.skipped)
    scalars.push_back({"skipped", static_cast<float>(*record.skipped)});
  if (logged.evaluated) {
    scalars.push_back({"valid_loss", narrow(logged.evaluation.loss)});
    scalars.push_back({"valid_mlm_loss", narrow(logged.evaluation.mlmLoss)});
    scalars.push_back({"valid_sop_loss", narrow(logged.evaluation.sopLoss)});
  }
  events->write(record.step, scalars);
}

namespace {

/// JSON has no infinities and no NaN.
std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.9g}", value) : "null";
}

} // namespace

void Report::write(const LoggedStep &logged) {
  const StepRecord &record = logged.record;
  fmt::memory_buffer line;
  auto to = std::back_inserter(line);
  fmt::format_to(to,
                 "{{\"step\":{},\"loss\":{},\"mlm_loss\":{},\"sop_loss\":{},"
                 "\"grad_norm\":{},\"lr\":{:.9g},\"loss_scale\":{:.9g},\"samples\":{},"
                 "\"tokens\":{},\"step_ms\":{:.9g}",
                 record.step, number(record.loss), number(record.mlmLoss), number(record.sopLoss),
                 number(record.gradNorm), record.lr, record.lossScale, record.samples,
                 record.tokens, record.stepMs);
  if (record.skipped)
    fmt::format_to(to, ",\"skipped\":{}", *record.skipped);
  if (logged.evaluated)
    fmt::format_to(to, ",\"valid_loss\":{},\"valid_mlm_loss\":{},\"valid_sop_loss\":{}",
                   number(logged.evaluation.loss), number(logged.evaluation.mlmLoss),
                   number(logged.evaluation.sopLoss));
  fmt::format_to(to, "}}\n");
  if (std::fwrite(line.data(), 1, line.size(), log) != line.size() || std::fflush(log) != 0)
    fail("{}: cannot be written: {}", options.log, std::strerror(errno));
}

namespace {

std::string duration(double seconds) {
  auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 60)
    return fmt::format("{} s", whole);
  if (whole < 3600)
    return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

} // namespace

void Report::print(const LoggedStep &logged) {
  const StepRecord &record = logged.record;
  smoothMs = smoothMs == 0 ? record.stepMs : 0.9 * smoothMs + 0.1 * record.stepMs;
  bool last = record.step == options.steps;
  if (!terminal && !logged.evaluated && record.step % interval != 0 && record.step != 1 && !last)
    return;
  std::string text = fmt::format(
      "step {}/{}  loss {:.4f}  mlm {:.4f}  sop {:.4f}  lr {:.3g}  grad norm {:.3f}  {:.0f} "
      "tokens/s",
      record.step, options.steps, record.loss, record.mlmLoss, record.sopLoss, record.lr,
      record.gradNorm, static_cast<double>(record.tokens) * 1e3 / std::max(smoothMs, 1e-6));
  if (record.skipped)
    text += fmt::format("  loss scale {:.9g}  skipped {}", record.lossScale, *record.skipped);
  if (!last)
    text += fmt::format(
        "  {} left", duration(static_cast<double>(options.steps - record.step) * smoothMs / 1e3));
  if (logged.evaluated)
    text += fmt::format("  valid loss {:.4f}", logged.evaluation.loss);
  bool keep = !terminal || logged.evaluated || last;
  fmt::print("{}{}{}", terminal ? "\r\x1b[K" : "", text, keep ? "\n" : "");
  lineOpen = !keep;
  std::fflush(stdout);
}

void Report::finish() {
  if (lineOpen)
    fmt::print("\n");
  lineOpen = false;
  if (log && std::fclose(std::exchange(log, nullptr)) != 0)
    fail("{}: cannot be written: {}", options.log, std::strerror(errno));
}

namespace {

// Rank 0 writes the pieces of all ranks between a head and a tail; the others wait without a limit.
void writeGathered(const std::string &path, const std::string &head, const std::string &piece,
                   const std::string &tail, Communicator &communicator) {
  std::vector<std::string> pieces = gatherTexts(communicator, piece);
  if (communicator.rank() != 0)
    return;
  AtomicFile file(path);
  file.write(head);
  for (size_t rank = 0; rank < pieces.size(); ++rank)
    file.write((rank ? ",\n" : "") + pieces[rank]);
  file.write(tail);
  file.commit();
}

} // namespace

void writeProfile(const std::string &path, int64_t steps, const Profiler &profiler,
                  Communicator &communicator) {
  NoTimeout patient(communicator);
  std::string text = fmt::format("{{\"rank\":{}", communicator.rank());
  for (int i = 0; i < kCategories; ++i) {
    auto category = static_cast<Category>(i);
    std::string name = categoryName(category);
    std::replace(name.begin(), name.end(), ' ', '_');
    text += fmt::format(",\"{}_ms\":{:.3f}", name,
                        static_cast<double>(profiler.nanoseconds(category)) / 1e6);
  }
  for (int i = 0; i < kTrafficKinds; ++i) {
    auto traffic = static_cast<Traffic>(i);
    text += fmt::format(",\"{}_bytes\":{}", trafficName(traffic), communicator.bytesSent(traffic));
  }
  writeGathered(path, fmt::format("{{\"steps\":{},\"ranks\":[\n", steps), text + "}", "\n]}\n",
                communicator);
}

void writeTrace(const std::string &path, const Profiler &profiler, Communicator &communicator) {
  NoTimeout patient(communicator);
  writeGathered(path, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n",
                profiler.traceRows(communicator.rank(), clockOffset(communicator)), "\n]}\n",
                communicator);
}

} // namespace seqpar::rt
