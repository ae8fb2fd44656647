//===- ImageCache.cpp - images of earlier compilations --------------------===//
//
// A file: a line "seqpar-image 1 LOG-BYTES IMAGE-BYTES HASH", the log, the image; the hash is of
// both.
//
//===----------------------------------------------------------------------===//
#include "seqpar/Target/Cuda/ImageCache.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

using namespace llvm;
using namespace seqpar;
using namespace seqpar::cuda;

static constexpr StringLiteral kEnding = ".image", kPart = ".part";
/// No file takes so long to write.
static constexpr std::chrono::hours kPartAge(1);

/// Their lengths are part of it.
static std::string hashOf(ArrayRef<StringRef> parts) {
  SHA256 hash;
  for (StringRef part : parts) {
    hash.update(std::to_string(part.size()) + ":");
    hash.update(part);
  }
  return toHex(hash.final(), /*LowerCase=*/true);
}

std::string ImageCache::getKey(ArrayRef<StringRef> parts) { return hashOf(parts); }

std::string ImageCache::pathOf(StringRef key) const {
  SmallString<256> path(folder);
  sys::path::append(path, key + kEnding);
  return path.str().str();
}

std::optional<ImageCache::Entry> ImageCache::find(StringRef key) const {
  int descriptor = -1;
  if (sys::fs::openFileForRead(pathOf(key), descriptor))
    return std::nullopt;
  // It has been used now; where that cannot be noted, it goes earlier.
  consumeError(errorCodeToError(
      sys::fs::setLastAccessAndModificationTime(descriptor, std::chrono::system_clock::now())));
  auto file = MemoryBuffer::getOpenFile(descriptor, key, /*FileSize=*/-1,
                                        /*RequiresNullTerminator=*/false);
  sys::fs::file_t handle = sys::fs::convertFDToNativeFile(descriptor);
  sys::fs::closeFile(handle);
  if (!file)
    return std::nullopt;
  auto [head, rest] = (*file)->getBuffer().split('\n');
  SmallVector<StringRef> words;
  head.split(words, ' ');
  uint64_t logBytes = 0, imageBytes = 0;
  if (words.size() != 5 || words[0] != "seqpar-image" || words[1] != "1" ||
      words[2].getAsInteger(10, logBytes) || words[3].getAsInteger(10, imageBytes) ||
      logBytes > rest.size() || rest.size() - logBytes != imageBytes)
    return std::nullopt;
  StringRef log = rest.take_front(logBytes), image = rest.drop_front(logBytes);
  if (words[4] != hashOf({log, image}))
    return std::nullopt;
  return Entry{{image.bytes_begin(), image.bytes_end()}, log.str()};
}

bool ImageCache::add(StringRef key, const Entry &entry, std::string &reason) const {
  StringRef image(reinterpret_cast<const char *>(entry.image.data()), entry.image.size());
  std::error_code error = sys::fs::create_directories(folder);
  SmallString<256> temporary;
  int descriptor = -1;
  if (!error)
    error = sys::fs::createUniqueFile(Twine(folder) + "/%%%%%%%%%%%%" + kPart, descriptor, temporary);
  if (!error) {
    raw_fd_ostream file(descriptor, /*shouldClose=*/true);
    file << "seqpar-image 1 " << entry.log.size() << " " << image.size() << " "
         << hashOf({entry.log, image}) << "\n"
         << entry.log << image;
    file.close();
    error = file.error();
    file.clear_error();
    if (!error)
      error = sys::fs::rename(temporary, pathOf(key));
    if (error)
      sys::fs::remove(temporary);
  }
  if (error)
    reason = folder + ": " + error.message();
  else
    removeOldest();
  return !error;
}

void ImageCache::removeOldest() const {
  struct File {
    std::string path;
    sys::TimePoint<> used;
    uint64_t bytes;
  };
  std::vector<File> files;
  const sys::TimePoint<> now = std::chrono::system_clock::now();
  uint64_t sum = 0;
  std::error_code error;
  for (sys::fs::directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    ErrorOr<sys::fs::basic_file_status> status = at->status();
    if (!status || status->type() != sys::fs::file_type::regular_file)
      continue;
    if (StringRef(at->path()).ends_with(kPart) && now - status->getLastModificationTime() > kPartAge)
      sys::fs::remove(at->path()); // of a run that was killed
    if (!StringRef(at->path()).ends_with(kEnding))
      continue;
    files.push_back({at->path(), status->getLastModificationTime(), status->getSize()});
    sum += files.back().bytes;
  }
  std::sort(files.begin(), files.end(),
            [](const File &a, const File &b) { return a.used < b.used; });
  for (const File &file : files) {
    if (sum <= mostBytes)
      return;
    if (!sys::fs::remove(file.path))
      sum -= file.bytes;
  }
}

std::string cuda::getDefaultImageCache() {
  auto variable = [](const char *name) {
    const char *value = std::getenv(name);
    return std::string(value ? value : "");
  };
  if (std::string folder = variable("SEQPAR_CUDA_IMAGES"); !folder.empty())
    return folder == "off" ? "" : folder;
  constexpr StringLiteral name = "cuda-images";
  SmallString<256> path;
  if (std::string algorithms = variable("SEQPAR_CUDA_CACHE"); !algorithms.empty()) {
    path = sys::path::parent_path(algorithms);
    if (path.empty())
      path = ".";
    sys::path::append(path, name);
  } else if (std::string caches = variable("XDG_CACHE_HOME"); !caches.empty()) {
    path = caches;
    sys::path::append(path, "seqpar", name);
  } else if (std::string home = variable("HOME"); !home.empty()) {
    path = home;
    sys::path::append(path, ".cache", "seqpar", name);
  }
  return path.str().str();
}
