//===- OutputFile.h - a file that appears only when it is whole -*- C++ -*-===//
//
// Writes go to a temporary name in the same folder; commit() renames it. Without commit() the
// temporary file is removed, so a failed run leaves nothing that looks whole.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace seqpar::rt::data {

class OutputFile {
public:
  /// Creates "PATH.PID.tmp", with a number after PID if needed. Throws Error if it cannot.
  explicit OutputFile(std::string path);
  ~OutputFile();
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;

  /// Appends; buffered. Throws Error that names the file, e.g. when the disk is full.
  void write(const void *data, size_t size);
  template <typename T> void writeValue(const T &value) {
    static_assert(std::is_trivially_copyable_v<T>);
    write(&value, sizeof value);
  }
  template <typename T> void writeArray(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    write(values.data(), values.size_bytes());
  }
  uint64_t written() const { return total; }

  /// Hands everything written so far to `visit` in blocks, in order.
  template <typename Visit> void replay(Visit visit) {
    flush();
    std::vector<char> block(blockSize);
    for (uint64_t at = 0; at < total;)
      if (size_t size = readAt(at, block)) {
        visit(std::span<const char>(block.data(), size));
        at += size;
      }
  }

  /// Writes what is buffered to disk and gives the file its name, over an older file if there is
  /// one.
  void commit();

private:
  /// A multiple of 8, so that a block never cuts an array element.
  static constexpr size_t blockSize = 1 << 20;
  void flush();
  size_t readAt(uint64_t offset, std::span<char> block);

  std::string path, temporary;
  int descriptor = -1;
  uint64_t total = 0;
  std::vector<char> buffer;
};

} // namespace seqpar::rt::data
