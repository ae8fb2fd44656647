#include "seqpar/rt/data/SentenceSplitter.h"

#include "Unicode.h"
#include "seqpar/rt/Error.h"

#include <algorithm>
#include <cctype>
#include <iterator>

namespace seqpar::rt::data {

namespace {

/// Words after which a full stop seldom ends a sentence, lower-case, in alphabetical order.
constexpr std::string_view abbreviations[] = {
    "adm", "al",  "apr", "aug",  "ave", "brig", "capt", "cf",   "co",  "col",  "corp",   "dec",
    "dr",  "e.g", "ed",  "eds",  "est", "feb",  "fig",  "figs", "ft",  "gen",  "gov",    "hon",
    "i.e", "inc", "jan", "jr",   "jul", "jun",  "lt",   "ltd",  "maj", "mar",  "messrs", "mr",
    "mrs", "ms",  "mt",  "no",   "nos", "nov",  "oct",  "p",    "ph",  "pp",   "prof",   "rep",
    "rev", "sen", "sep", "sept", "sgt", "sr",   "st",   "viz",  "vol", "vols", "vs"};

bool isSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

bool isAbbreviation(std::string_view before) {
  size_t start = before.size();
  while (start > 0 && !isSpace(before[start - 1]) && before[start - 1] != '(' &&
         before[start - 1] != '"')
    --start;
  std::string word(before.substr(start));
  if (word.size() == 1 && std::isupper(static_cast<unsigned char>(word[0])))
    return word != "I"; // an initial
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::binary_search(std::begin(abbreviations), std::end(abbreviations), word);
}

/// Moves `at` past quotes and brackets that close what the full stop ended.
void skipClosing(std::string_view text, size_t &at) {
  while (at < text.size()) {
    size_t next = at;
    int32_t c = decode(text, next);
    bool closes =
        c == '"' || c == '\'' || c == ')' || c == ']' || c == 0x2019 || c == 0x201D || c == 0xBB;
    if (!closes)
      return;
    at = next;
  }
}

bool canBeginSentence(std::string_view rest) {
  size_t at = 0;
  int32_t c = decode(rest, at);
  return c >= 0 && category(static_cast<char32_t>(c)) != UTF8PROC_CATEGORY_LL && c != ',' &&
         c != ';' && c != ':';
}

/// If a sentence ends with the full stop at text[at], the place behind it; else `at`.
size_t endOfSentence(std::string_view text, size_t at) {
  size_t next = at;
  while (next < text.size() && (text[next] == '.' || text[next] == '!' || text[next] == '?'))
    ++next;
  bool abbreviated = next == at + 1 && text[at] == '.' && isAbbreviation(text.substr(0, at));
  skipClosing(text, next);
  size_t following = next;
  while (following < text.size() && isSpace(text[following]))
    ++following;
  if (following == text.size())
    return next;
  if (abbreviated || following == next || !canBeginSentence(text.substr(following)))
    return at;
  return next;
}

bool isBlankLine(std::string_view text, size_t newline) {
  size_t at = newline + 1;
  while (at < text.size() && text[at] != '\n' && isSpace(text[at]))
    ++at;
  return at < text.size() && text[at] == '\n';
}

void splitProse(std::string_view text, std::vector<std::string_view> &sentences) {
  size_t start = 0;
  auto cut = [&](size_t end) {
    if (end > start)
      sentences.push_back(text.substr(start, end - start));
    start = end;
  };
  for (size_t at = 0; at < text.size();) {
    char c = text[at];
    if (c == '.' || c == '!' || c == '?') {
      size_t end = endOfSentence(text, at);
      if (end > at)
        cut(end);
      at = std::max(end, at + 1);
    } else if (c == '\n' && isBlankLine(text, at)) {
      cut(++at);
    } else if (std::string_view mark = text.substr(at, 3);
               mark == "\u3002" || mark == "\uFF01" || mark == "\uFF1F") {
      cut(at += 3);
    } else {
      ++at;
    }
  }
  cut(text.size());
}

} // namespace

SentenceSplitter parseSentenceSplitter(const std::string &name) {
  if (name == "newline")
    return SentenceSplitter::newline;
  if (name == "none")
    return SentenceSplitter::none;
  if (name == "prose")
    return SentenceSplitter::prose;
  fail("sentence splitter \"{}\" is unknown; expected newline, none or prose", name);
}

void splitSentences(std::string_view text, SentenceSplitter splitter,
                    std::vector<std::string_view> &sentences) {
  switch (splitter) {
  case SentenceSplitter::none:
    sentences.push_back(text);
    return;
  case SentenceSplitter::prose:
    return splitProse(text, sentences);
  case SentenceSplitter::newline:
    for (size_t begin = 0; begin <= text.size();) {
      size_t end = std::min(text.find('\n', begin), text.size());
      sentences.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }
}

} // namespace seqpar::rt::data
