//===- Gemm.h - matrix products on the CPU ----------------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Device.h"
#include "seqpar/rt/cpu/Scratch.h"
#include "seqpar/rt/cpu/ThreadPool.h"

namespace seqpar::rt {

/// A product of fp32 matrices, as GemmArgs describe it.
struct FloatProduct {
  const float *a, *b;
  float *c;
  int64_t m, n, k;
  bool transposeA, transposeB;
  int64_t lda, ldb, ldc;
  float alpha;
  bool accumulate;
};

/// The product in the calling thread (oneDNN, single-threaded). Throws Error when a leading
/// dimension is smaller than its row.
void gemmInThread(const FloatProduct &product);

/// The same over a pool: each thread computes a slice of rows or of columns of c. The common
/// dimension is never split.
void gemm(ThreadPool &pool, const FloatProduct &product);

/// Products of all types: 16-bit matrices are widened into scratch memory, which grows to the
/// largest product seen, multiplied in fp32, and the result is rounded.
class CpuGemm {
public:
  explicit CpuGemm(ThreadPool &pool) : pool(pool) {}

  /// See Device. Throws Error on leading dimensions and types outside the interface.
  void run(const GemmArgs &args);

private:
  void finish(const GemmArgs &args, const FloatProduct &product);

  ThreadPool &pool;
  Scratch a, b, c, bias;
};

} // namespace seqpar::rt
