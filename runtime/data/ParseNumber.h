//===- ParseNumber.h - a whole text as a number -----------------*- C++ -*-===//
#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace seqpar::rt::data {

/// Nothing unless all of `text`, spaces around it aside, is one number.
template <typename T> std::optional<T> parseNumber(std::string_view text) {
  while (!text.empty() && text.front() == ' ')
    text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ')
    text.remove_suffix(1);
  if (text.starts_with('+'))
    text.remove_prefix(1);
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

} // namespace seqpar::rt::data
