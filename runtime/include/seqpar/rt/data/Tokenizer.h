//===- Tokenizer.h - BERT's WordPiece tokenizer -----------------*- C++ -*-===//
//
// BertWordPieceLowerCase and BertWordPieceCase of Megatron-LM: clean, split at white space, lower
// and strip accents, split off punctuation, then the longest pieces from the left. Categories are
// those of Unicode 14. docs/data.md lists the rules.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/data/Vocabulary.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace seqpar::rt::data {

struct AsciiBlock;

enum class Casing { lower, cased };
/// "BertWordPieceLowerCase" or "BertWordPieceCase"; throws Error for any other name.
Casing parseCasing(const std::string &tokenizerName);

/// Remembers words it has seen, so each thread has its own; a copy shares the piece table and
/// starts with a memory of the vocabulary's words only.
class Tokenizer {
public:
  /// A word of more code points becomes [UNK].
  static constexpr int maxWordLength = 200;

  /// `vocabulary` must outlive the tokenizer and its copies.
  Tokenizer(const Vocabulary &vocabulary, Casing casing);
  Tokenizer(const Tokenizer &other);
  ~Tokenizer();

  /// Appends the ids of `text` to `ids`. The text is UTF-8; surrogates, each in three bytes, are
  /// allowed. Throws Error with the offset of any other bytes, or for an unknown word when the
  /// vocabulary has no [UNK].
  void encode(std::string_view text, std::vector<int32_t> &ids);

  /// The words before WordPiece, for tests and for looking at what the rules do.
  std::vector<std::string> words(std::string_view text) const;

private:
  class PieceTable;
  struct Memory;

  int32_t *encodeWord(std::string_view word, int codePoints, int32_t *out) const;
  int32_t *encodeShort(const AsciiBlock &block, int32_t *out);
  int32_t *encodeLong(const char *&at, const char *end, int32_t *out);
  int32_t *encodePiece(std::string_view piece, size_t offset, int32_t *out);
  int32_t *unknown(std::string_view word, int32_t *out) const;

  const Vocabulary &vocabulary;
  Casing casing;
  std::shared_ptr<const PieceTable> pieces;
  int32_t asciiIds[128];
  std::unique_ptr<Memory> memory;
};

} // namespace seqpar::rt::data
