#include "seqpar/rt/Error.h"
#include "seqpar/rt/Safetensors.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace seqpar::rt {

namespace {

constexpr uint64_t kLargestHeader = 100'000'000; // the format's own limit

size_t bytesOfType(const std::string &dtype) {
  static const std::map<std::string, size_t> kSizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
      {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},
      {"I32", 4},  {"F32", 4}, {"U64", 8}, {"I64", 8},     {"F64", 8}};
  auto found = kSizes.find(dtype);
  return found == kSizes.end() ? 0 : found->second;
}

// Builds nothing for a text that nests deeper than a header does.
nlohmann::json parseHeader(const std::string &path, const uint8_t *text, size_t size) {
  bool tooDeep = false;
  auto limit = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json &) {
    tooDeep |= depth > 8;
    return depth <= 8;
  };
  auto json = nlohmann::json::parse(text, text + size, limit, false);
  if (tooDeep || !json.is_object())
    fail("{}: damaged safetensors file: its header is not a JSON object", path);
  return json;
}

} // namespace

int64_t Tensor::elements() const {
  int64_t result = 1;
  for (int64_t extent : shape)
    result *= extent;
  return result;
}

std::string shapeText(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

SafetensorsFile::SafetensorsFile(const std::string &path) : thePath(path) {
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (file < 0 || fstat(file, &status) != 0) {
    int why = errno;
    if (file >= 0)
      close(file);
    fail("{}: cannot be read: {}", path, std::strerror(why));
  }
  size = static_cast<size_t>(status.st_size);
  bool usable = S_ISREG(status.st_mode) && size >= 8;
  void *mapped = usable ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
  close(file);
  if (mapped == MAP_FAILED)
    fail("{}: not a safetensors file: it has {} bytes", path, size);
  map = static_cast<const uint8_t *>(mapped);
  try {
    parse();
  } catch (...) {
    munmap(const_cast<uint8_t *>(map), size);
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() { munmap(const_cast<uint8_t *>(map), size); }

void SafetensorsFile::parse() {
  uint64_t header;
  std::memcpy(&header, map, sizeof(header));
  if (header > kLargestHeader || header > size - 8)
    fail("{}: damaged safetensors file: a header of {} bytes in a file of {}", thePath, header,
         size);
  nlohmann::json json = parseHeader(thePath, map + 8, header);
  const uint8_t *data = map + 8 + header;
  uint64_t dataBytes = size - 8 - header;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (auto &[name, entry] : json.items()) {
    auto damaged = [&, &name = name](const char *what) {
      fail("{}: damaged safetensors file: tensor {}: {}", thePath, name, what);
    };
    if (name == "__metadata__") {
      if (!entry.is_object())
        damaged("not an object");
      for (auto &[key, value] : entry.items())
        if (value.is_string())
          theMetadata[key] = value.get<std::string>();
      continue;
    }
    if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() ||
        !entry.contains("shape") || !entry["shape"].is_array() || !entry.contains("data_offsets") ||
        !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2)
      damaged("expected dtype, shape and two data_offsets");
    Tensor tensor;
    tensor.dtype = entry["dtype"].get<std::string>();
    uint64_t bytes = bytesOfType(tensor.dtype);
    if (!bytes)
      damaged("unknown dtype");
    for (auto &extent : entry["shape"]) {
      if (!extent.is_number_unsigned() || extent.get<uint64_t>() > (uint64_t(1) << 48))
        damaged("an extent is not a natural number");
      tensor.shape.push_back(extent.get<int64_t>());
      if (__builtin_mul_overflow(bytes, extent.get<uint64_t>(), &bytes))
        damaged("its shape is too large");
    }
    for (auto &offset : entry["data_offsets"])
      if (!offset.is_number_unsigned())
        damaged("an offset is not a natural number");
    uint64_t begin = entry["data_offsets"][0].get<uint64_t>();
    uint64_t end = entry["data_offsets"][1].get<uint64_t>();
    if (begin > end || end > dataBytes)
      damaged("its data is outside of the file");
    if (end - begin != bytes)
      damaged("its shape does not match the size of its data");
    tensor.data = data + begin;
    tensor.bytes = bytes;
    if (bytes)
      ranges.emplace_back(begin, end);
    theTensors.emplace(name, std::move(tensor));
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i].first < ranges[i - 1].second)
      fail("{}: damaged safetensors file: two tensors overlap at byte {} of the data", thePath,
           ranges[i].first);
}

const Tensor *SafetensorsFile::find(const std::string &name) const {
  auto found = theTensors.find(name);
  return found == theTensors.end() ? nullptr : &found->second;
}

const Tensor &SafetensorsFile::get(const std::string &name, const std::string &dtype,
                                   std::span<const int64_t> shape) const {
  const Tensor *tensor = find(name);
  if (!tensor)
    fail("{}: tensor {} is missing", thePath, name);
  if (tensor->dtype != dtype)
    fail("{}: tensor {} is of type {}, expected {}", thePath, name, tensor->dtype, dtype);
  if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end()))
    fail("{}: tensor {} has shape {}, expected {}", thePath, name, shapeText(tensor->shape),
         shapeText(shape));
  return *tensor;
}

} // namespace seqpar::rt
