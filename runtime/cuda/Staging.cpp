#include "seqpar/rt/cuda/Staging.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace seqpar::rt::cuda {

namespace {

/// Copies to the GPU keep the alignment that its copy engine likes.
constexpr size_t kGranule = 256;

} // namespace

Staging::Staging(const Context &context, const Stream &stream)
    : context(context), stream(stream), halves{Half(context), Half(context)} {
  for (Half &half : halves) {
    void *memory = nullptr;
    context.driver().check(context->cuMemHostAlloc(&memory, kHalfBytes, 0),
                           "cannot allocate pinned memory");
    half.memory = static_cast<char *>(memory);
  }
}

Staging::~Staging() {
  if (!context.tryUse())
    return;
  for (Half &half : halves)
    context->cuMemFreeHost(half.memory);
}

void Staging::nextHalf() {
  if (used) {
    halves[current].copied.record(stream);
    halves[current].inUse = true;
  }
  current = 1 - current;
  used = 0;
  if (std::exchange(halves[current].inUse, false))
    halves[current].copied.synchronize();
}

void Staging::toDevice(CUdeviceptr to, const void *from, size_t bytes) {
  const char *source = static_cast<const char *>(from);
  while (bytes) {
    if (used >= kHalfBytes || (used && bytes <= kHalfBytes && bytes > kHalfBytes - used))
      nextHalf();
    size_t part = std::min(bytes, kHalfBytes - used);
    char *staged = halves[current].memory + used;
    std::memcpy(staged, source, part);
    context.driver().check(context->cuMemcpyHtoDAsync(to, staged, part, stream),
                           "cannot copy to the GPU");
    used += (part + kGranule - 1) / kGranule * kGranule;
    source += part;
    to += part;
    bytes -= part;
  }
}

void Staging::toHost(void *to, CUdeviceptr from, size_t bytes) {
  char *target = static_cast<char *>(to);
  while (bytes) {
    nextHalf(); // whole and free
    size_t part = std::min(bytes, kHalfBytes);
    context.driver().check(context->cuMemcpyDtoHAsync(halves[current].memory, from, part, stream),
                           "cannot copy from the GPU");
    stream.synchronize();
    std::memcpy(target, halves[current].memory, part);
    target += part;
    from += part;
    bytes -= part;
  }
}

} // namespace seqpar::rt::cuda
