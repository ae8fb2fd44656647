//===- Compile.h - from a model file to a program's bytes -------*- C++ -*-===//
#pragma once

#include "seqpar/Pipelines/Pipelines.h"

#include <cstdint>
#include <string>
#include <vector>

namespace seqpar::tool {

/// Whether the file is a compiled program (by its identifier) and not a model's text. Throws
/// rt::UsageError when it cannot be read.
bool isProgramFile(const std::string &path);

/// Parses and compiles the model. Throws rt::Error with the compiler's first error as one line.
std::vector<uint8_t> compileModel(const std::string &path, const CompileOptions &options);

/// Parses the model, runs the phases up to `last` and returns the module's text.
std::string compileToText(const std::string &path, const CompileOptions &options, const std::string &last);

/// Rows of the model's position table: the longest sequence. Throws rt::Error.
int64_t getLongestSequence(const std::string &path);

/// The most pipeline stages that the model can be cut into. Throws rt::Error.
int64_t getMostStages(const std::string &path, CompileOptions options);

} // namespace seqpar::tool
