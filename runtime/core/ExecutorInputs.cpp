//===- ExecutorInputs.cpp - a rank's part of the global batch ---*- C++ -*-===//

#include "ExecutorScope.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace seqpar::rt {

using namespace program;

void Executor::writeScalar(InputKind kind, const void *value) {
  for (const Input *input : *theStage.inputs())
    if (input->kind() == kind)
      device.copyToDevice(address(input->buffer()), value, 4);
}

void Executor::writeStepInputs(const GlobalBatch &batch) {
  auto real = [&](InputKind kind, double value) {
    float narrow = static_cast<float>(value);
    writeScalar(kind, &narrow);
  };
  auto whole = [&](InputKind kind, uint64_t value) {
    uint32_t narrow = static_cast<uint32_t>(value);
    writeScalar(kind, &narrow);
  };
  double count = static_cast<double>(stepInputs.step + 1 - stepInputs.skipped);
  double perToken = batch.lossTokens ? 1.0 / static_cast<double>(batch.lossTokens) : 0.0;
  double perSample = 1.0 / static_cast<double>(batch.samples);
  real(InputKind::InverseLossTokens, perToken);
  real(InputKind::InverseSamples, perSample);
  real(InputKind::ScaledInverseLossTokens, perToken * stepInputs.lossScale);
  real(InputKind::ScaledInverseSamples, perSample * stepInputs.lossScale);
  real(InputKind::InverseLossScale, 1.0 / stepInputs.lossScale);
  real(InputKind::LearningRate, stepInputs.learningRate);
  real(InputKind::BiasCorrection1, 1.0 / (1.0 - std::pow(kBeta1, count)));
  real(InputKind::BiasCorrection2, 1.0 / (1.0 - std::pow(kBeta2, count)));
  real(InputKind::ClipNorm, stepInputs.clipNorm);
  real(InputKind::WeightDecay, stepInputs.weightDecay);
  whole(InputKind::Step, static_cast<uint64_t>(stepInputs.step));
  whole(InputKind::Seed, stepInputs.seed);
  whole(InputKind::Training, stepInputs.training ? 1 : 0);
}

// Micro-batch m of replica d: samples (m * dp + d) * B + 0 ... B - 1 of the global batch.
void Executor::writeMicroBatch(const GlobalBatch &batch, const Scope &scope) {
  int64_t first = (scope.microBatch * program.dp() + coordinates.dp) * program.micro_batch();
  maskedRows[scope.slot] = findMaskedRows(batch, first);
  for (const Input *input : *theStage.inputs()) {
    size_t elements = fillInput(input->kind(), batch, first);
    if (elements)
      device.copyToDevice(address(input->buffer(), scope.slot), staging.data(),
                          elements * sizeof(int32_t));
  }
}

// Rows (b * C + i) of this rank where a token is predicted, and the tokens; returns how many.
int64_t Executor::findMaskedRows(const GlobalBatch &batch, int64_t first) {
  int64_t chunk = program.chunk_length(), begin = coordinates.sp * chunk;
  size_t found = 0;
  for (int64_t b = 0; b < program.micro_batch(); ++b) {
    const int32_t *mask = batch.lossMask.data() + (first + b) * batch.length;
    const int32_t *labels = batch.labels.data() + (first + b) * batch.length;
    for (int64_t i = begin; i < std::min(batch.length, begin + chunk); ++i) {
      if (!mask[i])
        continue;
      stagedRows[found] = static_cast<int32_t>(b * chunk + i - begin);
      stagedLabels[found++] = labels[i];
    }
  }
  auto rest = static_cast<std::ptrdiff_t>(found);
  std::fill(stagedRows.begin() + rest, stagedRows.end(), -1);
  std::fill(stagedLabels.begin() + rest, stagedLabels.end(), -1);
  return static_cast<int64_t>(found);
}

// Fills `staging` with an input of a micro-batch; returns its elements, 0 for inputs of the step.
size_t Executor::fillInput(InputKind kind, const GlobalBatch &batch, int64_t first) {
  int64_t samples = program.micro_batch(), chunk = program.chunk_length();
  int64_t begin = coordinates.sp * chunk;
  auto columns = [&](const std::vector<int32_t> &from, int64_t begin, int64_t width) {
    int64_t valid = std::clamp<int64_t>(batch.length - begin, 0, width);
    for (int64_t b = 0; b < samples; ++b) {
      const int32_t *row = from.data() + (first + b) * batch.length;
      int32_t *to = staging.data() + b * width;
      std::copy_n(row + std::min(begin, batch.length), valid, to);
      std::fill(to + valid, to + width, 0);
    }
    return static_cast<size_t>(samples * width);
  };
  switch (kind) {
  case InputKind::Tokens:
    return columns(batch.tokens, begin, chunk);
  case InputKind::Types:
    return columns(batch.types, begin, chunk);
  case InputKind::PaddingMask:
    return columns(batch.paddingMask, 0, chunk * program.sp());
  case InputKind::Positions:
    for (int64_t i = 0; i < samples * chunk; ++i) {
      int64_t position = begin + i % chunk;
      staging[static_cast<size_t>(i)] =
          position < batch.length ? static_cast<int32_t>(position) : 0;
    }
    return static_cast<size_t>(samples * chunk);
  case InputKind::MaskedRows:
    std::copy(stagedRows.begin(), stagedRows.end(), staging.begin());
    return stagedRows.size();
  case InputKind::MaskedLabels:
    std::copy(stagedLabels.begin(), stagedLabels.end(), staging.begin());
    return stagedLabels.size();
  case InputKind::SentenceOrder:
    std::copy_n(batch.isRandom.begin() + first, samples, staging.begin());
    return static_cast<size_t>(samples);
  case InputKind::FirstTokenRows:
    for (int64_t b = 0; b < samples; ++b)
      staging[static_cast<size_t>(b)] = coordinates.sp == 0 ? static_cast<int32_t>(b * chunk) : -1;
    return static_cast<size_t>(samples);
  case InputKind::SampleNumbers:
    for (int64_t b = 0; b < samples; ++b)
      staging[static_cast<size_t>(b)] = static_cast<int32_t>(batch.firstSample + first + b);
    return static_cast<size_t>(samples);
  case InputKind::RowSamples:
    for (int64_t i = 0; i < samples * chunk; ++i)
      staging[static_cast<size_t>(i)] = static_cast<int32_t>(batch.firstSample + first + i / chunk);
    return static_cast<size_t>(samples * chunk);
  default:
    return 0;
  }
}

} // namespace seqpar::rt
