#include "seqpar/rt/Error.h"
#include "seqpar/rt/data/IndexedDataset.h"
#include "seqpar/rt/data/OutputFile.h"

#include <cerrno>
#include <cstring>
#include <unistd.h>

namespace seqpar::rt::data {

/// The sizes and the document index go to files of their own until their numbers are known.
struct IndexedDatasetWriter::Impl {
  Impl(const std::string &prefix, ElementType type)
      : prefix(prefix), type(type), bin(prefix + ".bin"), idx(prefix + ".idx"),
        sizes(prefix + ".sizes"), documents(prefix + ".documents") {
    documents.writeValue<int64_t>(0);
  }

  std::string prefix;
  ElementType type;
  OutputFile bin, idx, sizes, documents;
  int64_t sentenceCount = 0, documentCount = 0, tokenCount = 0, closedSentences = 0;
  std::vector<uint16_t> narrow;
};

IndexedDatasetWriter::IndexedDatasetWriter(const std::string &prefix, ElementType type)
    : impl(std::make_unique<Impl>(prefix, type)) {
  if (type != ElementType::uint16 && type != ElementType::int32)
    fail("{}: data sets are written with uint16 or int32 elements, not {}", prefix,
         elementName(type));
}

IndexedDatasetWriter::~IndexedDatasetWriter() = default;

int64_t IndexedDatasetWriter::sentences() const { return impl->sentenceCount; }
int64_t IndexedDatasetWriter::documents() const { return impl->documentCount; }
int64_t IndexedDatasetWriter::tokens() const { return impl->tokenCount; }

void IndexedDatasetWriter::addSentences(std::span<const int32_t> tokens,
                                        std::span<const int32_t> sizes) {
  if (impl->type == ElementType::uint16) {
    impl->narrow.assign(tokens.begin(), tokens.end());
    impl->bin.writeArray<uint16_t>(impl->narrow);
  } else {
    impl->bin.writeArray(tokens);
  }
  impl->sizes.writeArray(sizes);
  impl->sentenceCount += static_cast<int64_t>(sizes.size());
  impl->tokenCount += static_cast<int64_t>(tokens.size());
}

void IndexedDatasetWriter::addDocuments(std::span<const int32_t> counts) {
  for (int32_t count : counts)
    impl->documents.writeValue<int64_t>(impl->closedSentences += count);
  impl->documentCount += static_cast<int64_t>(counts.size());
}

void IndexedDatasetWriter::finish() {
  OutputFile &idx = impl->idx;
  idx.write("MMIDIDX\0\0", 9);
  idx.writeValue<uint64_t>(1);
  idx.writeValue<uint8_t>(static_cast<uint8_t>(impl->type));
  idx.writeValue<int64_t>(impl->sentenceCount);
  idx.writeValue<int64_t>(impl->documentCount + 1);
  auto copy = [&](std::span<const char> block) { idx.write(block.data(), block.size()); };
  impl->sizes.replay(copy);
  int64_t pointer = 0, width = elementSize(impl->type);
  impl->sizes.replay([&](std::span<const char> block) {
    for (size_t at = 0; at < block.size(); at += 4) {
      int32_t size;
      std::memcpy(&size, block.data() + at, sizeof size);
      idx.writeValue(pointer);
      pointer += size * width;
    }
  });
  impl->documents.replay(copy);
  // An old index must never stand beside new tokens: it goes first, the new one comes last.
  std::string old = impl->prefix + ".idx";
  if (unlink(old.c_str()) != 0 && errno != ENOENT)
    fail("{}: cannot replace: {}", old, std::strerror(errno));
  impl->bin.commit();
  idx.commit();
}

} // namespace seqpar::rt::data
