//===- Dropout.h - what a dropout rate is -----------------------------------------------------===//

#ifndef SEQPAR_DIALECT_NN_DROPOUT_H
#define SEQPAR_DIALECT_NN_DROPOUT_H

namespace seqpar::nn {

/// Whether `rate` is at least 0 and below 1 in single precision, with which kernels compute: what is
/// kept is divided by 1 - rate.
inline bool isDropoutRate(double rate) { return rate >= 0 && static_cast<float>(rate) < 1; }

} // namespace seqpar::nn

#endif
