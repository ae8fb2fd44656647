#include "seqpar/rt/Error.h"
#include "seqpar/rt/Feed.h"
#include "seqpar/rt/Philox.h"

#include <algorithm>

namespace seqpar::rt {

namespace {

// Ids as in the usual BERT vocabularies' order, squeezed to the front so that any size has them.
enum Id : int32_t { Pad = 0, Cls = 1, Sep = 2, Mask = 3, FirstWord = 4 };

/// Words in a cycle of this many ids: the next word follows from the one before.
constexpr int64_t kMostWords = 1000;

class SyntheticFeed final : public Feed {
public:
  explicit SyntheticFeed(const SyntheticOptions &options) : options(options) {
    if (options.vocabulary <= FirstWord)
      fail("--data: synthetic data needs a vocabulary of more than {} ids, found {}",
           static_cast<int>(FirstWord), options.vocabulary);
    words = std::min(kMostWords, options.vocabulary - FirstWord);
  }

  std::string describe() const override {
    return fmt::format("synthetic data: {} words, seed {}", words, options.seed);
  }

  void load(int64_t, int64_t firstSample, GlobalBatch &batch) override {
    batch.resize(options.samples, options.length);
    batch.firstSample = firstSample;
    for (int64_t b = 0; b < options.samples; ++b)
      make(firstSample + b, b, batch);
    batch.countLossTokens();
  }

private:
  // Four random words per position of a sample; position `length` has the sample's own.
  PhiloxBlock random(int64_t sample, int64_t position) const {
    return philox(
        {{static_cast<uint32_t>(position), static_cast<uint32_t>(sample),
          static_cast<uint32_t>(sample >> 32), 0x53594e54u}},
        {{static_cast<uint32_t>(options.seed), static_cast<uint32_t>(options.seed >> 32)}});
  }
  void make(int64_t sample, int64_t row, GlobalBatch &batch) const;

  SyntheticOptions options;
  int64_t words;
};

// [CLS] A [SEP] B [SEP] padding. Words count up in steps of 1 in A and of 2 in B; swapped when the
// order is random.
void SyntheticFeed::make(int64_t sample, int64_t row, GlobalBatch &batch) const {
  int64_t length = options.length;
  size_t at = static_cast<size_t>(row * length);
  PhiloxBlock own = random(sample, length);
  int64_t used = length - own.word[0] % (length / 4 + 1);
  int64_t split = std::max<int64_t>(1, used / 2);
  bool swapped = options.binaryHead && own.word[1] % 2;
  int64_t word = own.word[2] % words;
  auto maskBelow = static_cast<uint64_t>(options.maskProb * 4294967296.0);
  batch.isRandom[static_cast<size_t>(row)] = swapped;
  for (int64_t i = 0; i < length; ++i, ++at) {
    bool real = i<used, second = i> split;
    bool special = i == 0 || i == split || i == used - 1;
    int32_t token = !real ? Pad : i == 0 ? Cls : Sep;
    if (real && !special) {
      word = (word + (second != swapped ? 2 : 1)) % words;
      token = static_cast<int32_t>(FirstWord + word);
    }
    PhiloxBlock dice = random(sample, i);
    bool predict = real && !special && dice.word[0] < maskBelow;
    int32_t shown = token;
    if (predict && dice.word[1] % 10 < 8)
      shown = Mask;
    else if (predict && dice.word[1] % 10 == 8)
      shown = static_cast<int32_t>(FirstWord + dice.word[2] % words);
    batch.tokens[at] = shown;
    batch.types[at] = real && second;
    batch.labels[at] = predict ? token : -1;
    batch.lossMask[at] = predict;
    batch.paddingMask[at] = real;
  }
}

} // namespace

std::unique_ptr<Feed> createSyntheticFeed(const SyntheticOptions &options) {
  return std::make_unique<SyntheticFeed>(options);
}

} // namespace seqpar::rt
