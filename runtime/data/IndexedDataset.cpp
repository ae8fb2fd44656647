#include "seqpar/rt/data/IndexedDataset.h"

#include "seqpar/rt/Error.h"

#include <algorithm>
#include <bit>
#include <filesystem>

namespace seqpar::rt::data {

static_assert(std::endian::native == std::endian::little, "the files are little-endian");

namespace {

constexpr char magic[9] = {'M', 'M', 'I', 'D', 'I', 'D', 'X', 0, 0};

template <typename T> T loadAt(std::span<const std::byte> bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

template <typename T>
void copyIds(const std::byte *from, std::span<int32_t> out, int64_t limit, const std::string &file,
             int64_t offset) {
  for (size_t i = 0; i < out.size(); ++i) {
    T id;
    std::memcpy(&id, from + i * sizeof(T), sizeof(T));
    if (static_cast<int64_t>(id) < 0 || static_cast<int64_t>(id) >= limit)
      fail("{}: expected a token id below the vocabulary's {}, found {} at offset {}; was the data "
           "set made with another vocabulary?",
           file, limit, static_cast<int64_t>(id), offset + static_cast<int64_t>(i * sizeof(T)));
    out[i] = static_cast<int32_t>(id);
  }
}

} // namespace

int elementSize(ElementType type) {
  switch (type) {
  case ElementType::uint8:
  case ElementType::int8:
    return 1;
  case ElementType::int16:
  case ElementType::uint16:
    return 2;
  case ElementType::int32:
    return 4;
  case ElementType::int64:
    return 8;
  }
  return 0;
}

const char *elementName(ElementType type) {
  switch (type) {
  case ElementType::uint8:
    return "uint8";
  case ElementType::int8:
    return "int8";
  case ElementType::int16:
    return "int16";
  case ElementType::int32:
    return "int32";
  case ElementType::int64:
    return "int64";
  case ElementType::uint16:
    return "uint16";
  }
  return "unknown";
}

ElementType elementTypeFor(int64_t vocabSize) {
  return vocabSize < 65500 ? ElementType::uint16 : ElementType::int32;
}

IndexView::IndexView(std::span<const std::byte> idx, uint64_t binBytes, const std::string &name,
                     const std::function<void(size_t, size_t)> &passed) {
  checkHeader(idx, name);
  checkSentences(binBytes, name, passed);
  checkDocuments(name);
}

void IndexView::checkHeader(std::span<const std::byte> idx, const std::string &name) {
  if (idx.size() < sizeof magic || std::memcmp(idx.data(), magic, sizeof magic) != 0)
    fail("{}: expected the magic \"MMIDIDX\" and two zero bytes at offset 0; not a Megatron index "
         "file{}",
         name, idx.size() < sizeof magic ? fmt::format(" ({} bytes long)", idx.size()) : "");
  if (idx.size() < headerSize)
    fail("{}: expected a header of {} bytes, found a file of {} bytes; it was cut", name,
         headerSize, idx.size());
  if (uint64_t version = loadAt<uint64_t>(idx, 9); version != 1)
    fail("{}: expected version 1, found {} at offset 9", name, version);
  type = static_cast<ElementType>(loadAt<uint8_t>(idx, 17));
  if (elementSize(type) == 0)
    fail("{}: expected an integer element type (1 2 3 4 5 8), found {} at offset 17", name,
         loadAt<uint8_t>(idx, 17));
  uint64_t counts[2] = {loadAt<uint64_t>(idx, 18), loadAt<uint64_t>(idx, 26)};
  uint64_t room = idx.size() - headerSize;
  if (counts[0] > room / 12)
    fail("{}: {} sentences (offset 18) need more than the file's {} bytes; it was cut", name,
         counts[0], idx.size());
  if (counts[1] < 1)
    fail("{}: expected at least one entry of the document index, found {} at offset 26", name,
         counts[1]);
  if (counts[1] > room / 8 || 12 * counts[0] + 8 * counts[1] != room)
    fail("{}: {} sentences (offset 18) and {} document entries (offset 26) do not match the file's "
         "length of {} bytes; it was cut or extended",
         name, counts[0], counts[1], idx.size());
  sentenceCount = static_cast<int64_t>(counts[0]);
  documentCount = static_cast<int64_t>(counts[1]) - 1;
  sizes = idx.data() + headerSize;
  pointers = sizes + 4 * sentenceCount;
  documentIndex = pointers + 8 * sentenceCount;
}

void IndexView::checkSentences(uint64_t binBytes, const std::string &name,
                               const std::function<void(size_t, size_t)> &passed) {
  const int64_t width = elementSize(type), step = 1 << 22;
  const size_t pointerStart = headerSize + 4 * static_cast<size_t>(sentenceCount);
  uint64_t expected = 0;
  for (int64_t begin = 0; begin < sentenceCount; begin += step) {
    int64_t end = std::min(begin + step, sentenceCount);
    for (int64_t i = begin; i < end; ++i) {
      int32_t tokens = size(i);
      if (tokens < 0)
        fail("{}: sentence {} has the size {} at offset {}; it must not be negative", name, i,
             tokens, headerSize + 4 * static_cast<size_t>(i));
      if (static_cast<uint64_t>(pointer(i)) != expected)
        fail("{}: sentence {} begins at byte {} of the .bin file (offset {}), expected {}, the sum "
             "of the sizes before",
             name, i, pointer(i), pointerStart + 8 * static_cast<size_t>(i), expected);
      expected += static_cast<uint64_t>(tokens) * static_cast<uint64_t>(width);
    }
    if (passed) {
      passed(headerSize + 4 * static_cast<size_t>(begin),
             headerSize + 4 * static_cast<size_t>(end));
      passed(pointerStart + 8 * static_cast<size_t>(begin),
             pointerStart + 8 * static_cast<size_t>(end));
    }
  }
  if (expected != binBytes)
    fail("{}: the sentences need a .bin file of {} bytes, found one of {} bytes; one of the two "
         "files was cut or belongs to another data set",
         name, expected, binBytes);
  tokenCount = static_cast<int64_t>(expected / static_cast<uint64_t>(width));
}

void IndexView::checkDocuments(const std::string &name) {
  const size_t start = headerSize + 12 * static_cast<size_t>(sentenceCount);
  if (firstSentence(0) != 0)
    fail("{}: the document index must begin with 0, found {} at offset {}", name, firstSentence(0),
         start);
  for (int64_t i = 1; i <= documentCount; ++i)
    if (firstSentence(i) < firstSentence(i - 1) || firstSentence(i) > sentenceCount)
      fail("{}: entry {} of the document index is {} at offset {}, expected {} to {}", name, i,
           firstSentence(i), start + 8 * static_cast<size_t>(i), firstSentence(i - 1),
           sentenceCount);
  if (firstSentence(documentCount) != sentenceCount)
    fail("{}: the document index must end with the number of sentences, {}, found {} at offset {}",
         name, sentenceCount, firstSentence(documentCount),
         start + 8 * static_cast<size_t>(documentCount));
}

IndexedDataset::IndexedDataset(const std::string &prefix)
    : name(prefix), idx(prefix + ".idx", MappedFile::Access::sequential),
      bin(prefix + ".bin", MappedFile::Access::random) {
  view = IndexView(idx.bytes(), bin.bytes().size(), idx.path(),
                   [this](size_t begin, size_t end) { idx.release(begin, end); });
}

void IndexedDataset::read(int64_t sentence, int64_t skip, std::span<int32_t> out,
                          int64_t limit) const {
  int64_t offset = view.pointer(sentence) + skip * elementSize(view.elementType());
  const std::byte *from = bin.bytes().data() + offset;
  switch (view.elementType()) {
  case ElementType::uint8:
    return copyIds<uint8_t>(from, out, limit, bin.path(), offset);
  case ElementType::int8:
    return copyIds<int8_t>(from, out, limit, bin.path(), offset);
  case ElementType::int16:
    return copyIds<int16_t>(from, out, limit, bin.path(), offset);
  case ElementType::int32:
    return copyIds<int32_t>(from, out, limit, bin.path(), offset);
  case ElementType::int64:
    return copyIds<int64_t>(from, out, limit, bin.path(), offset);
  case ElementType::uint16:
    return copyIds<uint16_t>(from, out, limit, bin.path(), offset);
  }
}

} // namespace seqpar::rt::data
