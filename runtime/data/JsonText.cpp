#include "seqpar/rt/data/JsonText.h"

#include "Unicode.h"
#include "seqpar/rt/Error.h"

#include <charconv>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>
#include <simdjson.h>

namespace seqpar::rt::data {

static_assert(JsonTextReader::padding >= simdjson::SIMDJSON_PADDING);

namespace {

// simdjson refuses the escape of a lone surrogate. Before such a line is parsed, "\ud800" becomes
// "\u0000sd800" and "\u0000" becomes "\u0000n"; unmark() undoes it in the parsed text.

bool mayHoldSurrogates(std::string_view line) {
  return line.find("\\ud") != std::string_view::npos || line.find("\\uD") != std::string_view::npos;
}

/// The code unit of an escape \uXXXX at `at`, if there is one.
std::optional<uint32_t> escapedUnit(std::string_view line, size_t at) {
  if (line.size() < at + 6 || line[at] != '\\' || line[at + 1] != 'u')
    return std::nullopt;
  uint32_t unit = 0;
  auto [end, error] = std::from_chars(line.data() + at + 2, line.data() + at + 6, unit, 16);
  if (error != std::errc() || end != line.data() + at + 6)
    return std::nullopt;
  return unit;
}

bool isHigh(uint32_t unit) { return unit >= 0xD800 && unit < 0xDC00; }
bool isLow(uint32_t unit) { return unit >= 0xDC00 && unit < 0xE000; }

std::string markSurrogates(std::string_view line) {
  std::string out;
  for (size_t at = 0; at < line.size();) {
    if (line[at] != '\\') {
      out += line[at++];
      continue;
    }
    auto unit = escapedUnit(line, at);
    if (!unit) {
      out += line.substr(at, 2);
      at += 2;
      continue;
    }
    auto second = isHigh(*unit) ? escapedUnit(line, at + 6) : std::nullopt;
    size_t length = second && isLow(*second) ? 12 : 6;
    if (length == 6 && (isHigh(*unit) || isLow(*unit)))
      out.append("\\u0000s").append(line.substr(at + 2, 4));
    else
      out += line.substr(at, length);
    if (*unit == 0)
      out += 'n';
    at += length;
  }
  return out;
}

std::string unmark(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    out += text[at];
    if (text[at] != '\0' || at + 1 >= text.size())
      continue;
    uint32_t unit = 0;
    if (text[++at] == 's' && at + 4 < text.size()) {
      std::from_chars(text.data() + at + 1, text.data() + at + 5, unit, 16);
      out.pop_back();
      appendUtf8(unit, out);
      at += 4;
    }
  }
  return out;
}

std::string shortened(std::string_view text) {
  return text.size() <= 40 ? std::string(text) : std::string(text.substr(0, 40)) + "...";
}

} // namespace

struct JsonTextReader::Impl {
  simdjson::dom::parser parser;
  std::vector<std::string> keys;
  std::vector<TextValue> values;
  std::vector<bool> found;
  std::deque<std::string> owned;
  bool marked = false;

  std::string_view text(std::string_view parsed) {
    return marked ? std::string_view(owned.emplace_back(unmark(parsed))) : parsed;
  }
  TextValue *target(std::string_view key);
  void readFast(simdjson::dom::element document);
  void readSlow(std::string_view line);
  [[noreturn]] void failValue(const TextValue *value) const;
};

TextValue *JsonTextReader::Impl::target(std::string_view key) {
  for (size_t k = 0; k < keys.size(); ++k)
    if (keys[k] == key) {
      found[k] = true;
      values[k] = {};
      return &values[k];
    }
  return nullptr;
}

void JsonTextReader::Impl::failValue(const TextValue *value) const {
  fail("key \"{}\": expected a string or a list of strings",
       keys[static_cast<size_t>(value - values.data())]);
}

void JsonTextReader::Impl::readFast(simdjson::dom::element document) {
  simdjson::dom::object object;
  if (document.get(object) != simdjson::SUCCESS)
    fail("expected a JSON object, found another value");
  for (auto [key, member] : object) {
    TextValue *value = target(marked ? std::string_view(unmark(key)) : key);
    if (!value)
      continue;
    std::string_view part;
    simdjson::dom::array list;
    if (member.get(part) == simdjson::SUCCESS) {
      value->parts.push_back(text(part));
    } else if (member.get(list) == simdjson::SUCCESS) {
      value->isList = true;
      for (simdjson::dom::element entry : list) {
        if (entry.get(part) != simdjson::SUCCESS)
          failValue(value);
        value->parts.push_back(text(part));
      }
    } else {
      failValue(value);
    }
  }
}

/// For numbers too large for simdjson, which are valid JSON.
void JsonTextReader::Impl::readSlow(std::string_view line) {
  nlohmann::json document = nlohmann::json::parse(line, nullptr, false);
  if (!document.is_object())
    fail("expected a JSON object, found something else or a number out of range");
  for (const auto &[key, member] : document.items()) {
    TextValue *value = target(marked ? unmark(key) : key);
    if (!value)
      continue;
    value->isList = member.is_array();
    auto add = [&](const nlohmann::json &entry) {
      if (!entry.is_string())
        failValue(value);
      const std::string &part = owned.emplace_back(entry.get<std::string>());
      value->parts.push_back(text(part));
    };
    if (value->isList)
      for (const nlohmann::json &entry : member)
        add(entry);
    else
      add(member);
  }
}

JsonTextReader::JsonTextReader(std::vector<std::string> keys) : impl(std::make_unique<Impl>()) {
  impl->values.resize(keys.size());
  impl->keys = std::move(keys);
}

JsonTextReader::~JsonTextReader() = default;

const std::vector<TextValue> &JsonTextReader::read(std::string_view line, bool padded) {
  impl->owned.clear();
  impl->found.assign(impl->keys.size(), false);
  impl->marked = mayHoldSurrogates(line);
  if (impl->marked) {
    line = impl->owned.emplace_back(markSurrogates(line));
    padded = false;
  }
  if (line.find_first_not_of(" \t") == std::string_view::npos)
    fail("expected a JSON object, found an empty line");
  simdjson::dom::element document;
  auto error = impl->parser.parse(line.data(), line.size(), !padded).get(document);
  if (error == simdjson::NUMBER_ERROR || error == simdjson::NUMBER_OUT_OF_RANGE)
    impl->readSlow(line);
  else if (error != simdjson::SUCCESS)
    fail("not valid JSON: {}: {}", simdjson::error_message(error),
         error == simdjson::UTF8_ERROR ? "convert the file to UTF-8" : shortened(line));
  else
    impl->readFast(document);
  for (size_t k = 0; k < impl->keys.size(); ++k)
    if (!impl->found[k])
      fail("the object has no key \"{}\"", impl->keys[k]);
  return impl->values;
}

std::string parseJsonString(std::string_view line) {
  std::string marked;
  if (mayHoldSurrogates(line))
    line = marked = markSurrogates(line);
  simdjson::dom::parser parser;
  std::string_view text;
  if (auto error = parser.parse(line.data(), line.size()).get(text); error != simdjson::SUCCESS)
    fail("expected a JSON string: {}: {}", simdjson::error_message(error), shortened(line));
  return marked.empty() ? std::string(text) : unmark(text);
}

} // namespace seqpar::rt::data
