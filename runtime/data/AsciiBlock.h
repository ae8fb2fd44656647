//===- AsciiBlock.h - the ASCII word at a position, 16 bytes at once -*- C++ -*-===//
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace seqpar::rt::data {

/// The letters and digits that begin at a position.
struct AsciiBlock {
  /// How many there are, at most 16.
  unsigned length;
  /// Their bytes, zeros behind; upper-case letters lowered if so asked.
  uint64_t key[2];

  /// Looks at [at, end), never past the end.
  static AsciiBlock load(const char *at, const char *end, bool lower) {
    if (end - at >= 16)
      return fromSixteen(at, lower);
    char padded[16] = {};
    std::memcpy(padded, at, static_cast<size_t>(end - at));
    return fromSixteen(padded, lower);
  }

private:
#if defined(__SSE2__)
  static AsciiBlock fromSixteen(const char *at, bool lower) {
    // A signed comparison after a shift: x in [lo, lo + n) is (x - lo - 128) < n - 128.
    auto inRange = [](__m128i bytes, char lo, int n) {
      __m128i shifted = _mm_sub_epi8(bytes, _mm_set1_epi8(static_cast<char>(lo + 128)));
      return _mm_cmplt_epi8(shifted, _mm_set1_epi8(static_cast<char>(n - 128)));
    };
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(at));
    __m128i upper = inRange(bytes, 'A', 26);
    __m128i alnum =
        _mm_or_si128(_mm_or_si128(upper, inRange(bytes, 'a', 26)), inRange(bytes, '0', 10));
    unsigned length =
        static_cast<unsigned>(std::countr_one(static_cast<unsigned>(_mm_movemask_epi8(alnum))));
    if (lower)
      bytes = _mm_or_si128(bytes, _mm_and_si128(upper, _mm_set1_epi8(0x20)));
    static constexpr char keep[32] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                      -1, -1, -1, -1, -1, -1, -1, -1};
    bytes = _mm_and_si128(bytes,
                          _mm_loadu_si128(reinterpret_cast<const __m128i *>(keep + 16 - length)));
    AsciiBlock block;
    block.length = length;
    _mm_storeu_si128(reinterpret_cast<__m128i *>(block.key), bytes);
    return block;
  }
#else
  static AsciiBlock fromSixteen(const char *at, bool lower) {
    char word[16] = {};
    unsigned length = 0;
    for (; length < 16; ++length) {
      char c = at[length];
      bool upper = c >= 'A' && c <= 'Z';
      if (!upper && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9'))
        break;
      word[length] = upper && lower ? static_cast<char>(c + 32) : c;
    }
    AsciiBlock block;
    block.length = length;
    std::memcpy(block.key, word, sizeof word);
    return block;
  }
#endif
};

} // namespace seqpar::rt::data
