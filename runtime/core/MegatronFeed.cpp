#include "MegatronFeed.h"

#include "seqpar/rt/Error.h"
#include "seqpar/rt/data/Prefetcher.h"

#include <algorithm>

namespace seqpar::rt {

namespace {

class MegatronFeed final : public Feed {
public:
  MegatronFeed(std::shared_ptr<const data::PretrainingData> data, data::Split split,
               int64_t samples)
      : data(std::move(data)), split(split), samples(samples) {
    if (this->data->size(split) == 0)
      fail("--splits: the {} part of {} has no samples", data::splitName(split),
           this->data->options().dataPath);
  }

  std::string describe() const override {
    return fmt::format("{}: {} {} samples of {} positions", data->options().dataPath,
                       data->size(split), data::splitName(split), data->options().seqLength);
  }

  void load(int64_t, int64_t firstSample, GlobalBatch &batch) override {
    if (!prefetcher || firstSample != next)
      start(firstSample);
    if (!prefetcher->next(ready))
      fail("{}: no more samples", data->options().dataPath);
    next = firstSample + samples;
    batch.resize(samples, ready.columns());
    batch.firstSample = firstSample;
    std::copy(ready.text.begin(), ready.text.end(), batch.tokens.begin());
    std::copy(ready.labels.begin(), ready.labels.end(), batch.labels.begin());
    std::copy(ready.lossMask.begin(), ready.lossMask.end(), batch.lossMask.begin());
    std::copy(ready.paddingMask.begin(), ready.paddingMask.end(), batch.paddingMask.begin());
    std::copy(ready.isRandom.begin(), ready.isRandom.end(), batch.isRandom.begin());
    // Padding has the id of [PAD] as its type, which may be no type of the model. No result depends
    // on it.
    for (size_t i = 0; i < batch.types.size(); ++i)
      batch.types[i] = ready.paddingMask[i] ? ready.types[i] : 0;
    batch.countLossTokens();
  }

private:
  void start(int64_t firstSample) {
    prefetcher.reset();
    int64_t size = data->size(split), count = samples;
    auto indices = [=](int64_t number, std::vector<int64_t> &to) {
      to.resize(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i)
        to[static_cast<size_t>(i)] = (firstSample + number * count + i) % size;
      return true;
    };
    data::PrefetcherOptions options;
    options.split = split;
    prefetcher = std::make_unique<data::Prefetcher>(*data, options, indices);
  }

  std::shared_ptr<const data::PretrainingData> data;
  data::Split split;
  int64_t samples, next = -1;
  std::unique_ptr<data::Prefetcher> prefetcher;
  data::Batch ready;
};

} // namespace

std::unique_ptr<Feed> createMegatronFeed(std::shared_ptr<const data::PretrainingData> data,
                                         data::Split split, int64_t samples) {
  return std::make_unique<MegatronFeed>(std::move(data), split, samples);
}

} // namespace seqpar::rt
