//===- JsonText.h - the text of one JSON line -------------------*- C++ -*-===//
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace seqpar::rt::data {

/// What a key of a JSON object holds: one text, or a list of sentences.
struct TextValue {
  bool isList = false;
  /// One part, or the list's. UTF-8; a lone surrogate escape is a surrogate in three bytes. Valid
  /// until the reader's next call.
  std::vector<std::string_view> parts;
};

/// Reads JSON objects one at a time. Keeps its buffers, so each thread has its own.
class JsonTextReader {
public:
  /// Bytes that must be readable behind a line given to read() with padded = true.
  static constexpr size_t padding = 64;

  explicit JsonTextReader(std::vector<std::string> keys);
  ~JsonTextReader();

  /// Parses `line` and returns the values of the keys, in the order of the constructor. Of a
  /// repeated key the last counts. Throws Error, without a place, if the line is not one JSON
  /// object in UTF-8, lacks a key, or a value is neither a string nor a list of strings.
  const std::vector<TextValue> &read(std::string_view line, bool padded = false);

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

/// Parses a line that holds one JSON string, e.g. "a\u00e9". Throws Error as read() does.
std::string parseJsonString(std::string_view line);

} // namespace seqpar::rt::data
