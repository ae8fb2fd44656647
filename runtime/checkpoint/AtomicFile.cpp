#include "seqpar/rt/AtomicFile.h"

#include "seqpar/rt/Error.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace seqpar::rt {

namespace {

// Devices and pipes (/dev/null, /dev/stdout) are written to as they are.
bool isSpecial(const std::string &path) {
  std::error_code ignored;
  auto type = std::filesystem::status(path, ignored).type();
  return type == std::filesystem::file_type::character || type == std::filesystem::file_type::fifo;
}

} // namespace

AtomicFile::AtomicFile(std::string target) : path(std::move(target)) {
  if (isSpecial(path)) {
    descriptor = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  } else if (std::filesystem::is_directory(path)) {
    fail("{}: cannot be written: it is a folder", path);
  } else {
    // Ranks are threads: the process number does, unless an earlier process left its file.
    for (int attempt = 0; descriptor < 0 && attempt < 100; ++attempt) {
      temporary = fmt::format("{}.{}.{}.tmp", path, getpid(), attempt);
      descriptor = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor < 0 && errno != EEXIST)
        break;
    }
  }
  if (descriptor < 0)
    fail("{}: cannot be written: {}", path, std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (descriptor < 0)
    return;
  close(descriptor);
  if (!temporary.empty())
    unlink(temporary.c_str());
}

void AtomicFile::write(const void *data, size_t bytes) {
  const char *at = static_cast<const char *>(data);
  while (bytes) {
    ssize_t done = ::write(descriptor, at, bytes);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      fail("{}: cannot be written: {}", path, std::strerror(errno));
    at += done;
    bytes -= static_cast<size_t>(done);
  }
}

void AtomicFile::commit() {
  if (!temporary.empty()) {
    if (fsync(descriptor) != 0 || rename(temporary.c_str(), path.c_str()) != 0)
      fail("{}: cannot be written: {}", path, std::strerror(errno));
    temporary.clear();
  }
  int closing = descriptor;
  descriptor = -1;
  if (close(closing) != 0)
    fail("{}: cannot be written: {}", path, std::strerror(errno));
}

void checkWritable(const std::string &option, const std::string &path) {
  try {
    AtomicFile probe(path);
  } catch (const Error &error) {
    throw UsageError(fmt::format("{}: {}", option, error.what()));
  }
}

} // namespace seqpar::rt
