#include "seqpar/rt/data/SampleMap.h"

#include "seqpar/rt/Error.h"
#include "seqpar/rt/data/OutputFile.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <regex>
#include <unistd.h>

namespace seqpar::rt::data {

namespace {

/// Documents with a sentence of more tokens are left out, unless it is their only one.
constexpr int32_t longSentence = 512;

/// Bounds what a pass over the index adds to the resident size.
constexpr int64_t documentsBetweenReleases = 1 << 16;

/// Target lengths, drawn one per sample and one more at the end of each document.
class TargetLengths {
public:
  TargetLengths(const SampleMapOptions &options)
      : engine(static_cast<uint32_t>(options.seed)),
        ratio(options.shortSeqProb <= 0
                  ? 0
                  : static_cast<uint32_t>(std::round(1.0 / options.shortSeqProb))),
        maxTokens(static_cast<uint32_t>(options.maxTokens)) {}

  uint32_t next() {
    if (ratio == 0)
      return maxTokens;
    uint32_t bits = static_cast<uint32_t>(engine());
    return bits % ratio == 0 ? 2 + bits % (maxTokens - 1) : maxTokens;
  }

private:
  std::mt19937 engine;
  uint32_t ratio, maxTokens;
};

bool qualifies(const IndexView &index, int64_t begin, int64_t end, int minSentences) {
  if (end - begin < minSentences)
    return false;
  if (end - begin > 1)
    for (int64_t i = begin; i < end; ++i)
      if (index.size(i) > longSentence)
        return false;
  return true;
}

/// Calls row(first, last, target) in the order before shuffling.
template <typename Row>
void walk(const IndexedDataset &data, const SampleMapOptions &options, Row row) {
  const IndexView &index = data.index();
  TargetLengths targets(options);
  for (int64_t rows = 0, before = -1; rows < options.wanted;) {
    if (rows == before)
      fail(
          "{}.idx: none of the documents {} to {} makes a sample; each needs {} or more sentences, "
          "none of more than {} tokens",
          data.prefix(), options.documentBegin, options.documentEnd - 1, options.minSentences,
          longSentence);
    before = rows;
    for (int64_t d = options.documentBegin; d < options.documentEnd; ++d) {
      int64_t begin = index.firstSentence(d), end = index.firstSentence(d + 1);
      if (d % documentsBetweenReleases == 0)
        data.release();
      if (!qualifies(index, begin, end, options.minSentences))
        continue;
      int64_t first = begin, tokens = 0;
      uint32_t target = targets.next();
      for (int64_t i = begin; i < end; ++i) {
        tokens += index.size(i);
        int64_t remaining = end - i - 1;
        if ((tokens >= target && remaining > 1 && i + 1 - first >= options.minSentences) ||
            remaining == 0) {
          row(static_cast<uint64_t>(first), static_cast<uint64_t>(i + 1), target);
          ++rows;
          first = i + 1;
          tokens = 0;
          target = targets.next();
        }
      }
    }
  }
  data.release();
}

template <typename T> void shuffleRows(std::vector<T> &values, int seed) {
  std::mt19937_64 engine(static_cast<uint64_t>(seed) + 1);
  for (uint64_t i = values.size() / 3; i-- > 1;) {
    uint64_t j = engine() % (i + 1);
    std::swap_ranges(values.begin() + static_cast<ptrdiff_t>(3 * i),
                     values.begin() + static_cast<ptrdiff_t>(3 * i + 3),
                     values.begin() + static_cast<ptrdiff_t>(3 * j));
  }
}

bool needsWide(const IndexedDataset &data) { return data.index().sentences() > UINT32_MAX; }

void checkOptions(const SampleMapOptions &options) {
  if (options.maxTokens < 2)
    fail(
        "sample map: expected room for at least 2 tokens besides the special ones, found {}; use a "
        "sequence length of 5 or more",
        options.maxTokens);
  if (options.seed <= 0)
    fail("sample map: expected a seed above 0, found {}", options.seed);
  if (!(options.shortSeqProb >= 0 && options.shortSeqProb <= 1) ||
      (options.shortSeqProb > 0 && options.shortSeqProb < 1e-9))
    fail("sample map: expected a short-sequence probability of 0, or 1e-9 to 1, found {}",
         options.shortSeqProb);
  if (options.wanted < 1)
    fail("sample map: expected at least 1 sample, found {}", options.wanted);
}

/// Throws before an allocation that this machine cannot bear.
void checkMemory(const IndexedDataset &data, int64_t rows) {
  double bytes = static_cast<double>(rows) * (needsWide(data) ? 24 : 12);
  double memory =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  if (bytes > memory * 3 / 4)
    fail("{}: a sample map of {} samples needs {:.1f} GiB, more than this machine's memory allows; "
         "ask for fewer iterations or a smaller global batch",
         data.prefix(), rows, bytes / (1 << 30));
}

/// A sum that two maps with the same rows share whatever their order.
struct RowSum {
  uint64_t rows = 0, sum = 0;

  void add(uint64_t first, uint64_t last, uint64_t target) {
    uint64_t hash = (first * 0x9E3779B97F4A7C15u + last) * 0xC2B2AE3D27D4EB4Fu + target;
    hash = (hash ^ hash >> 31) * 0x165667B19E3779F9u;
    sum += hash ^ hash >> 29;
    ++rows;
  }
  bool operator==(const RowSum &) const = default;
};

struct NpyHeader {
  size_t dataOffset;
  bool wide;
  int64_t rows;
};

NpyHeader parseHeader(std::span<const std::byte> file, const std::string &name) {
  auto byteAt = [&](size_t i) { return static_cast<uint32_t>(file[i]); };
  if (file.size() < 12 || std::memcmp(file.data(), "\x93NUMPY", 6) != 0)
    fail("{}: expected a NumPy file, its magic is missing at offset 0", name);
  if (byteAt(6) != 1 && byteAt(6) != 2)
    fail("{}: expected version 1 or 2 of the NumPy format, found {} at offset 6", name, byteAt(6));
  size_t start = byteAt(6) == 1 ? 10 : 12, length = byteAt(8) | byteAt(9) << 8;
  if (byteAt(6) == 2)
    length |= byteAt(10) << 16 | static_cast<size_t>(byteAt(11)) << 24;
  if (length > file.size() - start || length > 4096)
    fail("{}: the header's length of {} bytes at offset 8 does not fit the file", name, length);
  std::string text(reinterpret_cast<const char *>(file.data()) + start, length);
  text.resize(text.find_last_not_of(" \n") + 1);
  static const std::regex pattern(
      R"(\{'descr': '<u([48])', 'fortran_order': False, 'shape': \((\d{1,18}), 3\),? ?\})");
  std::smatch match;
  if (!std::regex_match(text, match, pattern))
    fail("{}: expected an array of uint32 or uint64 with the shape (rows, 3) in the header at "
         "offset "
         "{}; not a sample map",
         name, start);
  NpyHeader header{start + length, match[1] == "8", std::stoll(match[2])};
  size_t rowBytes = header.wide ? 24 : 12, room = file.size() - header.dataOffset;
  if (static_cast<uint64_t>(header.rows) != room / rowBytes || room % rowBytes != 0)
    fail("{}: {} rows from offset {} on do not match the file's length of {} bytes; it was cut or "
         "extended",
         name, header.rows, header.dataOffset, file.size());
  return header;
}

} // namespace

SampleMap SampleMap::build(const IndexedDataset &data, const SampleMapOptions &options) {
  checkOptions(options);
  checkMemory(data, options.wanted);
  int64_t rows = 0; // counted first, so that the array never grows
  walk(data, options, [&](uint64_t, uint64_t, uint32_t) { ++rows; });
  checkMemory(data, rows);
  SampleMap map;
  map.isWide = needsWide(data);
  auto fill = [&](auto &values) {
    using T = typename std::remove_reference_t<decltype(values)>::value_type;
    values.reserve(static_cast<size_t>(rows) * 3);
    walk(data, options, [&](uint64_t first, uint64_t last, uint32_t target) {
      values.insert(values.end(),
                    {static_cast<T>(first), static_cast<T>(last), static_cast<T>(target)});
    });
    shuffleRows(values, options.seed);
    map.data = reinterpret_cast<const std::byte *>(values.data());
    map.rowCount = rows;
  };
  if (map.isWide)
    fill(map.wide);
  else
    fill(map.narrow);
  return map;
}

SampleMap SampleMap::parse(std::span<const std::byte> file, const std::string &name) {
  NpyHeader header = parseHeader(file, name);
  SampleMap map;
  map.isWide = header.wide;
  map.rowCount = header.rows;
  map.data = file.data() + header.dataOffset;
  return map;
}

SampleMap SampleMap::load(const std::string &path, const IndexedDataset &data,
                          const SampleMapOptions &options) {
  checkOptions(options);
  MappedFile file(path, MappedFile::Access::sequential);
  SampleMap map = parse(file.bytes(), path);
  map.file = std::move(file);
  RowSum found, expected;
  for (int64_t i = 0; i < map.rowCount; ++i) {
    SampleRow row = map.row(i);
    found.add(static_cast<uint64_t>(row.first), static_cast<uint64_t>(row.last),
              static_cast<uint32_t>(row.target));
  }
  walk(data, options,
       [&](uint64_t first, uint64_t last, uint32_t target) { expected.add(first, last, target); });
  if (found != expected)
    fail("{}: this sample map of {} rows was made from other data, splits or options, which would "
         "give {} rows{}; delete it, or choose another cache folder",
         path, found.rows, expected.rows, found.rows == expected.rows ? " of another content" : "");
  map.file.release(0, map.file.bytes().size());
  return map;
}

void SampleMap::save(const std::string &path) const {
  OutputFile out(path);
  std::string header = fmt::format(
      "{{'descr': '<u{}', 'fortran_order': False, 'shape': ({}, 3), }}", isWide ? 8 : 4, rowCount);
  header.resize(117, ' ');
  header += '\n';
  out.write("\x93NUMPY\x01\x00\x76\x00", 10);
  out.write(header.data(), header.size());
  out.write(data, static_cast<size_t>(rowCount) * (isWide ? 24 : 12));
  out.commit();
}

SampleRow SampleMap::row(int64_t index) const {
  if (isWide) {
    uint64_t values[3];
    std::memcpy(values, data + index * 24, sizeof values);
    return {static_cast<int64_t>(values[0]), static_cast<int64_t>(values[1]),
            static_cast<int32_t>(values[2])};
  }
  uint32_t values[3];
  std::memcpy(values, data + index * 12, sizeof values);
  return {values[0], values[1], static_cast<int32_t>(values[2])};
}

std::string sampleMapName(const std::string &prefix, const std::string &split,
                          const SampleMapOptions &options) {
  return fmt::format("{}_{}_indexmap_{}mns_{}msl_{:.2f}ssp_{}s.npy", prefix, split, options.wanted,
                     options.maxTokens, options.shortSeqProb, options.seed);
}

} // namespace seqpar::rt::data
