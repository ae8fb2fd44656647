//===- Text.h - indented lines of CUDA C++ ----------------------*- C++ -*-===//
#pragma once

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FormatVariadic.h"

#include <string>

namespace seqpar::cuda {

/// Source text, two spaces of indentation for each block.
class Text {
public:
  template <typename... Args> void line(const char *format, Args &&...args) {
    add(llvm::formatv(format, std::forward<Args>(args)...).str());
  }
  /// A line as it is: braces have no meaning.
  void add(llvm::StringRef text);
  void blank() { text += '\n'; }

  /// A line that ends with "{", and the lines after it indented.
  void open(llvm::StringRef head);
  void close();

  const std::string &get() const { return text; }

private:
  std::string text;
  unsigned depth = 0;
};

/// Helper functions that the text of all kernels starts with, and the headers for their types.
std::string makePreamble(bool usesBfloat, bool usesHalf);

} // namespace seqpar::cuda
