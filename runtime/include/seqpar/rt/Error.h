//===- Error.h - the runtime's exception ------------------------*- C++ -*-===//
//
// Every failure of the runtime is an Error whose text is one lower-case line: what was expected,
// what was found, where, and what to do. Tools print it and exit with a non-zero status.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace seqpar::rt {

class Error : public std::runtime_error {
public:
  explicit Error(const std::string &message) : std::runtime_error(message) {}
};

/// What was asked for on the command line is impossible: tools exit with status 2.
class UsageError : public Error {
public:
  using Error::Error;
};

/// Throws an Error with the formatted message.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args &&...args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

} // namespace seqpar::rt
