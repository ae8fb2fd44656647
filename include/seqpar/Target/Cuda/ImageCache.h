//===- ImageCache.h - images of earlier compilations ------------*- C++ -*-===//
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace seqpar::cuda {

/// A folder with one file for each image that NVRTC has made, named by a hash of all that the image
/// depends on. A file is written whole or not at all. One that is damaged counts as missing and is
/// written again; what cannot be written is left. From any thread and process.
class ImageCache {
public:
  static constexpr uint64_t kMostBytes = uint64_t(256) << 20;

  struct Entry {
    std::vector<uint8_t> image;
    std::string log; ///< of the compilation
  };

  /// `mostBytes`: what is used longest ago goes when all files together have more.
  explicit ImageCache(std::string folder, uint64_t mostBytes = kMostBytes)
      : folder(std::move(folder)), mostBytes(mostBytes) {}

  /// The hash of `parts`, each as a whole: moving a letter from one to the next gives another.
  static std::string getKey(llvm::ArrayRef<llvm::StringRef> parts);

  std::optional<Entry> find(llvm::StringRef key) const;
  /// False, with the reason, when it could not be kept.
  bool add(llvm::StringRef key, const Entry &entry, std::string &reason) const;

private:
  std::string pathOf(llvm::StringRef key) const;
  void removeOldest() const;

  std::string folder;
  uint64_t mostBytes;
};

/// $SEQPAR_CUDA_IMAGES; else the folder `cuda-images` beside the file of cuBLASLt's algorithms
/// ($SEQPAR_CUDA_CACHE), or in seqpar/ of the user's folder for caches ($XDG_CACHE_HOME or
/// ~/.cache). Empty when none of these is set, or SEQPAR_CUDA_IMAGES is "off": nothing is kept.
std::string getDefaultImageCache();

} // namespace seqpar::cuda
