//===- Vocabulary.h - WordPiece vocabulary files ----------------*- C++ -*-===//
//
// UTF-8 text, one token a line, white space on both sides removed; id = line number from 0. [BOS]
// and [EOS] follow with the next ids if the file lacks them, as in Megatron.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace seqpar::rt::data {

class Vocabulary {
public:
  static Vocabulary load(const std::string &path);
  /// Throws Error with `name` and the line for bad UTF-8, a repeated token, or if [CLS], [SEP],
  /// [PAD] or [MASK] is missing.
  static Vocabulary parse(std::string_view text, const std::string &name);

  /// Ids, [BOS] and [EOS] included.
  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  const std::string &token(int32_t id) const { return tokens[id]; }
  /// -1 if there is no such token.
  int32_t find(std::string_view token) const;
  /// True for a piece that goes on a word ("##ing").
  bool continues(int32_t id) const { return continuation[id]; }
  const std::string &name() const { return fileName; }

  int32_t cls = -1, sep = -1, pad = -1, mask = -1;
  /// -1 if the file has none; then an unknown word is an error.
  int32_t unk = -1;

private:
  int32_t add(std::string token);

  std::string fileName;
  std::vector<std::string> tokens;
  std::vector<uint8_t> continuation;
  std::unordered_map<std::string, int32_t> ids;
};

/// The vocabulary size of a model: the next multiple of 128·tensorSize.
constexpr int64_t paddedVocabSize(int64_t size, int64_t tensorSize = 1) {
  int64_t multiple = 128 * tensorSize;
  return (size + multiple - 1) / multiple * multiple;
}

} // namespace seqpar::rt::data
