//===- Preprocess.h - JSON lines to .idx/.bin -------------------*- C++ -*-===//
//
// Reads a file of JSON objects, one a line, in blocks; workers tokenize the blocks and the results
// are written in the order of the input, so the output does not depend on the number of workers.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/data/IndexedDataset.h"
#include "seqpar/rt/data/SentenceSplitter.h"
#include "seqpar/rt/data/Tokenizer.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace seqpar::rt::data {

struct PreprocessProgress {
  int64_t bytes = 0;      ///< read and written out so far
  int64_t totalBytes = 0; ///< 0 if not known
  int64_t lines = 0, documents = 0, sentences = 0, tokens = 0;
};

struct PreprocessOptions {
  /// A file, or "-" for the standard input.
  std::string input;
  /// Each key K gives OUTPUTPREFIX_K_sentence.bin/.idx, or ..._K_document with
  /// SentenceSplitter::none.
  std::string outputPrefix;
  std::string vocabFile;
  Casing casing = Casing::lower;
  std::vector<std::string> keys = {"text"};
  SentenceSplitter splitter = SentenceSplitter::prose;
  /// Removes the first character of a text if it is an ASCII punctuation mark.
  bool dropLeadingPunctuation = false;
  /// Nothing: uint16 for vocabularies below 65500, else int32.
  std::optional<ElementType> elementType;
  int workers = 1;
  /// Called now and then on the calling thread.
  std::function<void(const PreprocessProgress &)> progress;
};

struct PreprocessResult {
  std::vector<std::string> prefixes; ///< of the data sets, one for each key
  PreprocessProgress counts;         ///< documents, sentences and tokens of all keys together
};

/// Throws Error with file and line of the first bad line; then no data set appears.
PreprocessResult preprocess(const PreprocessOptions &options);

} // namespace seqpar::rt::data
