#include "RunOutputs.h"

#include "seqpar/rt/AtomicFile.h"
#include "seqpar/rt/Error.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <unistd.h>
#include <utility>

namespace seqpar::rt {

namespace fs = std::filesystem;

namespace {

/// For a folder that may have to be made: the nearest one that is there must take a new entry.
void checkFolder(const char *option, const std::string &folder) {
  std::error_code error;
  fs::path there = fs::absolute(folder, error);
  while (!fs::exists(there, error) && there != there.parent_path())
    there = there.parent_path();
  if (!fs::is_directory(there, error))
    throw UsageError(
        fmt::format("{}: {}: cannot be written: {} is no folder", option, folder, there.string()));
  checkWritable(option, (there / "new").string());
}

/// A file that is there is written to in its place.
void checkAppendable(const char *option, const std::string &path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error))
    return checkWritable(option, path);
  if (access(path.c_str(), W_OK) != 0)
    throw UsageError(
        fmt::format("{}: {}: cannot be written: {}", option, path, std::strerror(errno)));
}

} // namespace

void checkOutputs(const RunOptions &options) {
  const std::pair<const char *, const std::string &> files[] = {
      {"--save-gradients", options.saveGradients},
      {"--save-parameters", options.saveParameters},
      {"--memory-report", options.memoryReport},
      {"--profile", options.profile},
      {"--trace", options.trace}};
  for (auto &[option, path] : files)
    if (!path.empty())
      checkWritable(option, path);
  if (!options.log.empty())
    checkAppendable("--log", options.log);
  if (!options.tensorboard.empty())
    checkFolder("--tensorboard", options.tensorboard);
  if (!options.save.empty())
    checkFolder("--save", options.save);
  if (std::error_code error; !options.cacheDir.empty() && !fs::exists(options.cacheDir, error))
    checkFolder("--cache-dir", options.cacheDir);
}

} // namespace seqpar::rt
