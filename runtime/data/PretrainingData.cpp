#include "seqpar/rt/data/PretrainingData.h"

#include "SampleBuilder.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/data/Blend.h"
#include "seqpar/rt/data/Splits.h"

#include <array>
#include <filesystem>
#include <optional>

namespace seqpar::rt::data {

namespace {

/// A read maps up to 64 KiB around it, so this bounds what mapped files add to the resident size.
constexpr int samplesBetweenReleases = 128;

constexpr std::array<Split, 3> allSplits = {Split::train, Split::valid, Split::test};

/// One data set with its three maps; a map is absent where its split has no documents.
struct Member {
  explicit Member(const std::string &prefix) : data(prefix) {}

  IndexedDataset data;
  std::array<std::optional<SampleMap>, 3> maps;
};

void checkOptions(const DataOptions &options) {
  if (options.seqLength < 5)
    fail("sequence length: expected 5 or more, found {}", options.seqLength);
  if (options.seed <= 0)
    fail("seed: expected a number above 0, found {}", options.seed);
  if (!(options.maskProb >= 0 && options.maskProb <= 1))
    fail("mask probability: expected 0 to 1, found {}", options.maskProb);
  if (options.trainIters < 0 || options.evalIters < 0)
    fail("iterations: expected numbers that are not negative, found {} to train and {} to evaluate",
         options.trainIters, options.evalIters);
  if (options.globalBatch < 1 || options.evalInterval < 1)
    fail("global batch and evaluation interval: expected 1 or more, found {} and {}",
         options.globalBatch, options.evalInterval);
}

std::array<int64_t, 3> wantedSamples(const DataOptions &options) {
  __int128 batch = options.globalBatch, evaluations = options.trainIters / options.evalInterval + 1;
  __int128 counts[3] = {options.trainIters * batch, evaluations * options.evalIters * batch,
                        options.evalIters * batch};
  std::array<int64_t, 3> result;
  for (size_t i = 0; i < 3; ++i) {
    if (counts[i] > INT64_C(1) << 50)
      fail(
          "iterations and global batch ask for more samples than can be counted; use smaller ones");
    result[i] = static_cast<int64_t>(counts[i]);
  }
  return result;
}

SampleMap openMap(const IndexedDataset &data, Split split, const SampleMapOptions &map,
                  const std::string &cacheDir, bool writes) {
  if (cacheDir.empty())
    return SampleMap::build(data, map);
  std::filesystem::path folder(cacheDir);
  std::string name = std::filesystem::path(data.prefix()).filename().string();
  std::string path = (folder / sampleMapName(name, splitName(split), map)).string();
  if (std::filesystem::exists(path))
    return SampleMap::load(path, data, map);
  if (!writes)
    return SampleMap::build(data, map);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    fail("{}: cannot create the cache folder: {}", cacheDir, error.message());
  SampleMap::build(data, map).save(path);
  return SampleMap::load(path, data, map);
}

} // namespace

const char *splitName(Split split) {
  switch (split) {
  case Split::train:
    return "train";
  case Split::valid:
    return "valid";
  case Split::test:
    return "test";
  }
  return "";
}

Split parseSplit(const std::string &name) {
  for (Split split : allSplits)
    if (name == splitName(split))
      return split;
  fail("split \"{}\" is unknown; expected train, valid or test", name);
}

struct PretrainingData::Impl {
  explicit Impl(const DataOptions &options)
      : options(options), vocabulary(Vocabulary::load(options.vocabFile)) {}

  void openMember(const WeightedPrefix &entry, bool alone);
  void openBlend(Split split, const std::vector<double> &weights);

  DataOptions options;
  Vocabulary vocabulary;
  std::array<int64_t, 3> wanted;
  std::vector<std::unique_ptr<Member>> members;
  std::array<std::optional<BlendIndex>, 3> blends;
};

void PretrainingData::Impl::openMember(const WeightedPrefix &entry, bool alone) {
  auto member = std::make_unique<Member>(entry.prefix);
  if (member->data.index().documents() == 0)
    fail("{}.idx: the data set has no documents", entry.prefix);
  auto bounds = splitBoundaries(options.splits, member->data.index().documents());
  for (size_t s = 0; s < 3; ++s) {
    SampleMapOptions map;
    map.documentBegin = bounds[s];
    map.documentEnd = bounds[s + 1];
    map.wanted = alone ? wanted[s] : memberSamples(wanted[s], entry.weight);
    map.maxTokens = options.seqLength - 3;
    map.shortSeqProb = options.shortSeqProb;
    map.seed = options.seed;
    map.minSentences = options.binaryHead ? 2 : 1;
    if (map.documentBegin < map.documentEnd && map.wanted > 0)
      member->maps[s] =
          openMap(member->data, allSplits[s], map, options.cacheDir, options.writesMaps);
  }
  members.push_back(std::move(member));
}

void PretrainingData::Impl::openBlend(Split split, const std::vector<double> &weights) {
  size_t s = static_cast<size_t>(split), present = 0;
  int64_t size = 0;
  const Member *missing = nullptr;
  for (const auto &member : members) {
    if (member->maps[s]) {
      size += member->maps[s]->rows();
      ++present;
    } else {
      missing = member.get();
    }
  }
  if (present == 0)
    return;
  if (missing)
    fail("{}: no documents for the {} split, though other data sets of the blend have some; choose "
         "other splits",
         missing->data.prefix(), splitName(split));
  blends[s].emplace(weights, size);
}

PretrainingData::PretrainingData(const DataOptions &options) {
  checkOptions(options);
  auto wanted = wantedSamples(options);
  auto entries = parseDataPath(options.dataPath);
  impl = std::make_unique<Impl>(options);
  impl->wanted = wanted;
  std::vector<double> weights;
  for (const WeightedPrefix &entry : entries) {
    impl->openMember(entry, entries.size() == 1);
    weights.push_back(entry.weight);
  }
  if (entries.size() > 1)
    for (Split split : allSplits)
      impl->openBlend(split, weights);
}

PretrainingData::~PretrainingData() = default;

const DataOptions &PretrainingData::options() const { return impl->options; }
int64_t PretrainingData::vocabSize() const { return impl->vocabulary.size(); }
int32_t PretrainingData::padId() const { return impl->vocabulary.pad; }
int64_t PretrainingData::wanted(Split split) const {
  return impl->wanted[static_cast<size_t>(split)];
}

const std::string &PretrainingData::token(int32_t id) const {
  if (id < 0 || id >= vocabSize())
    fail("{}: expected a token id from 0 to {}, found {}", impl->vocabulary.name(), vocabSize() - 1,
         id);
  return impl->vocabulary.token(id);
}

int64_t PretrainingData::size(Split split) const {
  size_t s = static_cast<size_t>(split);
  if (impl->members.size() > 1)
    return impl->blends[s] ? impl->blends[s]->size() : 0;
  const auto &map = impl->members[0]->maps[s];
  return map ? map->rows() : 0;
}

void PretrainingData::sample(Split split, int64_t index, Sample &out) const {
  if (index < 0 || index >= size(split))
    fail("{} sample {}: the split has {} samples", splitName(split), index, size(split));
  size_t s = static_cast<size_t>(split);
  BlendIndex::Entry entry{0, index};
  if (impl->members.size() > 1)
    entry = impl->blends[s]->at(index);
  const Member &member = *impl->members[static_cast<size_t>(entry.member)];
  if (entry.sample >= member.maps[s]->rows())
    fail("{} sample {}: the blend asks {} for its sample {}, but it has {}; only the first {} "
         "samples "
         "of the blend were asked for",
         splitName(split), index, member.data.prefix(), entry.sample, member.maps[s]->rows(),
         wanted(split));
  static thread_local SampleBuilder builder;
  static thread_local int built = 0;
  if (++built % samplesBetweenReleases == 0)
    for (const auto &each : impl->members)
      each->data.release();
  builder.build(impl->options, impl->vocabulary, member.data, member.maps[s]->row(entry.sample),
                entry.sample, out);
}

} // namespace seqpar::rt::data
