//===- Memory.h - sizes of memory -------------------------------*- C++ -*-===//
#pragma once

#include "mlir/IR/Value.h"

#include <cstdint>

namespace seqpar::plan {

/// Bytes of a memref of static shape, an element taking whole bytes.
int64_t getByteCount(mlir::Value memory);

} // namespace seqpar::plan
