#include "seqpar/rt/cuda/AlgorithmCache.h"

#include "seqpar/rt/AtomicFile.h"
#include "seqpar/rt/Error.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace seqpar::rt::cuda {

namespace {

constexpr int kFormat = 1;

GemmAlgorithm parse(const nlohmann::json &entry) {
  GemmAlgorithm algorithm;
  const auto &words = entry.at("algorithm");
  if (words.size() != algorithm.words.size())
    throw std::runtime_error("an algorithm has 8 words");
  for (size_t i = 0; i < algorithm.words.size(); ++i)
    algorithm.words[i] = std::stoull(words.at(i).get<std::string>(), nullptr, 16);
  algorithm.microseconds = entry.at("microseconds");
  algorithm.heuristicMicroseconds = entry.at("heuristic_microseconds");
  return algorithm;
}

nlohmann::ordered_json toJson(const GemmAlgorithm &algorithm) {
  nlohmann::ordered_json words = nlohmann::ordered_json::array();
  for (uint64_t word : algorithm.words)
    words.push_back(fmt::format("{:x}", word));
  return {{"algorithm", words},
          {"microseconds", algorithm.microseconds},
          {"heuristic_microseconds", algorithm.heuristicMicroseconds}};
}

} // namespace

AlgorithmCache::AlgorithmCache(std::string path) : path(std::move(path)) { entries = read(); }

AlgorithmCache::Entries AlgorithmCache::read() const {
  Entries result;
  std::ifstream file(path);
  if (path.empty() || !file)
    return result;
  try {
    nlohmann::json root = nlohmann::json::parse(file);
    if (root.at("format") != kFormat)
      throw std::runtime_error("another format");
    for (auto &[key, entry] : root.at("algorithms").items())
      result[key] = parse(entry);
  } catch (const std::exception &) {
    fail("{}: expected algorithms of cuBLASLt as JSON (format {}); delete the file, it is measured "
         "again",
         path, kFormat);
  }
  return result;
}

std::optional<GemmAlgorithm> AlgorithmCache::find(const std::string &key) {
  std::lock_guard lock(mutex);
  auto found = entries.find(key);
  return found == entries.end() ? std::nullopt : std::optional(found->second);
}

void AlgorithmCache::add(const std::string &key, const GemmAlgorithm &algorithm) {
  std::lock_guard lock(mutex);
  entries[key] = algorithm;
  if (path.empty())
    return;
  try {
    for (auto &[other, value] : read())
      entries.emplace(other, value);
    nlohmann::ordered_json root = {{"format", kFormat},
                                   {"algorithms", nlohmann::ordered_json::object()}};
    for (auto &[name, value] : entries)
      root["algorithms"][name] = toJson(value);
    std::filesystem::create_directories(std::filesystem::absolute(path).parent_path());
    AtomicFile file(path);
    file.write(root.dump(1) + "\n");
    file.commit();
  } catch (const std::exception &error) {
    if (!std::exchange(warned, true))
      fmt::print(stderr, "{}: algorithms of cuBLASLt are not kept: {}\n", path, error.what());
  }
}

std::shared_ptr<AlgorithmCache> sharedAlgorithmCache(const std::string &path) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<AlgorithmCache>> caches;
  std::lock_guard lock(mutex);
  std::shared_ptr<AlgorithmCache> cache = caches[path].lock();
  if (!cache) {
    cache = std::make_shared<AlgorithmCache>(path);
    caches[path] = cache;
  }
  return cache;
}

std::string defaultAlgorithmCachePath() {
  auto variable = [](const char *name) {
    const char *value = std::getenv(name);
    return std::string(value ? value : "");
  };
  if (std::string path = variable("SEQPAR_CUDA_CACHE"); !path.empty())
    return path;
  if (std::string folder = variable("XDG_CACHE_HOME"); !folder.empty())
    return folder + "/seqpar/gemm-algorithms.json";
  if (std::string home = variable("HOME"); !home.empty())
    return home + "/.cache/seqpar/gemm-algorithms.json";
  return "";
}

} // namespace seqpar::rt::cuda
