//===- MappedFile.h - a file mapped for reading -----------------*- C++ -*-===//
//
// Pages come from the operating system when they are touched, so a file may be larger than memory.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace seqpar::rt::data {

/// Owns the mapping of a whole file. The bytes stay at one address when the object is moved. A file
/// that another process shortens while it is mapped ends this process (SIGBUS), as with any mmap.
class MappedFile {
public:
  enum class Access { sequential, random };

  MappedFile() = default;
  /// Throws Error with the path if the file is missing, unreadable or not a regular file.
  MappedFile(const std::string &path, Access access);
  ~MappedFile();
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&other) noexcept;

  std::span<const std::byte> bytes() const { return {data, length}; }
  const std::string &path() const { return name; }
  /// Takes the pages that bytes [begin, end) touch out of the resident set; they come back when
  /// they are read again.
  void release(size_t begin, size_t end) const;

private:
  std::string name;
  const std::byte *data = nullptr;
  size_t length = 0;
};

} // namespace seqpar::rt::data
