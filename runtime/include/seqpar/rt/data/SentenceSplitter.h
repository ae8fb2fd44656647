//===- SentenceSplitter.h - sentences of a text -----------------*- C++ -*-===//
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace seqpar::rt::data {

enum class SentenceSplitter {
  /// Each line is a sentence.
  newline,
  /// The whole text is one sentence.
  none,
  /// Plain prose: after . ! ? before white space and something that can begin a sentence, unless an
  /// abbreviation or an initial goes before; and at blank lines. Not what NLTK's Punkt gives.
  prose
};

/// "newline", "none" or "prose"; throws Error for any other name.
SentenceSplitter parseSentenceSplitter(const std::string &name);

/// Appends the sentences of `text`, in order, as parts of it; some may be blank.
void splitSentences(std::string_view text, SentenceSplitter splitter,
                    std::vector<std::string_view> &sentences);

} // namespace seqpar::rt::data
