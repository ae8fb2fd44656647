#include "RunFeeds.h"

#include "MegatronFeed.h"
#include "ProgramCheck.h"
#include "seqpar/rt/Error.h"

#include <algorithm>

namespace seqpar::rt {

BatchLimits batchLimits(const ProgramFile &file) {
  IndexLimits limits = indexLimits(file.program());
  return {.samples = file.globalBatch(),
          .length = file.program().seq_length(),
          .vocabulary = file.program().vocabulary(),
          .types = limits.of(program::InputKind::Types)};
}

namespace {

RunFeeds megatronFeeds(const ProgramFile &file, const RunOptions &options) {
  data::DataOptions from;
  from.dataPath = options.data;
  from.vocabFile = options.vocab;
  from.splits = options.splits;
  from.seqLength = static_cast<int>(file.program().seq_length());
  from.trainIters = std::max<int64_t>(options.steps, 1);
  from.globalBatch = file.globalBatch();
  if (options.evalInterval > 0) {
    from.evalInterval = options.evalInterval;
    from.evalIters = options.evalIters;
  }
  // The generators of the data take a positive int32.
  from.seed = static_cast<int>(options.seed & 0x7fffffff);
  from.maskProb = options.maskProb;
  from.shortSeqProb = options.shortSeqProb;
  from.binaryHead = file.program().has_sop();
  from.cacheDir = options.cacheDir;
  from.writesMaps = !options.dryRun;
  auto data = std::make_shared<const data::PretrainingData>(from);
  if (data->vocabSize() > file.program().vocabulary())
    fail("--vocab: {} has {} ids, the model's vocabulary only {}", options.vocab, data->vocabSize(),
         file.program().vocabulary());
  RunFeeds feeds;
  feeds.train = createMegatronFeed(data, data::Split::train, from.globalBatch);
  if (options.evalInterval > 0)
    feeds.valid = createMegatronFeed(data, data::Split::valid, from.globalBatch);
  return feeds;
}

} // namespace

RunFeeds createFeeds(const ProgramFile &file, const RunOptions &options) {
  RunFeeds feeds;
  if (!options.batchFrom.empty()) {
    if (int64_t steps = readBatchShape(options.batchFrom).steps; options.steps > steps)
      fail("{}: it has {} batches, step {} needs one more", options.batchFrom, steps, steps + 1);
    feeds.train = createSafetensorsFeed(options.batchFrom);
    return feeds;
  }
  if (options.data != "synthetic")
    return megatronFeeds(file, options);
  SyntheticOptions synthetic{.samples = file.globalBatch(),
                             .length = file.program().seq_length(),
                             .vocabulary = file.program().vocabulary(),
                             .seed = options.seed,
                             .maskProb = options.maskProb,
                             .binaryHead = file.program().has_sop()};
  feeds.train = createSyntheticFeed(synthetic);
  if (options.evalInterval > 0) {
    synthetic.seed = options.seed + (uint64_t(1) << 32); // other samples than those trained on
    feeds.valid = createSyntheticFeed(synthetic);
  }
  return feeds;
}

} // namespace seqpar::rt
