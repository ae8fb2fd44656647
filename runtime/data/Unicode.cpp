#include "Unicode.h"

#include <algorithm>
#include <iterator>

namespace seqpar::rt::data {

namespace {

struct Range {
  char32_t first, last;
};

template <size_t N> bool contains(const Range (&ranges)[N], char32_t c) {
  auto above =
      std::upper_bound(std::begin(ranges), std::end(ranges), c,
                       [](char32_t value, const Range &range) { return value < range.first; });
  return above != std::begin(ranges) && c <= std::prev(above)->last;
}

/// Assigned in Unicode 15.0 and not before.
constexpr Range addedInUnicode15[] = {
    {0xCF3, 0xCF3},     {0xECE, 0xECE},     {0x10EFD, 0x10EFF}, {0x1123F, 0x11241},
    {0x11B00, 0x11B09}, {0x11F00, 0x11F10}, {0x11F12, 0x11F3A}, {0x11F3E, 0x11F59},
    {0x1342F, 0x1342F}, {0x13439, 0x13455}, {0x1B132, 0x1B132}, {0x1B155, 0x1B155},
    {0x1D2C0, 0x1D2D3}, {0x1DF25, 0x1DF2A}, {0x1E030, 0x1E06D}, {0x1E08F, 0x1E08F},
    {0x1E4D0, 0x1E4F9}, {0x1F6DC, 0x1F6DC}, {0x1F774, 0x1F776}, {0x1F77B, 0x1F77F},
    {0x1F7D9, 0x1F7D9}, {0x1FA75, 0x1FA77}, {0x1FA87, 0x1FA88}, {0x1FAAD, 0x1FAAF},
    {0x1FABB, 0x1FABD}, {0x1FABF, 0x1FABF}, {0x1FACE, 0x1FACF}, {0x1FADA, 0x1FADB},
    {0x1FAE8, 0x1FAE8}, {0x1FAF7, 0x1FAF8}, {0x2B739, 0x2B739}, {0x31350, 0x323AF}};

/// Cased by Other_Lowercase or Other_Uppercase. Those that are Case_Ignorable too (category Lm, Mn)
/// are left out, because the sigma rule passes over them before it asks.
constexpr Range otherCased[] = {{0xAA, 0xAA},      {0xBA, 0xBA},       {0x2160, 0x217F},
                                {0x24B6, 0x24E9},  {0x1F130, 0x1F149}, {0x1F150, 0x1F169},
                                {0x1F170, 0x1F189}};

/// Case_Ignorable by Word_Break = MidLetter, MidNumLet or Single_Quote.
constexpr char32_t otherCaseIgnorable[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,
                                           0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                           0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};

bool isCased(char32_t c) {
  switch (category(c)) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
    return true;
  default:
    return contains(otherCased, c);
  }
}

bool isCaseIgnorable(char32_t c) {
  switch (category(c)) {
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_ME:
  case UTF8PROC_CATEGORY_CF:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_SK:
    return true;
  default:
    return std::find(std::begin(otherCaseIgnorable), std::end(otherCaseIgnorable), c) !=
           std::end(otherCaseIgnorable);
  }
}

/// Unicode's Final_Sigma condition at position `at`.
bool isFinalSigma(const std::u32string &text, size_t at) {
  size_t before = at, after = at + 1;
  while (before > 0 && isCaseIgnorable(text[before - 1]))
    --before;
  if (before == 0 || !isCased(text[before - 1]))
    return false;
  while (after < text.size() && isCaseIgnorable(text[after]))
    ++after;
  return after == text.size() || !isCased(text[after]);
}

int combiningClass(char32_t c) {
  if (contains(addedInUnicode15, c))
    return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

/// Canonical ordering: sorts each run of combining marks by class, keeping equal ones in order.
void reorderMarks(std::u32string &text, size_t from) {
  std::vector<uint64_t> keys; // class, place and code point in one number
  for (size_t begin = from; begin < text.size(); ++begin) {
    size_t end = begin;
    keys.clear();
    for (; end < text.size() && text[end] >= 0x80; ++end) {
      uint64_t rank = static_cast<uint64_t>(combiningClass(text[end]));
      if (rank == 0)
        break;
      keys.push_back(rank << 56 | static_cast<uint64_t>(end - begin) << 21 | text[end]);
    }
    std::sort(keys.begin(), keys.end());
    for (size_t i = 0; i < keys.size(); ++i)
      text[begin + i] = static_cast<char32_t>(keys[i] & 0x1FFFFF);
    begin = end;
  }
}

} // namespace

utf8proc_category_t category(char32_t c) {
  if (c >= addedInUnicode15[0].first && contains(addedInUnicode15, c))
    return UTF8PROC_CATEGORY_CN;
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

int32_t decode(std::string_view text, size_t &at) {
  auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  auto tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  uint32_t lead = byte(0);
  size_t room = text.size() - at;
  if (lead < 0x80) {
    at += 1;
    return static_cast<int32_t>(lead);
  }
  if (lead >= 0xC2 && lead < 0xE0 && room >= 2 && tail(1)) {
    int32_t c = static_cast<int32_t>((lead & 0x1F) << 6 | (byte(1) & 0x3F));
    at += 2;
    return c;
  }
  if ((lead & 0xF0) == 0xE0 && room >= 3 && tail(1) && tail(2)) {
    int32_t c =
        static_cast<int32_t>((lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F));
    if (c < 0x800)
      return -1;
    at += 3;
    return c;
  }
  if ((lead & 0xF8) == 0xF0 && room >= 4 && tail(1) && tail(2) && tail(3)) {
    int32_t c = static_cast<int32_t>((lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 |
                                     (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F));
    if (c < 0x10000 || c > 0x10FFFF)
      return -1;
    at += 4;
    return c;
  }
  return -1;
}

void appendUtf8(char32_t c, std::string &out) {
  auto put = [&](uint32_t value) { out.push_back(static_cast<char>(value)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

size_t firstInvalidUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    size_t start = at;
    int32_t c = decode(text, at);
    if (c < 0 || (c >= 0xD800 && c < 0xE000))
      return start;
  }
  return text.size();
}

bool isWhiteSpace(char32_t c) {
  if (c < 0x80)
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0x2028 || c == 0x2029 || category(c) == UTF8PROC_CATEGORY_ZS;
}

std::string_view stripWhiteSpace(std::string_view text) {
  size_t begin = text.size(), end = 0;
  for (size_t at = 0; at < text.size();) {
    size_t start = at;
    if (!isWhiteSpace(static_cast<char32_t>(decode(text, at)))) {
      begin = std::min(begin, start);
      end = at;
    }
  }
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

bool isPunctuation(char32_t c) {
  if (c < 0x80)
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
           (c >= 123 && c <= 126);
  switch (category(c)) {
  case UTF8PROC_CATEGORY_PC:
  case UTF8PROC_CATEGORY_PD:
  case UTF8PROC_CATEGORY_PS:
  case UTF8PROC_CATEGORY_PE:
  case UTF8PROC_CATEGORY_PI:
  case UTF8PROC_CATEGORY_PF:
  case UTF8PROC_CATEGORY_PO:
    return true;
  default:
    return false;
  }
}

bool isCjk(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

void appendLower(const std::u32string &text, std::u32string &out) {
  for (size_t i = 0; i < text.size(); ++i) {
    char32_t c = text[i];
    if (c == 0x130) { // the only full lower-casing longer than one code point
      out += U"i\u0307";
    } else if (c == 0x3A3) {
      out += isFinalSigma(text, i) ? U'\u03C2' : U'\u03C3';
    } else if (c < 0x80) {
      out += c >= 'A' && c <= 'Z' ? c + 32 : c;
    } else {
      out += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
    }
  }
}

void appendStripped(const std::u32string &text, std::u32string &out) {
  size_t start = out.size();
  for (char32_t c : text) {
    if (c < 0x80) {
      out += c;
      continue;
    }
    utf8proc_int32_t parts[16];
    int boundary = 0;
    utf8proc_ssize_t count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 16,
                                                     UTF8PROC_DECOMPOSE, &boundary);
    if (count < 1 || count > 16) { // not a code point utf8proc decomposes, e.g. a surrogate
      parts[0] = static_cast<utf8proc_int32_t>(c);
      count = 1;
    }
    for (utf8proc_ssize_t i = 0; i < count; ++i)
      out += static_cast<char32_t>(parts[i]);
  }
  reorderMarks(out, start);
  auto isMark = [](char32_t c) { return c >= 0x80 && category(c) == UTF8PROC_CATEGORY_MN; };
  out.erase(std::remove_if(out.begin() + static_cast<ptrdiff_t>(start), out.end(), isMark),
            out.end());
}

} // namespace seqpar::rt::data
