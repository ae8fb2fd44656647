#include "Report.h"

#include "seqpar/rt/AtomicFile.h"
#include "seqpar/rt/Error.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <unistd.h>

namespace seqpar::rt {

Report::Report(const RunOptions &options, bool append) : options(options) {
  terminal = isatty(STDOUT_FILENO);
  interval = options.logInterval ? options.logInterval : std::max<int64_t>(1, options.steps / 50);
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

void Report::step(const StepRecord &record, const std::optional<Evaluation> &evaluation) {
  if (log)
    write(record, evaluation);
  print(record, evaluation);
}

void Report::write(const StepRecord &record, const std::optional<Evaluation> &evaluation) {
  fmt::memory_buffer line;
  auto to = std::back_inserter(line);
  fmt::format_to(to,
                 "{{\"step\":{},\"loss\":{:.9g},\"mlm_loss\":{:.9g},\"sop_loss\":{:.9g},"
                 "\"grad_norm\":{:.9g},\"lr\":{:.9g},\"loss_scale\":{:.9g},\"samples\":{},"
                 "\"tokens\":{},\"step_ms\":{:.9g}",
                 record.step, record.loss, record.mlmLoss, record.sopLoss, record.gradNorm,
                 record.lr, record.lossScale, record.samples, record.tokens, record.stepMs);
  if (evaluation)
    fmt::format_to(to, ",\"valid_loss\":{:.9g},\"valid_mlm_loss\":{:.9g},\"valid_sop_loss\":{:.9g}",
                   evaluation->loss, evaluation->mlmLoss, evaluation->sopLoss);
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

void Report::print(const StepRecord &record, const std::optional<Evaluation> &evaluation) {
  smoothMs = smoothMs == 0 ? record.stepMs : 0.9 * smoothMs + 0.1 * record.stepMs;
  bool last = record.step == options.steps;
  if (!terminal && !evaluation && record.step % interval != 0 && record.step != 1 && !last)
    return;
  std::string text = fmt::format(
      "step {}/{}  loss {:.4f}  mlm {:.4f}  sop {:.4f}  lr {:.3g}  grad norm {:.3f}  {:.0f} "
      "tokens/s",
      record.step, options.steps, record.loss, record.mlmLoss, record.sopLoss, record.lr,
      record.gradNorm, static_cast<double>(record.tokens) * 1e3 / std::max(smoothMs, 1e-6));
  if (!last)
    text += fmt::format(
        "  {} left", duration(static_cast<double>(options.steps - record.step) * smoothMs / 1e3));
  if (evaluation)
    text += fmt::format("  valid loss {:.4f}", evaluation->loss);
  bool keep = !terminal || evaluation || last;
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

void writeProfile(const std::string &path, int64_t steps,
                  std::span<const std::unique_ptr<Profiler>> ranks) {
  AtomicFile file(path);
  file.write(fmt::format("{{\"steps\":{},\"ranks\":[", steps));
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    std::string text = fmt::format("{}\n{{\"rank\":{}", rank ? "," : "", rank);
    for (int i = 0; i < kCategories; ++i) {
      auto category = static_cast<Category>(i);
      std::string name = categoryName(category);
      std::replace(name.begin(), name.end(), ' ', '_');
      text += fmt::format(",\"{}_ms\":{:.3f}", name,
                          static_cast<double>(ranks[rank]->nanoseconds(category)) / 1e6);
    }
    file.write(text + "}");
  }
  file.write("\n]}\n");
  file.commit();
}

} // namespace seqpar::rt
