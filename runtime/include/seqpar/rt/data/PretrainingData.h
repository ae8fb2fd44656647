#pragma once
// BERT pre-training samples from Megatron .bin/.idx files, bit for bit those of Megatron-LM's BERT
// data set: splits, sample map, n-gram masking, sentence order, truncation, padding and blending.
// docs/data.md describes the algorithms and formats.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace seqpar::rt::data {

enum class Split { train = 0, valid = 1, test = 2 };

/// "train", "valid" or "test".
const char *splitName(Split split);
/// The inverse; throws Error for any other name.
Split parseSplit(const std::string &name);

struct DataOptions {
  /// One prefix P (files P.bin and P.idx), or weights and prefixes in turn: "3 A 1 B".
  std::string dataPath;
  std::string vocabFile;
  /// Weights of train, valid and test over the documents.
  std::string splits = "949,50,1";
  /// Positions of a sample, special tokens included; at least 5.
  int seqLength = 512;
  /// Together they say how many samples each split must have:
  /// train = trainIters·globalBatch, valid = (trainIters/evalInterval + 1)·evalIters·globalBatch,
  /// test = evalIters·globalBatch. A split of which none are asked is empty.
  int64_t trainIters = 0, globalBatch = 1, evalInterval = 1000, evalIters = 0;
  /// In [1, 2^31).
  int seed = 1234;
  /// Share of the positions to predict, in [0, 1].
  double maskProb = 0.15;
  /// Share of the samples with a random shorter target length, in [0, 1].
  double shortSeqProb = 0.1;
  /// Two segments and a sentence-order label.
  bool binaryHead = true;
  /// Folder of the sample-map files, with Megatron's names. Empty: maps live in memory only.
  std::string cacheDir;
  /// Off: maps that are not in the folder live in memory only.
  bool writesMaps = true;
};

/// One sample. The arrays have seqLength entries.
struct Sample {
  std::vector<int32_t> text;        ///< token ids, some replaced by [MASK] or a random id
  std::vector<int32_t> types;       ///< segment 0 or 1; [PAD]'s id in the padding
  std::vector<int32_t> labels;      ///< the original id where to predict, -1 elsewhere
  std::vector<int32_t> lossMask;    ///< 1 where to predict
  std::vector<int32_t> paddingMask; ///< 1 = real token
  int32_t isRandom = 0;             ///< 1 if the two segments are in swapped order
  int32_t truncated = 0;            ///< 1 if tokens were removed
  int32_t tokens = 0;               ///< real tokens, special ones included
};

/// The three splits of one data set or blend. Opens and checks every file at construction; the
/// token files are memory-mapped. All const members may be called from several threads at once.
class PretrainingData {
public:
  /// Throws Error that names the file, and the offset in it, of anything missing or damaged.
  explicit PretrainingData(const DataOptions &options);
  ~PretrainingData();
  PretrainingData(const PretrainingData &) = delete;
  PretrainingData &operator=(const PretrainingData &) = delete;

  const DataOptions &options() const;
  /// Samples in a split, 0 if it has no documents. At least the number asked for; a blend's last
  /// ones may not exist, and asking for such a sample is an error.
  int64_t size(Split split) const;
  /// Samples asked for, by the formulas at DataOptions.
  int64_t wanted(Split split) const;
  /// Ids in use, [BOS] and [EOS] included, not padded.
  int64_t vocabSize() const;
  int32_t padId() const;
  /// The vocabulary's text of a token id.
  const std::string &token(int32_t id) const;

  /// Builds sample `index` of a split. Allocates nothing once `out` and the calling thread have
  /// built one sample of this length.
  void sample(Split split, int64_t index, Sample &out) const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace seqpar::rt::data
