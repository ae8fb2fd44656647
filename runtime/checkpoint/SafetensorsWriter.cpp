#include "seqpar/rt/AtomicFile.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/Safetensors.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace seqpar::rt {

void writeSafetensors(const std::string &path, std::span<const TensorToWrite> tensors,
                      const std::map<std::string, std::string> &metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty())
    header["__metadata__"] = metadata;
  uint64_t offset = 0;
  size_t largest = 0;
  for (const TensorToWrite &tensor : tensors) {
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes}}};
    offset += tensor.bytes;
    largest = std::max(largest, tensor.bytes);
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');
  uint64_t length = text.size();

  AtomicFile file(path);
  file.write(&length, sizeof(length));
  file.write(text);
  std::vector<uint8_t> buffer(largest);
  for (const TensorToWrite &tensor : tensors) {
    std::span<uint8_t> data(buffer.data(), tensor.bytes);
    tensor.fill(data);
    file.write(data.data(), data.size());
  }
  file.commit();
}

} // namespace seqpar::rt
