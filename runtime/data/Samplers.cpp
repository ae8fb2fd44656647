#include "seqpar/rt/data/Samplers.h"

#include "seqpar/rt/Error.h"

#include <algorithm>
#include <numeric>
#include <random>

namespace seqpar::rt::data {

namespace {

void check(const SamplerOptions &options) {
  if (options.total < 1 || options.microBatch < 1 || options.dpSize < 1)
    fail(
        "sampler: expected samples, micro-batch and data-parallel size of 1 or more, found {}, {}, "
        "{}",
        options.total, options.microBatch, options.dpSize);
}

void check(const SamplerOptions &options, int64_t consumed, int64_t dpRank, size_t room) {
  if (consumed < 0 || dpRank < 0 || dpRank >= options.dpSize)
    fail("sampler: expected a consumed count of 0 or more and a data-parallel rank below {}, found "
         "{} and {}",
         options.dpSize, consumed, dpRank);
  if (room < static_cast<size_t>(options.microBatch))
    fail("sampler: expected room for {} indices, found {}", options.microBatch, room);
}

} // namespace

SingleSampler::SingleSampler(const SamplerOptions &options, bool dropLast)
    : options(options), dropLast(dropLast) {
  check(options);
}

int64_t SingleSampler::indices(int64_t consumed, int64_t dpRank, std::span<int64_t> out) const {
  check(options, consumed, dpRank, out.size());
  int64_t left = std::max<int64_t>(0, options.total - consumed);
  if (dropLast && left / options.microBatch < options.dpSize)
    return 0;
  int64_t count = std::clamp<int64_t>(left - dpRank * options.microBatch, 0, options.microBatch);
  std::iota(out.begin(), out.begin() + count, consumed + dpRank * options.microBatch);
  return count;
}

CyclicSampler::CyclicSampler(const SamplerOptions &options) : options(options) {
  check(options);
  if (options.total / options.microBatch < options.dpSize)
    fail("cyclic sampler: {} samples are fewer than one micro-batch of {} on each of {} "
         "data-parallel ranks",
         options.total, options.microBatch, options.dpSize);
  int64_t group = options.microBatch * options.dpSize;
  active = options.total - options.total % group;
  bucket = options.total / group * options.microBatch;
  if (bucket > INT32_MAX)
    fail("cyclic sampler: {} samples for each data-parallel rank are more than {}", bucket,
         INT32_MAX);
}

void CyclicSampler::permute(int64_t newEpoch) {
  if (epoch == newEpoch)
    return;
  epoch = newEpoch;
  permutation.resize(static_cast<size_t>(bucket));
  std::iota(permutation.begin(), permutation.end(), 0);
  std::mt19937 engine(static_cast<uint32_t>(epoch));
  for (size_t i = 0; i + 1 < permutation.size(); ++i)
    std::swap(permutation[i],
              permutation[i + static_cast<uint32_t>(engine()) % (permutation.size() - i)]);
}

int64_t CyclicSampler::indices(int64_t consumed, int64_t dpRank, std::span<int64_t> out) {
  check(options, consumed, dpRank, out.size());
  int64_t offset = consumed % active, group = options.microBatch * options.dpSize;
  if (offset % group != 0)
    fail("cyclic sampler: the {} samples consumed in this epoch of {} are not a multiple of {} = "
         "micro-batch times data-parallel size; resume with the sizes of the saved run",
         offset, active, group);
  permute(consumed / active);
  for (int64_t i = 0; i < options.microBatch; ++i)
    out[static_cast<size_t>(i)] =
        dpRank * bucket + permutation[static_cast<size_t>(offset / options.dpSize + i)];
  return options.microBatch;
}

} // namespace seqpar::rt::data
