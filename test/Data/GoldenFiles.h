//===- GoldenFiles.h - reference vectors and scratch folders ----*- C++ -*-===//
#pragma once

#include "seqpar/rt/data/PretrainingData.h"

#include <cstdint>
#include <filesystem>
#include <fmt/format.h>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace seqpar::test {

std::string goldenPath(const std::string &name);
/// The manifest's "vocab" entries: the big vocabulary is the bundled corpus's.
std::string vocabPath(const std::string &name);
nlohmann::json goldenJson(const std::string &name);
std::string readFile(const std::string &path);
void writeFile(const std::string &path, const std::string &bytes);
uint32_t crc32(const void *data, size_t size, uint32_t before = 0);
uint32_t fileCrc32(const std::string &path);

/// A folder that is removed with its content.
class Scratch {
public:
  Scratch();
  ~Scratch();
  std::string operator/(const std::string &name) const { return (folder / name).string(); }
  const std::filesystem::path &path() const { return folder; }
  /// Names of the files in it, sorted.
  std::vector<std::string> list() const;

private:
  std::filesystem::path folder;
};

/// Folder with the four reference data sets, made once by preprocess().
const std::string &goldenData();
/// The data set options of a configuration of the manifest.
rt::data::DataOptions goldenOptions(const nlohmann::json &config);

/// Writes a data set of documents[d][s] = token ids of a sentence.
using Documents = std::vector<std::vector<std::vector<int32_t>>>;
void writeDataset(const std::string &prefix, const Documents &documents, bool wide = false);

/// The text of the Error that `run` throws; a test failure, and "", if it throws none.
std::string errorOf(const std::function<void()> &run);

} // namespace seqpar::test
