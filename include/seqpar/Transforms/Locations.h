//===- Locations.h - source locations as people read them -------*- C++ -*-===//
#pragma once

#include "mlir/IR/Location.h"

#include <string>

namespace seqpar {

/// "nn.linear bert-tiny.mlir:21:10" of a named location, "bert-tiny.mlir:21:10" of another; of a
/// fused location its distinct parts, joined by ", "; empty when unknown.
std::string describeLocation(mlir::Location location);

} // namespace seqpar
