#include "SampleOutput.h"

#include "seqpar/rt/Error.h"

#include <filesystem>
#include <zlib.h>

namespace seqpar::tool {

using namespace seqpar::rt::data;

uint32_t sampleCrc32(const Sample &sample) {
  std::vector<int64_t> values;
  auto add = [&](const std::vector<int32_t> &array) {
    values.insert(values.end(), array.begin(), array.end());
  };
  add(sample.text);
  add(sample.types);
  add(sample.labels);
  values.push_back(sample.isRandom);
  add(sample.lossMask);
  add(sample.paddingMask);
  values.push_back(sample.truncated);
  return static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef *>(values.data()), values.size() * sizeof(int64_t)));
}

std::string sampleText(const Sample &sample, const PretrainingData &data) {
  std::string text;
  bool plain = false; // the last token is a part of a word, shown without a mark
  for (int32_t i = 0; i < sample.tokens; ++i) {
    size_t at = static_cast<size_t>(i);
    const std::string &token = data.token(sample.text[at]);
    bool predicted = sample.lossMask[at] != 0;
    if (plain && !predicted && token.starts_with("##")) {
      text += token.substr(2);
      continue;
    }
    if (i > 0)
      text += ' ';
    text += token;
    if (predicted)
      text += "→" + data.token(sample.labels[at]);
    plain = !predicted && token != "[CLS]" && token != "[SEP]";
  }
  return text;
}

SampleArrays::SampleArrays(const std::string &folder, const std::string &split, int64_t count,
                           const PretrainingData &data) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    rt::fail("{}: cannot create the folder: {}", folder, error.message());
  bool wideTypes = data.padId() > 255; // the padding of types is [PAD]
  auto open = [&](const char *key, bool wide, bool matrix) {
    std::string shape =
        matrix ? fmt::format("{}, {}", count, data.options().seqLength) : fmt::format("{},", count);
    std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                     wide ? "<i4" : "|u1", shape);
    header.resize(117, ' ');
    header += '\n';
    auto file = std::make_unique<OutputFile>(
        (std::filesystem::path(folder) / fmt::format("{}_{}.npy", split, key)).string());
    file->write("\x93NUMPY\x01\x00\x76\x00", 10);
    file->write(header.data(), header.size());
    arrays.push_back({std::move(file), wide});
  };
  open("text", true, true);
  open("types", wideTypes, true);
  open("labels", true, true);
  open("is_random", false, false);
  open("loss_mask", false, true);
  open("padding_mask", false, true);
  open("truncated", false, false);
}

void SampleArrays::write(Array &array, const std::vector<int32_t> &values) {
  if (array.wide) {
    array.file->write(values.data(), values.size() * sizeof(int32_t));
    return;
  }
  std::vector<uint8_t> narrow(values.begin(), values.end());
  array.file->write(narrow.data(), narrow.size());
}

void SampleArrays::add(const Sample &sample) {
  write(arrays[0], sample.text);
  write(arrays[1], sample.types);
  write(arrays[2], sample.labels);
  write(arrays[3], {sample.isRandom});
  write(arrays[4], sample.lossMask);
  write(arrays[5], sample.paddingMask);
  write(arrays[6], {sample.truncated});
}

void SampleArrays::commit() {
  for (Array &array : arrays)
    array.file->commit();
}

} // namespace seqpar::tool
