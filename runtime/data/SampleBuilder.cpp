#include "SampleBuilder.h"

#include "seqpar/rt/Error.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace seqpar::rt::data {

namespace {

constexpr int32_t ignoredLabel = -1;

void prepare(Sample &out, int length, int32_t pad) {
  size_t size = static_cast<size_t>(length);
  out.text.assign(size, pad);
  out.types.assign(size, pad);
  out.labels.assign(size, ignoredLabel);
  out.lossMask.assign(size, 0);
  out.paddingMask.assign(size, 0);
  out.isRandom = out.truncated = out.tokens = 0;
}

void append(Sample &out, int32_t id, int32_t type) {
  size_t at = static_cast<size_t>(out.tokens++);
  out.text[at] = id;
  out.types[at] = type;
  out.paddingMask[at] = 1;
}

int64_t countTokens(const IndexedDataset &data, int64_t first, int64_t last) {
  int64_t tokens = 0;
  for (int64_t i = first; i < last; ++i)
    tokens += data.index().size(i);
  return tokens;
}

} // namespace

void SampleBuilder::build(const DataOptions &options, const Vocabulary &vocabulary,
                          const IndexedDataset &data, const SampleRow &row, int64_t number,
                          Sample &out) {
  int64_t sentences = row.last - row.first;
  if (row.first < 0 || row.last > data.index().sentences() ||
      sentences < (options.binaryHead ? 2 : 1) || row.target < 2 ||
      row.target > options.seqLength - 3)
    fail(
        "{}: sample {} has sentences {} to {} and a target of {} tokens, which do not fit the data "
        "and options",
        data.prefix(), number, row.first, row.last, row.target);
  prepare(out, options.seqLength, vocabulary.pad);
  RandomState random(static_cast<uint32_t>(options.seed + number));
  Segment a{row.first, row.last, 0, 0}, b{row.last, row.last, 0, 0};
  if (options.binaryHead) {
    a.last = b.first = row.first + (sentences >= 3 ? random.randint(1, sentences) : 1);
    if (random.random() < 0.5) {
      std::swap(a, b);
      out.isRandom = 1;
    }
  }
  a.length = countTokens(data, a.first, a.last);
  b.length = countTokens(data, b.first, b.last);
  truncate(a, b, row.target, random, out);
  append(out, vocabulary.cls, 0);
  place(a, data, vocabulary, 0, out);
  if (b.length > 0)
    place(b, data, vocabulary, 1, out);
  findWords(vocabulary, out);
  double count = std::max(1.0, std::nearbyint(out.tokens * options.maskProb));
  maskWords(std::min(options.maskProb * row.target, count), vocabulary, random, out);
}

void SampleBuilder::truncate(Segment &a, Segment &b, int64_t target, RandomState &random,
                             Sample &out) {
  while (a.length + b.length > target) {
    Segment &longer = a.length > b.length ? a : b; // a tie shortens b
    longer.skip += random.random() < 0.5;
    --longer.length;
    out.truncated = 1;
  }
}

void SampleBuilder::place(const Segment &segment, const IndexedDataset &data,
                          const Vocabulary &vocabulary, int32_t type, Sample &out) {
  int64_t skip = segment.skip, left = segment.length;
  for (int64_t i = segment.first; i < segment.last && left > 0; ++i) {
    int64_t size = data.index().size(i), count = std::min(size - skip, left);
    if (count <= 0) {
      skip -= size;
      continue;
    }
    size_t at = static_cast<size_t>(out.tokens), n = static_cast<size_t>(count);
    data.read(i, skip, std::span(out.text).subspan(at, n), vocabulary.size());
    std::fill_n(out.types.begin() + out.tokens, count, type);
    std::fill_n(out.paddingMask.begin() + out.tokens, count, 1);
    out.tokens += static_cast<int32_t>(count);
    left -= count;
    skip = 0;
  }
  append(out, vocabulary.sep, type);
}

void SampleBuilder::findWords(const Vocabulary &vocabulary, const Sample &out) {
  positions.clear();
  wordStart.clear();
  for (int32_t i = 0; i < out.tokens; ++i) {
    int32_t id = out.text[static_cast<size_t>(i)];
    if (id == vocabulary.cls || id == vocabulary.sep)
      continue;
    // A "##" piece joins the word before it, even across a [SEP].
    if (wordStart.empty() || !vocabulary.continues(id))
      wordStart.push_back(static_cast<int32_t>(positions.size()));
    positions.push_back(i);
  }
  wordStart.push_back(static_cast<int32_t>(positions.size()));
}

void SampleBuilder::maskWords(double limit, const Vocabulary &vocabulary, RandomState &random,
                              Sample &out) {
  int32_t words = static_cast<int32_t>(wordStart.size()) - 1, masked = 0;
  order.resize(static_cast<size_t>(words));
  std::iota(order.begin(), order.end(), 0);
  random.shuffle(std::span(order));
  for (int32_t w : order) {
    if (masked >= limit)
      break;
    int length = random.ngramLength();
    auto candidate = [&] {
      int32_t last = std::min(w + length, words);
      return std::span(positions).subspan(static_cast<size_t>(wordStart[static_cast<size_t>(w)]),
                                          static_cast<size_t>(wordStart[static_cast<size_t>(last)] -
                                                              wordStart[static_cast<size_t>(w)]));
    };
    auto tooMany = [&] { return masked + static_cast<double>(candidate().size()) > limit; };
    while (tooMany() && length > 1)
      --length;
    std::span<const int32_t> chosen = candidate();
    auto isMasked = [&](int32_t at) { return out.lossMask[static_cast<size_t>(at)] != 0; };
    if (tooMany() || std::any_of(chosen.begin(), chosen.end(), isMasked))
      continue;
    for (int32_t position : chosen) {
      size_t at = static_cast<size_t>(position);
      out.labels[at] = out.text[at];
      out.lossMask[at] = 1;
      if (random.random() < 0.8)
        out.text[at] = vocabulary.mask;
      else if (random.random() >= 0.5)
        out.text[at] = static_cast<int32_t>(random.randint(0, vocabulary.size()));
    }
    masked += static_cast<int32_t>(chosen.size());
  }
}

} // namespace seqpar::rt::data
