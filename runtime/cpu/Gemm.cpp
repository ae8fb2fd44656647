//===- Gemm.cpp - matrix products on the CPU ------------------------------===//

#include "seqpar/rt/cpu/Gemm.h"

#include "seqpar/rt/Error.h"
#include "seqpar/rt/cpu/Convert.h"

#include <dnnl.h>

#include <algorithm>
#include <cmath>

// Of the OpenMP library that oneDNN uses (GCC's, whose omp.h clang does not find).
extern "C" void omp_set_num_threads(int);

namespace seqpar::rt {

namespace {

/// Slices are multiples of the extents of oneDNN's inner kernel (AVX-512: 8 rows by 48 columns of a
/// row-major result), so that only the last one has a ragged edge, and give each thread at least
/// this much of the result: the library takes another path for small products, whose sums round
/// differently.
constexpr int64_t kRowGranule = 16, kColumnGranule = 48, kLeastResult = 128 * 192;

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// oneDNN parallelises through OpenMP; threads of a rank are bounded by its pool alone. The setting
/// belongs to the calling thread, so every thread makes it once.
void useOneOpenMPThread() {
  thread_local bool done = false;
  if (!done)
    omp_set_num_threads(1);
  done = true;
}

void checkLeadingDimension(const char *name, int64_t found, int64_t least) {
  if (found < least)
    fail("gemm: expected a leading dimension of at least {} for {}, found {}", least, name, found);
}

template <typename Args> void checkExtents(const Args &args) {
  if (args.m < 0 || args.n < 0 || args.k < 0)
    fail("gemm: expected extents of at least 0, found m = {}, n = {}, k = {}", args.m, args.n,
         args.k);
  if (args.m == 0 || args.n == 0)
    return;
  checkLeadingDimension("c", args.ldc, args.n);
  if (args.k == 0)
    return;
  checkLeadingDimension("a", args.lda, args.transposeA ? args.m : args.k);
  checkLeadingDimension("b", args.ldb, args.transposeB ? args.k : args.n);
}

void scaleResult(const FloatProduct &args) {
  if (args.accumulate)
    return;
  for (int64_t i = 0; i < args.m; ++i)
    std::fill_n(args.c + i * args.ldc, args.n, 0.0f);
}

/// The tanh form: sqrt(2 / pi) * (x + 0.044715 x^3).
float gelu(float x) {
  return 0.5f * x * (1 + std::tanh(0.7978845608028654f * (x + 0.044715f * (x * x * x))));
}

template <typename Body>
void eachRow(ThreadPool &pool, const FloatProduct &product, const Body &body) {
  pool.parallelFor(product.m, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i)
      body(product.c + i * product.ldc);
  });
}

FloatProduct rowSlice(FloatProduct args, int64_t begin, int64_t end) {
  args.a += args.transposeA ? begin : begin * args.lda;
  args.c += begin * args.ldc;
  args.m = end - begin;
  return args;
}

FloatProduct columnSlice(FloatProduct args, int64_t begin, int64_t end) {
  args.b += args.transposeB ? begin * args.ldb : begin;
  args.c += begin;
  args.n = end - begin;
  return args;
}

} // namespace

void gemmInThread(const FloatProduct &args) {
  checkExtents(args);
  if (args.m == 0 || args.n == 0)
    return;
  if (args.k == 0)
    return scaleResult(args);
  useOneOpenMPThread();
  dnnl_status_t status = dnnl_sgemm(args.transposeA ? 'T' : 'N', args.transposeB ? 'T' : 'N',
                                    args.m, args.n, args.k, args.alpha, args.a, args.lda, args.b,
                                    args.ldb, args.accumulate ? 1.0f : 0.0f, args.c, args.ldc);
  if (status != dnnl_success)
    fail("gemm: oneDNN returned status {} for m = {}, n = {}, k = {}{}", int(status), args.m,
         args.n, args.k, status == dnnl_out_of_memory ? " (out of memory)" : "");
}

void gemm(ThreadPool &pool, const FloatProduct &args) {
  int64_t slices = pool.threads();
  if (slices > 1)
    slices = std::min(slices, args.m * args.n / kLeastResult);
  if (slices <= 1)
    return gemmInThread(args);
  // The split whose largest slice is the smaller share of the whole.
  auto sliceOf = [&](int64_t extent, int64_t granule) {
    return ceilDiv(ceilDiv(extent, granule), slices) * granule;
  };
  int64_t rows = sliceOf(args.m, kRowGranule), columns = sliceOf(args.n, kColumnGranule);
  bool byRows = rows * args.n <= columns * args.m;
  int64_t slice = byRows ? rows : columns, extent = byRows ? args.m : args.n;
  pool.parallelFor(ceilDiv(extent, slice), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t from = i * slice, to = std::min(from + slice, extent);
      gemmInThread(byRows ? rowSlice(args, from, to) : columnSlice(args, from, to));
    }
  });
}

void CpuGemm::run(const GemmArgs &args) {
  checkExtents(args);
  if (args.resultType != args.type && args.resultType != FloatType::F32)
    fail("gemm: expected a result of the operands' type or fp32");
  if (args.bias && args.accumulate)
    fail("gemm: expected to overwrite the result with a bias");
  if (args.saved && (!args.bias || args.ldc % 8))
    fail("gemm: expected a bias and a leading dimension that 8 divides with a saved sum, found {}",
         args.ldc);
  if (args.m == 0 || args.n == 0)
    return;
  FloatProduct product{.a = static_cast<const float *>(args.a),
                       .b = static_cast<const float *>(args.b),
                       .c = static_cast<float *>(args.c),
                       .m = args.m,
                       .n = args.n,
                       .k = args.k,
                       .transposeA = args.transposeA,
                       .transposeB = args.transposeB,
                       .lda = args.lda,
                       .ldb = args.ldb,
                       .ldc = args.ldc,
                       .alpha = args.alpha,
                       .accumulate = args.accumulate};
  if (args.type == FloatType::F32) {
    gemm(pool, product);
    return finish(args, product);
  }
  auto widened = [&](Scratch &scratch, const void *from, int64_t &ld, int64_t rows,
                     int64_t columns) {
    auto *to = static_cast<float *>(scratch.atLeast(size_t(rows * columns) * sizeof(float)));
    widen(pool, args.type, from, ld, to, columns, rows, columns);
    ld = columns;
    return to;
  };
  if (args.k > 0) {
    product.a = widened(a, args.a, product.lda, args.transposeA ? args.k : args.m,
                        args.transposeA ? args.m : args.k);
    product.b = widened(b, args.b, product.ldb, args.transposeB ? args.n : args.k,
                        args.transposeB ? args.k : args.n);
  }
  if (args.resultType == FloatType::F32) {
    gemm(pool, product);
    return finish(args, product);
  }
  product.c = args.accumulate
                  ? widened(c, args.c, product.ldc, args.m, args.n)
                  : static_cast<float *>(c.atLeast(size_t(args.m * args.n) * sizeof(float)));
  product.ldc = args.n;
  gemm(pool, product);
  finish(args, product);
  narrow(pool, args.type, product.c, args.n, args.c, args.ldc, args.m, args.n);
}

/// Bias and GeLU of the sums in `product.c`; what is saved is rounded to the type of the result.
void CpuGemm::finish(const GemmArgs &args, const FloatProduct &product) {
  if (!args.bias)
    return;
  const float *added = asFloats(pool, args.resultType, args.bias, 1, args.n, bias);
  eachRow(pool, product, [&](float *row) {
    for (int64_t j = 0; j < product.n; ++j)
      row[j] += added[j];
  });
  if (!args.saved)
    return;
  narrow(pool, args.resultType, product.c, product.ldc, args.saved, args.ldc, args.m, args.n);
  eachRow(pool, product, [&](float *row) {
    for (int64_t j = 0; j < product.n; ++j)
      row[j] = gelu(row[j]);
  });
}

} // namespace seqpar::rt
