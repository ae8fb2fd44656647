//===- LineBlocks.h - a text file in blocks of whole lines ------*- C++ -*-===//
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace seqpar::rt::data {

/// Some whole lines. At least JsonTextReader::padding bytes behind them can be read.
struct LineBlock {
  std::unique_ptr<char[]> bytes;
  size_t size = 0;
};

class LineBlocks {
public:
  /// Opens a file, or the standard input for "-". Throws Error with the path if it cannot.
  explicit LineBlocks(const std::string &path);
  ~LineBlocks();
  LineBlocks(const LineBlocks &) = delete;
  LineBlocks &operator=(const LineBlocks &) = delete;

  /// 0 if the size is not known beforehand.
  int64_t totalBytes() const { return total; }
  /// The next lines; size 0 at the end. Throws Error for a line longer than maxLine.
  LineBlock next();

private:
  static constexpr size_t blockSize = 1 << 20, maxLine = 1 << 30;
  size_t fill(char *to, size_t room);

  std::string path;
  int descriptor = -1;
  int64_t total = 0;
  bool ended = false;
  std::string rest; // the beginning of a line whose end was not in the last block
};

/// Takes the next line off `text`; lines end with LF, CR or CRLF.
std::string_view takeLine(std::string_view &text);

} // namespace seqpar::rt::data
