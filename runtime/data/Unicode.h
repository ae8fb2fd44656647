//===- Unicode.h - characters as Python 3.11 sees them ----------*- C++ -*-===//
//
// Character data from utf8proc, brought back to Unicode 14, and full lower-casing as Python's
// str.lower(). Texts are UTF-8 in which surrogates, in three bytes each, may stand.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utf8proc.h>
#include <vector>

namespace seqpar::rt::data {

/// General category in Unicode 14; what came later is unassigned.
utf8proc_category_t category(char32_t c);

/// Decodes the code point at text[at], which must be inside, and moves `at` past it; -1 (and `at`
/// stays) for bytes that are not UTF-8 or a surrogate in three bytes.
int32_t decode(std::string_view text, size_t &at);
void appendUtf8(char32_t c, std::string &out);
/// Offset of the first byte that is not UTF-8 (surrogates count as invalid), or text.size().
size_t firstInvalidUtf8(std::string_view text);

/// Python's str.isspace().
bool isWhiteSpace(char32_t c);
/// Python's str.strip() of valid UTF-8.
std::string_view stripWhiteSpace(std::string_view text);
bool isPunctuation(char32_t c);
bool isCjk(char32_t c);

/// Python's str.lower(): appends to `out`.
void appendLower(const std::u32string &text, std::u32string &out);
/// Canonical decomposition (NFD) without code points of category Mn: appends to `out`.
void appendStripped(const std::u32string &text, std::u32string &out);

} // namespace seqpar::rt::data
