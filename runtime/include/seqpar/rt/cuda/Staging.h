//===- Staging.h - copies between host and GPU ------------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/cuda/Context.h"

#include <array>
#include <cstddef>

namespace seqpar::rt::cuda {

/// Copies through pinned memory, so that a copy to the GPU neither waits for the GPU nor keeps the
/// caller's memory. Two halves: while one is being copied, the other is filled.
class Staging {
public:
  static constexpr size_t kHalfBytes = size_t(1) << 20;

  Staging(const Context &context, const Stream &stream);
  ~Staging();
  Staging(const Staging &) = delete;
  Staging &operator=(const Staging &) = delete;

  /// Ordered by the stream; `from` is free again on return.
  void toDevice(CUdeviceptr to, const void *from, size_t bytes);
  /// `to` is valid on return.
  void toHost(void *to, CUdeviceptr from, size_t bytes);

private:
  struct Half {
    explicit Half(const Context &context) : copied(context) {}
    char *memory = nullptr;
    Event copied; ///< of the last copy from it
    bool inUse = false;
  };
  void nextHalf();

  const Context &context;
  const Stream &stream;
  std::array<Half, 2> halves;
  size_t current = 0, used = 0;
};

} // namespace seqpar::rt::cuda
