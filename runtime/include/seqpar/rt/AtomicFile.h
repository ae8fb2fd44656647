//===- AtomicFile.h - a file that is whole or not there ---------*- C++ -*-===//
#pragma once

#include <cstddef>
#include <string>

namespace seqpar::rt {

/// Writes to a temporary file beside the target and renames it over the target in commit(). Without
/// commit() the target is untouched and nothing is left behind.
class AtomicFile {
public:
  /// Throws Error naming the path when its folder cannot be written.
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile &) = delete;
  AtomicFile &operator=(const AtomicFile &) = delete;

  void write(const void *data, size_t bytes);
  void write(const std::string &text) { write(text.data(), text.size()); }
  void commit();

private:
  std::string path, temporary;
  int descriptor = -1;
};

/// Throws UsageError naming the option when `path` could not be written later.
void checkWritable(const std::string &option, const std::string &path);

} // namespace seqpar::rt
