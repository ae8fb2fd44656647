//===- IndexedDataset.h - Megatron .idx/.bin pairs --------------*- C++ -*-===//
//
// Little-endian, no padding. P.bin holds the token ids of all sentences one after another. P.idx:
//   offset 0   9 bytes   magic "MMIDIDX\0\0"
//          9   uint64    version, 1
//         17   uint8     element type of .bin
//         18   uint64    S, number of sentences
//         26   uint64    D, entries of the document index = documents + 1
//         34   int32[S]  tokens of each sentence
//      34+4S   int64[S]  byte offset of each sentence in .bin
//     34+12S   int64[D]  sentences in the documents before each one; last entry S
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/data/MappedFile.h"

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace seqpar::rt::data {

enum class ElementType : uint8_t {
  uint8 = 1,
  int8 = 2,
  int16 = 3,
  int32 = 4,
  int64 = 5,
  uint16 = 8
};
int elementSize(ElementType type);
const char *elementName(ElementType type);

/// The arrays of an .idx file, checked. Does not own the bytes.
class IndexView {
public:
  static constexpr size_t headerSize = 34;

  IndexView() = default;
  /// Checks every rule of the format: header, file length, sizes not negative, pointers the running
  /// sum of the sizes, document index not falling from 0 to S, and that .bin has exactly the bytes
  /// the index speaks of. Throws Error with `name` and the offset of the first violation.
  /// `passed` is called now and then with a range of bytes that have been checked.
  IndexView(std::span<const std::byte> idx, uint64_t binBytes, const std::string &name,
            const std::function<void(size_t, size_t)> &passed = {});

  ElementType elementType() const { return type; }
  int64_t sentences() const { return sentenceCount; }
  int64_t documents() const { return documentCount; }
  int64_t tokens() const { return tokenCount; }
  /// Tokens of a sentence.
  int32_t size(int64_t sentence) const { return load<int32_t>(sizes + 4 * sentence); }
  /// Byte offset of a sentence in .bin.
  int64_t pointer(int64_t sentence) const { return load<int64_t>(pointers + 8 * sentence); }
  /// First sentence of a document; for document = documents() the number of sentences.
  int64_t firstSentence(int64_t document) const {
    return load<int64_t>(documentIndex + 8 * document);
  }

private:
  template <typename T> static T load(const std::byte *from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  void checkHeader(std::span<const std::byte> idx, const std::string &name);
  void checkSentences(uint64_t binBytes, const std::string &name,
                      const std::function<void(size_t, size_t)> &passed);
  void checkDocuments(const std::string &name);

  ElementType type = ElementType::uint16;
  int64_t sentenceCount = 0, documentCount = 0, tokenCount = 0;
  const std::byte *sizes = nullptr, *pointers = nullptr, *documentIndex = nullptr;
};

/// A memory-mapped pair. Const members may be called from several threads at once.
class IndexedDataset {
public:
  /// Opens PREFIX.idx and PREFIX.bin and checks them as IndexView does.
  explicit IndexedDataset(const std::string &prefix);

  const std::string &prefix() const { return name; }
  const IndexView &index() const { return view; }
  /// Copies the tokens of sentence `sentence` to `out` (index().size(sentence) entries) from token
  /// `skip` on, at most out.size() of them. Throws Error if an id is not in [0, limit).
  void read(int64_t sentence, int64_t skip, std::span<int32_t> out, int64_t limit) const;
  /// Takes both files out of the resident set (not out of the system's cache); they come back where
  /// they are read.
  void release() const {
    idx.release(0, idx.bytes().size());
    bin.release(0, bin.bytes().size());
  }

private:
  std::string name;
  MappedFile idx, bin;
  IndexView view;
};

/// Writes a pair; both files appear, whole, in finish(). Keeps nothing in memory.
class IndexedDatasetWriter {
public:
  IndexedDatasetWriter(const std::string &prefix, ElementType type);
  ~IndexedDatasetWriter();

  /// Appends sentences: `tokens` holds sizes[0] tokens of the first, then sizes[1], ...; every id
  /// must fit the element type.
  void addSentences(std::span<const int32_t> tokens, std::span<const int32_t> sizes);
  /// Ends documents of `counts[i]` sentences each, over sentences added before.
  void addDocuments(std::span<const int32_t> counts);
  int64_t sentences() const;
  int64_t documents() const;
  int64_t tokens() const;
  void finish();

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

/// The element type that Megatron picks: 16 bits for a vocabulary below 65500 ids, else 32.
ElementType elementTypeFor(int64_t vocabSize);

} // namespace seqpar::rt::data
