//===- Safetensors.h - named tensors in a file ------------------*- C++ -*-===//
//
// The safetensors format: 8 bytes header length, a JSON header {name: {dtype, shape,
// data_offsets}}, the data. Reading maps the file and checks all of the header first; writing goes
// through a temporary file that replaces the target at the end.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace seqpar::rt {

struct Tensor {
  std::string dtype; ///< "F32", "I32", ... as the format names them
  std::vector<int64_t> shape;
  const uint8_t *data = nullptr; ///< in the mapped file, aligned to 1 byte only
  size_t bytes = 0;

  int64_t elements() const;
};

/// "[2, 3]".
std::string shapeText(std::span<const int64_t> shape);

class SafetensorsFile {
public:
  /// Maps and checks the file. Throws Error naming it, and the tensor, for anything wrong.
  explicit SafetensorsFile(const std::string &path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile &) = delete;
  SafetensorsFile &operator=(const SafetensorsFile &) = delete;

  const std::string &path() const { return thePath; }
  const std::map<std::string, Tensor> &tensors() const { return theTensors; }
  const std::map<std::string, std::string> &metadata() const { return theMetadata; }
  /// All of the file.
  std::span<const uint8_t> bytes() const { return {map, size}; }
  /// nullptr when there is none of that name.
  const Tensor *find(const std::string &name) const;
  /// Throws Error when it is missing, of another type or of another shape.
  const Tensor &get(const std::string &name, const std::string &dtype,
                    std::span<const int64_t> shape) const;

private:
  void parse();

  std::string thePath;
  const uint8_t *map = nullptr;
  size_t size = 0;
  std::map<std::string, Tensor> theTensors;
  std::map<std::string, std::string> theMetadata;
};

/// A tensor to write: `fill` puts its data into a buffer of `bytes` bytes.
struct TensorToWrite {
  std::string name, dtype;
  std::vector<int64_t> shape;
  size_t bytes = 0;
  std::function<void(std::span<uint8_t> buffer)> fill;
};

/// Writes the tensors in order. The target is replaced only when all is written. Throws Error
/// naming the file.
void writeSafetensors(const std::string &path, std::span<const TensorToWrite> tensors,
                      const std::map<std::string, std::string> &metadata = {});

} // namespace seqpar::rt
