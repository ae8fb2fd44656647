//===- SampleMap.h - which sentences make which sample ----------*- C++ -*-===//
//
// Built as by Megatron's build_mapping: epochs over the documents, sentences joined up to a target
// length drawn per sample, rows shuffled. The cache file is a NumPy array uint32 (uint64 when the
// data set has more than 2^32 - 1 sentences) [rows, 3] under Megatron's name.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/data/IndexedDataset.h"
#include "seqpar/rt/data/MappedFile.h"

#include <cstdint>
#include <string>
#include <vector>

namespace seqpar::rt::data {

struct SampleMapOptions {
  /// Documents [documentBegin, documentEnd) of the data set.
  int64_t documentBegin = 0, documentEnd = 0;
  /// Rows wanted, at least 1; whole epochs are added until there are as many.
  int64_t wanted = 1;
  /// Tokens of a sample without [CLS] and [SEP]: sequence length - 3.
  int32_t maxTokens = 0;
  double shortSeqProb = 0.1;
  int seed = 1234;
  /// 2 with the sentence-order head, else 1.
  int minSentences = 2;
};

/// Sentences [first, last) truncated to `target` tokens.
struct SampleRow {
  int64_t first, last;
  int32_t target;
};

class SampleMap {
public:
  /// Throws Error if no document qualifies, or if the rows would not fit in memory.
  static SampleMap build(const IndexedDataset &data, const SampleMapOptions &options);
  /// Maps a cache file and compares its rows with those build() would give; their order follows
  /// from the seed, which is in the file's name. Throws Error if the file is damaged or was made
  /// from other data or options.
  static SampleMap load(const std::string &path, const IndexedDataset &data,
                        const SampleMapOptions &options);
  void save(const std::string &path) const;

  int64_t rows() const { return rowCount; }
  SampleRow row(int64_t index) const;

  /// Reads a NumPy file [rows, 3]; throws Error with `name`. The map refers to `file`'s bytes.
  static SampleMap parse(std::span<const std::byte> file, const std::string &name);

private:
  MappedFile file;
  std::vector<uint32_t> narrow;
  std::vector<uint64_t> wide;
  const std::byte *data = nullptr;
  bool isWide = false;
  int64_t rowCount = 0;
};

/// "PREFIX_train_indexmap_32000000mns_509msl_0.10ssp_1234s.npy".
std::string sampleMapName(const std::string &prefix, const std::string &split,
                          const SampleMapOptions &options);

} // namespace seqpar::rt::data
