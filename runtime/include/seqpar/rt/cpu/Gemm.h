//===- Gemm.h - matrix products on the CPU ----------------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Device.h"
#include "seqpar/rt/cpu/ThreadPool.h"

namespace seqpar::rt {

/// The product of GemmArgs in the calling thread (oneDNN, single-threaded). Throws Error when a
/// leading dimension is smaller than its row.
void gemmInThread(const GemmArgs &args);

/// The same over a pool: each thread computes a slice of rows or of columns of c. The common
/// dimension is never split.
void gemm(ThreadPool &pool, const GemmArgs &args);

} // namespace seqpar::rt
