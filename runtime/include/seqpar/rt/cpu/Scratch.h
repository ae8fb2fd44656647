//===- Scratch.h - aligned memory ------------------------------*- C++ -*-===//
#pragma once

#include <cstddef>
#include <utility>

namespace seqpar::rt {

/// Memory aligned to 64 bytes; from 4 MiB on to 2 MiB, and in huge pages where the system grants
/// them. Not cleared. Throws Error naming the size when there is not enough. Free with freeAligned.
void *allocateAligned(size_t bytes);
void freeAligned(void *memory);

/// A block of such memory that only grows.
class Scratch {
public:
  Scratch() = default;
  Scratch(Scratch &&other) noexcept
      : memory(std::exchange(other.memory, nullptr)), size(std::exchange(other.size, 0)) {}
  Scratch &operator=(Scratch &&) = delete;
  ~Scratch() { freeAligned(memory); }

  /// At least `bytes` bytes; what they held before may be lost.
  void *atLeast(size_t bytes);

private:
  void *memory = nullptr;
  size_t size = 0;
};

} // namespace seqpar::rt
