//===- Convert.h - tensors of 16 bits on the CPU ----------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Device.h"
#include "seqpar/rt/cpu/Scratch.h"
#include "seqpar/rt/cpu/ThreadPool.h"

namespace seqpar::rt {

/// to[i, j] = from[i, j] for i < rows, j < columns, in fp32; leading dimensions in elements.
void widen(ThreadPool &pool, FloatType type, const void *from, int64_t fromLd, float *to,
           int64_t toLd, int64_t rows, int64_t columns);
/// The same from fp32, rounded to the type.
void narrow(ThreadPool &pool, FloatType type, const float *from, int64_t fromLd, void *to,
            int64_t toLd, int64_t rows, int64_t columns);

/// A matrix without gaps in fp32: where it is, or widened into `scratch`.
const float *asFloats(ThreadPool &pool, FloatType type, const void *from, int64_t rows,
                      int64_t columns, Scratch &scratch);

} // namespace seqpar::rt
