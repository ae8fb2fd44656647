//===- Splits.h - documents of train, valid and test ------------*- C++ -*-===//
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace seqpar::rt::data {

/// Boundaries of the three splits over documents 0..documents-1, by Megatron's rounding: split k
/// has documents [b[k], b[k+1]). `weights` is "949,50,1", "8/1/1" or one number. Throws Error if it
/// cannot be read or gives no usable boundaries.
std::array<int64_t, 4> splitBoundaries(const std::string &weights, int64_t documents);

} // namespace seqpar::rt::data
