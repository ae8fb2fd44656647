//===- SampleBuilder.h - one BERT sample from sentences ---------*- C++ -*-===//
//
// Megatron's order of random draws is part of the format: segments, truncation, shuffle of the
// words, then per word an n-gram length and per masked position up to three draws.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/data/IndexedDataset.h"
#include "seqpar/rt/data/PretrainingData.h"
#include "seqpar/rt/data/RandomState.h"
#include "seqpar/rt/data/SampleMap.h"
#include "seqpar/rt/data/Vocabulary.h"

namespace seqpar::rt::data {

/// Builds samples for one thread; keeps its buffers between calls.
class SampleBuilder {
public:
  /// Sample `number` of a map (its own number inside a blend's member), which `row` describes.
  void build(const DataOptions &options, const Vocabulary &vocabulary, const IndexedDataset &data,
             const SampleRow &row, int64_t number, Sample &out);

private:
  /// Tokens [skip, skip + length) of sentences [first, last).
  struct Segment {
    int64_t first, last, skip, length;
  };

  void truncate(Segment &a, Segment &b, int64_t target, RandomState &random, Sample &out);
  void place(const Segment &segment, const IndexedDataset &data, const Vocabulary &vocabulary,
             int32_t type, Sample &out);
  void findWords(const Vocabulary &vocabulary, const Sample &out);
  void maskWords(double limit, const Vocabulary &vocabulary, RandomState &random, Sample &out);

  /// Positions of the words' tokens, word after word; word w has [wordStart[w], wordStart[w + 1]).
  std::vector<int32_t> positions, wordStart, order;
};

} // namespace seqpar::rt::data
