//===- Targets.h - what the fuzzers run -------------------------*- C++ -*-===//
//
// Each takes any bytes, lets one parser read them, and accepts an Error as an answer. Anything else
// (a crash, a sanitizer's finding, another exception, a broken promise) ends the process.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <cstdint>

namespace seqpar::test {

/// An .idx file. The first 4 bytes say how long the .bin file is.
void fuzzIdx(const uint8_t *data, size_t size);
/// A line of JSON text for preprocessing.
void fuzzJson(const uint8_t *data, size_t size);
/// A vocabulary file.
void fuzzVocab(const uint8_t *data, size_t size);
/// A text to split and tokenize, lower-case and cased.
void fuzzText(const uint8_t *data, size_t size);
/// A sample map's cache file.
void fuzzMap(const uint8_t *data, size_t size);
/// A program file.
void fuzzProgram(const uint8_t *data, size_t size);
/// A safetensors file.
void fuzzSafetensors(const uint8_t *data, size_t size);
/// What a process that is no process of the run sends to the first one.
void fuzzGreeting(const uint8_t *data, size_t size);

struct FuzzTarget {
  const char *name; ///< also the folder of its inputs in test/Fuzz/corpus
  void (*run)(const uint8_t *data, size_t size);
};

inline constexpr FuzzTarget fuzzTargets[] = {{"idx", fuzzIdx},
                                             {"json", fuzzJson},
                                             {"vocab", fuzzVocab},
                                             {"text", fuzzText},
                                             {"map", fuzzMap},
                                             {"program", fuzzProgram},
                                             {"safetensors", fuzzSafetensors},
                                             {"greeting", fuzzGreeting}};

} // namespace seqpar::test
