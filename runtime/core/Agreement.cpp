#include "Agreement.h"

#include <cstring>
#include <fmt/format.h>
#include <span>

namespace seqpar::rt {

namespace {

/// Tells apart what differs by accident, as FNV-1a does, eight bytes at a time.
class Hash {
public:
  void add(std::span<const uint8_t> bytes) {
    size_t at = 0;
    for (; at + sizeof(uint64_t) <= bytes.size(); at += sizeof(uint64_t)) {
      uint64_t word;
      std::memcpy(&word, bytes.data() + at, sizeof(word));
      mix(word);
    }
    uint64_t rest = bytes.size();
    for (; at < bytes.size(); ++at)
      rest = rest << 8 | bytes[at];
    mix(rest);
  }
  void add(const std::vector<int32_t> &values) {
    add({reinterpret_cast<const uint8_t *>(values.data()), values.size() * sizeof(int32_t)});
  }
  std::string text() const { return fmt::format("{:016x}", value); }

private:
  void mix(uint64_t word) {
    value = (value ^ word) * 0x100000001b3;
    value ^= value >> 29;
  }
  uint64_t value = 0xcbf29ce484222325;
};

} // namespace

std::string wordsOf(const ProgramFile &file) {
  Hash hash;
  hash.add(file.bytes());
  Grid grid = file.grid();
  return fmt::format("dp={} pp={} sp={} global_batch={} seq_length={} bytes={} hash={}", grid.dp,
                     grid.pp, grid.sp, file.globalBatch(), file.program().seq_length(),
                     file.bytes().size(), hash.text());
}

std::string wordsOf(const RunOptions &o) {
  auto given = [](const std::string &path) { return path.empty() ? "no" : "yes"; };
  return fmt::format(
      "--steps={} --seed={} --lr={} --min-lr={} --warmup={} --decay={} --decay-style={} --clip={} "
      "--weight-decay={} --loss-scale={} --mask-prob={} --short-seq-prob={} --splits={} "
      "--eval-interval={} --eval-iters={} --no-binary-head={} --save-interval={} --device={} "
      "--cpu-target={} "
      "--dry-run={} --init-from:{} --load:{} --save-gradients:{} --save-parameters:{} --save:{} "
      "--profile:{} --trace:{}",
      o.steps, o.seed, o.lr, o.minLr, o.warmup, o.decay, o.decayStyle, o.clip, o.weightDecay,
      o.lossScale, o.maskProb, o.shortSeqProb, o.splits, o.evalInterval, o.evalIters,
      o.noBinaryHead, o.saveInterval, o.device.empty() ? "cpu" : o.device,
      o.cpuTarget.empty() ? "best" : o.cpuTarget, o.dryRun, given(o.initFrom), given(o.load),
      given(o.saveGradients), given(o.saveParameters), given(o.save), given(o.profile),
      given(o.trace));
}

std::string wordsOf(const GlobalBatch &batch) {
  Hash hash;
  for (const auto *values : {&batch.tokens, &batch.types, &batch.labels, &batch.lossMask,
                             &batch.paddingMask, &batch.isRandom})
    hash.add(*values);
  return fmt::format("samples={} length={} first_sample={} loss_tokens={} hash={}", batch.samples,
                     batch.length, batch.firstSample, batch.lossTokens, hash.text());
}

std::string wordsOf(const SafetensorsFile &file) {
  Hash hash;
  hash.add(file.bytes());
  return fmt::format("bytes={} hash={}", file.bytes().size(), hash.text());
}

} // namespace seqpar::rt
