//===- Initialize.h - initial values of parameters --------------*- C++ -*-===//
#pragma once

#include "seqpar/program/program_generated.h"

#include <cstdint>
#include <span>
#include <utility>

namespace seqpar::rt {

/// Elements of a parameter.
int64_t elementsOf(const program::Parameter &parameter);

/// Values of elements first, first + 1, ... of a parameter. Normal values are a function of (seed,
/// name, element index) alone: Philox4x32-10 with key {seed, 0} and counter {index / 4 as 64 bits,
/// FNV-1a hash of the name as 64 bits}, each block's four words made into four normal deviates by
/// two Box-Muller transforms. `first` is a multiple of 4.
void initialValues(const program::Parameter &parameter, uint32_t seed, int64_t first,
                   std::span<float> values);

/// One of several equal shares of a range.
struct ShareOfWork {
  int index = 0, count = 1;

  /// Begin and end of this share of `elements` elements, begin a multiple of 4.
  std::pair<int64_t, int64_t> of(int64_t elements) const;
};

} // namespace seqpar::rt
