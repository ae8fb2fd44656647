//===- Schedule.h - learning rate over the steps ----------------*- C++ -*-===//
#pragma once

#include <cstdint>

namespace seqpar::rt {

enum class DecayStyle { Linear, Cosine, Constant };

/// Linear warm-up from 0 (the first step's rate is 0 when there is a warm-up), then decay from
/// `peak` to `minimum`, which is reached at step `decay` and kept.
struct Schedule {
  double peak = 1e-3, minimum = 0;
  int64_t warmup = 0; ///< steps
  int64_t decay = 1;  ///< step at which the minimum is reached
  DecayStyle style = DecayStyle::Linear;

  /// The rate that step `step`, counted from 0, uses.
  double rate(int64_t step) const;
};

} // namespace seqpar::rt
