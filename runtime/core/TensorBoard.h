//===- TensorBoard.h - scalars as TensorBoard reads them --------*- C++ -*-===//
//
// An event file: records of TensorFlow's TFRecord framing, each a protocol buffer `Event`.
//
//   record   uint64 length, uint32 masked crc32c of those 8 bytes, the event,
//            uint32 masked crc32c of the event; little-endian
//   Event    1: double wall_time  2: int64 step  3: string file_version  5: Summary
//   Summary  1: Value, repeated
//   Value    1: string tag  2: float simple_value
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace seqpar::rt {

/// CRC-32C (Castagnoli, polynomial 0x1EDC6F41, reflected).
uint32_t crc32c(std::string_view data);

struct Scalar {
  std::string_view tag;
  float value = 0;
};

/// One event file. Used by one thread.
class TensorBoard {
public:
  /// Makes the folder, and in it a file of a name that no other run has. Throws UsageError naming
  /// --tensorboard when that cannot be written.
  explicit TensorBoard(const std::string &folder);

  /// Writes the scalars of a step; they can be read at once. Throws Error when that fails.
  void write(int64_t step, std::span<const Scalar> scalars);

  const std::string &path() const { return thePath; }

private:
  struct Close {
    void operator()(std::FILE *file) const { std::fclose(file); }
  };

  void writeRecord(const std::string &event);

  std::string thePath;
  std::unique_ptr<std::FILE, Close> file;
};

} // namespace seqpar::rt
