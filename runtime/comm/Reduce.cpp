#include "Reduce.h"

#include <algorithm>
#include <cstring>

namespace seqpar::rt {

namespace {

// Integers are added as unsigned numbers: their sum wraps instead of being undefined.
template <typename T>
void sum(std::span<const void *const> from, std::span<void *const> to, size_t begin, size_t end) {
  constexpr size_t kBlock = 4096 / sizeof(T);
  T total[kBlock];
  for (size_t at = begin; at < end; at += kBlock) {
    size_t count = std::min(kBlock, end - at);
    std::memcpy(total, static_cast<const T *>(from[0]) + at, count * sizeof(T));
    for (const void *member : from.subspan(1)) {
      const T *values = static_cast<const T *>(member) + at;
      for (size_t i = 0; i < count; ++i)
        total[i] += values[i];
    }
    for (void *member : to)
      std::memcpy(static_cast<T *>(member) + at, total, count * sizeof(T));
  }
}

} // namespace

void sumInOrder(std::span<const void *const> from, std::span<void *const> to, size_t begin,
                size_t end, ElementType type) {
  switch (type) {
  case ElementType::F32:
    return sum<float>(from, to, begin, end);
  case ElementType::F64:
    return sum<double>(from, to, begin, end);
  case ElementType::I32:
    return sum<uint32_t>(from, to, begin, end);
  case ElementType::I64:
    return sum<uint64_t>(from, to, begin, end);
  case ElementType::Byte:
    fail("bytes can be gathered, not added");
  }
}

} // namespace seqpar::rt
