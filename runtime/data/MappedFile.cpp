#include "seqpar/rt/data/MappedFile.h"

#include "seqpar/rt/Error.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace seqpar::rt::data {

MappedFile::MappedFile(const std::string &path, Access access) : name(path) {
  int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    fail("{}: cannot open: {}", path, std::strerror(errno));
  struct stat info;
  if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(descriptor);
    fail("{}: expected a regular file", path);
  }
  length = static_cast<size_t>(info.st_size);
  void *mapped = length ? mmap(nullptr, length, PROT_READ, MAP_SHARED, descriptor, 0) : nullptr;
  int reason = errno;
  close(descriptor);
  if (mapped == MAP_FAILED)
    fail("{}: cannot map {} bytes: {}", path, length, std::strerror(reason));
  data = static_cast<const std::byte *>(mapped);
  if (length)
    madvise(mapped, length, access == Access::random ? MADV_RANDOM : MADV_SEQUENTIAL);
}

MappedFile::~MappedFile() {
  if (data)
    munmap(const_cast<std::byte *>(data), length);
}

MappedFile::MappedFile(MappedFile &&other) noexcept
    : name(std::move(other.name)), data(std::exchange(other.data, nullptr)),
      length(std::exchange(other.length, 0)) {}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  std::swap(name, other.name);
  std::swap(data, other.data);
  std::swap(length, other.length);
  return *this;
}

void MappedFile::release(size_t begin, size_t end) const {
  const size_t page = 4096;
  begin = begin / page * page;
  if (data && begin < end)
    madvise(const_cast<std::byte *>(data) + begin, end - begin, MADV_DONTNEED);
}

} // namespace seqpar::rt::data
