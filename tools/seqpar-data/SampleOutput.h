//===- SampleOutput.h - samples as text, checksums and arrays ---*- C++ -*-===//
#pragma once

#include "seqpar/rt/data/OutputFile.h"
#include "seqpar/rt/data/PretrainingData.h"

#include <memory>
#include <string>
#include <vector>

namespace seqpar::tool {

/// CRC-32 over the little-endian int64 values of text, types, labels, isRandom, lossMask,
/// paddingMask and truncated, in this order.
uint32_t sampleCrc32(const rt::data::Sample &sample);

/// The sample as words. A predicted position shows what the model sees and, behind an arrow, the
/// label:
/// "[MASK]→fox", "tree→fox" if replaced, "fox→fox" if kept.
std::string sampleText(const rt::data::Sample &sample, const rt::data::PretrainingData &data);

/// Writes FOLDER/SPLIT_KEY.npy for text, types, labels, loss_mask, padding_mask [count, length] and
/// is_random, truncated [count]; text and labels as int32, the others as uint8.
class SampleArrays {
public:
  SampleArrays(const std::string &folder, const std::string &split, int64_t count,
               const rt::data::PretrainingData &data);
  void add(const rt::data::Sample &sample);
  void commit();

private:
  struct Array {
    std::unique_ptr<rt::data::OutputFile> file;
    bool wide;
  };
  void write(Array &array, const std::vector<int32_t> &values);

  std::vector<Array> arrays;
};

} // namespace seqpar::tool
