//===- Options.h - what the commands of seqpar-data share -------*- C++ -*-===//
#pragma once

#include "seqpar/rt/data/PretrainingData.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <functional>
#include <stdexcept>
#include <string>

namespace seqpar::tool {

/// A wrong command line: exit status 2. The text names the option.
class UsageError : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

template <typename... Args>
[[noreturn]] void usage(fmt::format_string<Args...> format, Args &&...args) {
  throw UsageError(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws UsageError naming `option` unless `path` is a readable file.
void requireFile(const char *option, const std::string &path);
/// The same for PREFIX.idx and PREFIX.bin.
void requireDataset(const char *option, const std::string &prefix);

/// Adds --data-path, --vocab, --splits and the other options of a data set.
void addDataOptions(CLI::App &command, rt::data::DataOptions &options);
/// Throws UsageError for values out of range and missing files.
void checkDataOptions(const rt::data::DataOptions &options);

/// Each adds a command; CLI11 calls its action when the command is given.
void addPreprocess(CLI::App &app);
void addTokenize(CLI::App &app);
void addSample(CLI::App &app);
void addIndex(CLI::App &app);
void addInspect(CLI::App &app);
void addVerify(CLI::App &app);

} // namespace seqpar::tool
