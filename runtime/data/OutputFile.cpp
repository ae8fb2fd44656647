#include "seqpar/rt/data/OutputFile.h"

#include "seqpar/rt/Error.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace seqpar::rt::data {

OutputFile::OutputFile(std::string path) : path(std::move(path)) {
  for (int attempt = 0; descriptor < 0; ++attempt) {
    temporary = fmt::format("{}.{}.{}.tmp", this->path, getpid(), attempt);
    descriptor = open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0 && (errno != EEXIST || attempt == 1000))
      fail("{}: cannot create: {}", temporary, std::strerror(errno));
  }
  buffer.reserve(blockSize);
}

OutputFile::~OutputFile() {
  if (descriptor >= 0) {
    close(descriptor);
    unlink(temporary.c_str());
  }
}

void OutputFile::write(const void *data, size_t size) {
  const char *from = static_cast<const char *>(data);
  total += size;
  while (size > 0) {
    size_t part = std::min(size, blockSize - buffer.size());
    buffer.insert(buffer.end(), from, from + part);
    from += part;
    size -= part;
    if (buffer.size() == blockSize)
      flush();
  }
}

void OutputFile::flush() {
  for (size_t done = 0; done < buffer.size();) {
    ssize_t count = ::write(descriptor, buffer.data() + done, buffer.size() - done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      fail("{}: cannot write {} bytes: {}", temporary, buffer.size() - done, std::strerror(errno));
    done += static_cast<size_t>(count);
  }
  buffer.clear();
}

size_t OutputFile::readAt(uint64_t offset, std::span<char> block) {
  size_t want = std::min<uint64_t>(block.size(), total - offset), done = 0;
  while (done < want) {
    ssize_t count =
        pread(descriptor, block.data() + done, want - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      fail("{}: cannot read back at offset {}: {}", temporary, offset + done, std::strerror(errno));
    done += static_cast<size_t>(count);
  }
  return done;
}

void OutputFile::commit() {
  flush();
  if (fsync(descriptor) != 0 && errno != EINVAL)
    fail("{}: cannot write to disk: {}", temporary, std::strerror(errno));
  if (rename(temporary.c_str(), path.c_str()) != 0)
    fail("{}: cannot rename to {}: {}", temporary, path, std::strerror(errno));
  close(descriptor);
  descriptor = -1;
}

} // namespace seqpar::rt::data
