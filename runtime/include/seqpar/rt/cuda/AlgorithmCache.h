//===- AlgorithmCache.h - what measured searches have found -----*- C++ -*-===//
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace seqpar::rt::cuda {

/// One algorithm of cuBLASLt for one product.
struct GemmAlgorithm {
  std::array<uint64_t, 8> words{};  ///< cublasLtMatmulAlgo_t
  double microseconds = 0;          ///< as measured
  double heuristicMicroseconds = 0; ///< of the heuristic's first candidate, in the same search

  bool operator==(const GemmAlgorithm &) const = default;
};

/// A JSON file of algorithms by key: GPU, version of cuBLASLt and product. Read once; every new
/// entry is written at once, joined with what other processes have written meanwhile. All ranks of
/// a process share one cache per path, from any thread.
class AlgorithmCache {
public:
  /// An empty path: entries are kept in memory only. Throws Error when the file is there and cannot
  /// be read.
  explicit AlgorithmCache(std::string path);

  std::optional<GemmAlgorithm> find(const std::string &key);
  /// Keeps the entry. A file that cannot be written is named once on stderr; the run goes on.
  void add(const std::string &key, const GemmAlgorithm &algorithm);

private:
  using Entries = std::map<std::string, GemmAlgorithm>;
  Entries read() const;

  const std::string path;
  std::mutex mutex;
  Entries entries;
  bool warned = false;
};

/// The cache of this process at a path.
std::shared_ptr<AlgorithmCache> sharedAlgorithmCache(const std::string &path);

/// $SEQPAR_CUDA_CACHE, else seqpar/gemm-algorithms.json in the user's folder for caches
/// ($XDG_CACHE_HOME or ~/.cache). Empty when none of these is set.
std::string defaultAlgorithmCachePath();

} // namespace seqpar::rt::cuda
