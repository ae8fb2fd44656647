#include "LineBlocks.h"

#include "seqpar/rt/Error.h"
#include "seqpar/rt/data/JsonText.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace seqpar::rt::data {

namespace {

/// Bytes of `text` that are whole lines for sure. A CR at the very end may be half of a CRLF.
size_t wholeLines(std::string_view text) {
  if (size_t end = text.rfind('\n'); end != std::string_view::npos)
    return end + 1;
  size_t end = text.substr(0, text.empty() ? 0 : text.size() - 1).rfind('\r');
  return end == std::string_view::npos ? 0 : end + 1;
}

/// Place of the first CR or LF. Looks in growing windows, so that a file with only one of the two
/// is not searched to its end for the other at each line.
size_t findLineEnd(std::string_view text) {
  for (size_t begin = 0, window = 256; begin < text.size(); begin += window, window *= 2) {
    std::string_view part = text.substr(begin, window);
    size_t end = std::min(part.find('\n'), part.find('\r'));
    if (end != std::string_view::npos)
      return begin + end;
  }
  return text.size();
}

} // namespace

LineBlocks::LineBlocks(const std::string &path) : path(path) {
  descriptor = path == "-" ? dup(STDIN_FILENO) : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    fail("{}: cannot open: {}", path, std::strerror(errno));
  struct stat info;
  if (fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode))
    total = info.st_size;
}

LineBlocks::~LineBlocks() {
  if (descriptor >= 0)
    close(descriptor);
}

size_t LineBlocks::fill(char *to, size_t room) {
  size_t done = 0;
  while (done < room && !ended) {
    ssize_t count = read(descriptor, to + done, room - done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      fail("{}: cannot read: {}", path, std::strerror(errno));
    ended = count == 0;
    done += static_cast<size_t>(count);
  }
  return done;
}

LineBlock LineBlocks::next() {
  size_t capacity = std::max(blockSize, 2 * rest.size());
  LineBlock block;
  while (true) {
    auto bytes = std::make_unique_for_overwrite<char[]>(capacity + JsonTextReader::padding);
    std::memcpy(bytes.get(), rest.data(), rest.size());
    size_t size = rest.size() + fill(bytes.get() + rest.size(), capacity - rest.size());
    size_t whole = ended ? size : wholeLines({bytes.get(), size});
    rest.assign(bytes.get() + whole, size - whole);
    if (whole > 0 || ended) {
      std::memset(bytes.get() + size, 0, JsonTextReader::padding);
      block.bytes = std::move(bytes);
      block.size = whole;
      return block;
    }
    if (size > maxLine)
      fail("{}: a line is longer than {} bytes; expected one JSON object a line", path, maxLine);
    capacity = 2 * size;
  }
}

std::string_view takeLine(std::string_view &text) {
  size_t end = std::min(findLineEnd(text), text.size());
  std::string_view line = text.substr(0, end);
  size_t mark = end == text.size() ? 0 : text.substr(end, 2) == "\r\n" ? 2 : 1;
  text.remove_prefix(end + mark);
  return line;
}

} // namespace seqpar::rt::data
