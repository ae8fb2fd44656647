#pragma once
// The order in which data-parallel ranks take samples: Megatron's "single" and "cyclic" samplers.
// A micro-step hands g = microBatch·dpSize samples to all ranks together; step k, micro-batch j
// starts at consumed = k·globalBatch + j·g.

#include <cstdint>
#include <span>
#include <vector>

namespace seqpar::rt::data {

struct SamplerOptions {
  int64_t total = 0;      ///< samples in the split
  int64_t microBatch = 1; ///< samples of one rank and micro-step
  int64_t dpSize = 1;     ///< data-parallel ranks
};

/// Consecutive samples. With dropLast the last incomplete group of g is left out.
class SingleSampler {
public:
  explicit SingleSampler(const SamplerOptions &options, bool dropLast = true);

  /// Writes the indices of the micro-step that starts after `consumed` samples, for rank `dpRank`,
  /// to `out` (at least microBatch entries). Returns how many there are: microBatch, or, at the
  /// end, 0 with dropLast and this rank's share of what is left without.
  int64_t indices(int64_t consumed, int64_t dpRank, std::span<int64_t> out) const;

private:
  SamplerOptions options;
  bool dropLast;
};

/// Epochs of random permutations; each rank draws from its own part of the samples. Never ends.
class CyclicSampler {
public:
  explicit CyclicSampler(const SamplerOptions &options);

  /// As SingleSampler::indices. `consumed` must be a multiple of g within its epoch. Remembers the
  /// permutation of the last epoch asked for, so it is not for several threads at once.
  int64_t indices(int64_t consumed, int64_t dpRank, std::span<int64_t> out);

private:
  void permute(int64_t newEpoch);

  SamplerOptions options;
  int64_t active = 0, bucket = 0, epoch = -1;
  std::vector<int32_t> permutation;
};

} // namespace seqpar::rt::data
