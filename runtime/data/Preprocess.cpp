#include "seqpar/rt/data/Preprocess.h"

#include "LineBlocks.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/data/JsonText.h"

#include <cctype>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

namespace seqpar::rt::data {

namespace {

/// What a block gives for one key.
struct Tokens {
  std::vector<int32_t> ids, sentenceSizes, documentSizes;
};

struct BlockResult {
  std::vector<Tokens> keys;
  int64_t bytes = 0, lines = 0;
  /// Set if line number `lines` of the block is bad.
  std::optional<std::string> error;
};

/// Turns blocks of lines into tokens; one for each thread.
class BlockEncoder {
public:
  BlockEncoder(const PreprocessOptions &options, const Tokenizer &tokenizer)
      : options(options), tokenizer(tokenizer), reader(options.keys) {}

  BlockResult encode(const LineBlock &block) {
    BlockResult result;
    result.bytes = static_cast<int64_t>(block.size);
    result.keys.resize(options.keys.size());
    std::string_view rest(block.bytes.get(), block.size);
    try {
      while (!rest.empty()) {
        ++result.lines;
        const auto &values = reader.read(takeLine(rest), true);
        for (size_t k = 0; k < values.size(); ++k)
          encodeDocument(values[k], result.keys[k]);
      }
    } catch (const Error &error) {
      result.error = error.what();
    }
    return result;
  }

private:
  void encodeDocument(const TextValue &value, Tokens &out) {
    sentences.clear();
    if (value.isList) {
      sentences = value.parts;
    } else {
      std::string_view text = value.parts[0];
      if (options.dropLeadingPunctuation && !text.empty() &&
          std::ispunct(static_cast<unsigned char>(text[0])))
        text.remove_prefix(1);
      splitSentences(text, options.splitter, sentences);
    }
    int32_t kept = 0;
    for (std::string_view sentence : sentences) {
      size_t before = out.ids.size();
      tokenizer.encode(sentence, out.ids);
      if (size_t size = out.ids.size() - before) {
        out.sentenceSizes.push_back(static_cast<int32_t>(size));
        ++kept;
      }
    }
    if (kept > 0)
      out.documentSizes.push_back(kept);
  }

  const PreprocessOptions &options;
  Tokenizer tokenizer;
  JsonTextReader reader;
  std::vector<std::string_view> sentences;
};

/// Threads that encode blocks; results are taken in the order the blocks were given.
class EncoderPool {
public:
  EncoderPool(const PreprocessOptions &options, const Tokenizer &tokenizer) {
    for (int i = 0; i < options.workers; ++i)
      threads.emplace_back([this, &options, &tokenizer] {
        BlockEncoder encoder(options, tokenizer);
        work(encoder);
      });
  }

  ~EncoderPool() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
    }
    changed.notify_all();
    for (std::thread &thread : threads)
      thread.join();
  }

  void give(LineBlock block) {
    {
      std::lock_guard lock(mutex);
      blocks.emplace_back(given++, std::move(block));
    }
    changed.notify_all();
  }

  bool empty() const { return taken == given; }
  int64_t pending() const { return given - taken; }

  /// Waits for the oldest block not taken yet.
  BlockResult take() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return results.contains(taken); });
    auto node = results.extract(taken++);
    return std::move(node.mapped());
  }

private:
  void work(BlockEncoder &encoder) {
    while (true) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return stopping || !blocks.empty(); });
      if (stopping)
        return;
      auto [number, block] = std::move(blocks.front());
      blocks.pop_front();
      lock.unlock();
      BlockResult result = encoder.encode(block);
      lock.lock();
      results.emplace(number, std::move(result));
      lock.unlock();
      changed.notify_all();
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::pair<int64_t, LineBlock>> blocks;
  std::map<int64_t, BlockResult> results;
  int64_t given = 0, taken = 0;
  bool stopping = false;
  std::vector<std::thread> threads;
};

void write(const BlockResult &block, const PreprocessOptions &options,
           std::vector<std::unique_ptr<IndexedDatasetWriter>> &writers,
           PreprocessProgress &counts) {
  counts.lines += block.lines;
  counts.bytes += block.bytes;
  if (block.error)
    fail("{}:{}: {}", options.input, counts.lines, *block.error);
  counts.documents = counts.sentences = counts.tokens = 0;
  for (size_t k = 0; k < writers.size(); ++k) {
    writers[k]->addSentences(block.keys[k].ids, block.keys[k].sentenceSizes);
    writers[k]->addDocuments(block.keys[k].documentSizes);
    counts.documents += writers[k]->documents();
    counts.sentences += writers[k]->sentences();
    counts.tokens += writers[k]->tokens();
  }
  if (options.progress)
    options.progress(counts);
}

} // namespace

PreprocessResult preprocess(const PreprocessOptions &options) {
  if (options.workers < 1 || options.workers > 1024)
    fail("workers: expected 1 to 1024, found {}", options.workers);
  if (options.keys.empty())
    fail("json keys: expected at least one");
  Vocabulary vocabulary = Vocabulary::load(options.vocabFile);
  Tokenizer tokenizer(vocabulary, options.casing);
  ElementType type = options.elementType.value_or(elementTypeFor(vocabulary.size()));
  if (type == ElementType::uint16 && vocabulary.size() > 65536)
    fail("{}: {} ids do not fit uint16 elements", options.vocabFile, vocabulary.size());
  LineBlocks input(options.input);
  PreprocessResult result;
  result.counts.totalBytes = input.totalBytes();
  std::vector<std::unique_ptr<IndexedDatasetWriter>> writers;
  const char *level = options.splitter == SentenceSplitter::none ? "document" : "sentence";
  for (const std::string &key : options.keys) {
    result.prefixes.push_back(fmt::format("{}_{}_{}", options.outputPrefix, key, level));
    writers.push_back(std::make_unique<IndexedDatasetWriter>(result.prefixes.back(), type));
  }
  EncoderPool pool(options, tokenizer);
  for (bool more = true; more || !pool.empty();) {
    while (more && pool.pending() < 2 * options.workers + 1) {
      LineBlock block = input.next();
      more = block.size > 0;
      if (more)
        pool.give(std::move(block));
    }
    if (!pool.empty())
      write(pool.take(), options, writers, result.counts);
  }
  for (size_t k = 0; k < writers.size(); ++k)
    if (writers[k]->documents() == 0)
      fail("{}: no text with a token under the key \"{}\" in {} lines; nothing was written",
           options.input, options.keys[k], result.counts.lines);
  for (auto &writer : writers)
    writer->finish();
  return result;
}

} // namespace seqpar::rt::data
