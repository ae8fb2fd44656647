//===- ToyModel.h - a small model that uses every instruction ---*- C++ -*-===//
//
// Tokens are embedded, attend to each other (queries, keys and values are the embeddings), and the
// masked positions predict their token with the same table: ring attention forward and backward,
// the head on masked rows, a tied table, AdamW. Written as the compiler would, by hand.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "ProgramBuilder.h"
#include "TestDevice.h"

#include <cstdint>
#include <vector>

namespace seqpar::rt::test {

inline constexpr int64_t kToyWidth = 8, kToyHeads = 2;

/// `shape` as the builder takes it; masked rows are worked on `rowChunk` at a time. `sharded`: the
/// ranks share the update, and the reduction of the gradient begins in the last micro-batch.
std::vector<uint8_t> toyProgram(const ProgramShape &shape, int64_t rowChunk = 3,
                                bool sharded = false, const CudaWriter *cuda = nullptr);

/// Shape of the toy program on a grid for sequences of `length` positions, cut in equal chunks.
ProgramShape toyShape(int sp, int64_t length, int dp = 1, int64_t microBatches = 1,
                      int64_t microBatch = 2);

/// Kernels of the toy program.
TestKernels toyKernels();

} // namespace seqpar::rt::test
