//===- KernelBench.cpp - the CPU device against the machine's limits ------===//
//
// One JSON object per line. `ratio` is the device's rate divided by the limit named in `limit`:
//   gemm       the library called directly on one core (oneDNN), times the threads
//   attention  the best GEMM rate of one core, times the threads
//   rowKernel  memcpy of as many bytes on one core (with --program)
// Every line has the two measured in turns, so a busy machine slows both.
//
//===----------------------------------------------------------------------===//

#include "Bench.h"
#include "RowKernelBench.h"

#include "seqpar/rt/Device.h"

#include <CLI/CLI.hpp>
#include <dnnl.h>
#include <fmt/format.h>

#include <random>
#include <vector>

using namespace seqpar;
using namespace seqpar::rt;

namespace {

std::vector<float> randomFloats(size_t count) {
  std::mt19937 generator(1);
  std::vector<float> values(count);
  for (float &value : values)
    value = float(generator()) / 2147483648.0f - 1.0f;
  return values;
}

void benchGemm(Device &device, int threads, int64_t m, int64_t n, int64_t k, bool transposeA,
               bool transposeB) {
  std::vector<float> a = randomFloats(m * k), b = randomFloats(k * n), c(m * n), d(m * n);
  int64_t lda = transposeA ? m : k, ldb = transposeB ? k : n;
  bench::Pair time = bench::compare(
      [&] {
        device.gemm({a.data(), b.data(), c.data(), m, n, k, transposeA, transposeB, lda, ldb, n,
                     1.0f, false});
      },
      [&] {
        dnnl_sgemm(transposeA ? 'T' : 'N', transposeB ? 'T' : 'N', m, n, k, 1.0f, a.data(), lda,
                   b.data(), ldb, 0.0f, d.data(), n);
      });
  double work = 2e-9 * double(m) * double(n) * double(k), rate = work / time.first,
         limit = work / time.second * threads;
  fmt::print("{{\"bench\":\"gemm\",\"m\":{},\"n\":{},\"k\":{},\"form\":\"{}{}\",\"threads\":{},"
             "\"gflops\":{:.1f},\"limit\":{:.1f},\"ratio\":{:.3f}}}\n",
             m, n, k, transposeA ? 'T' : 'N', transposeB ? 'T' : 'N', threads, rate, limit,
             rate / limit);
}

/// A product of this shape reaches oneDNN's best rate.
struct PeakGemm {
  static constexpr int64_t size = 768;
  std::vector<float> a = randomFloats(size * size), b = a, c = a;
  void operator()() {
    dnnl_sgemm('N', 'N', size, size, size, 1.0f, a.data(), size, b.data(), size, 0.0f, c.data(),
               size);
  }
  static double rate(double seconds) { return 2e-9 * double(size) * size * size / seconds; }
};

void benchAttention(Device &device, int threads, AttentionShape shape, float dropout) {
  size_t elements = shape.batch * shape.heads * shape.headDim * shape.queries;
  size_t statistics = shape.batch * shape.heads * shape.queries;
  std::vector<float> q = randomFloats(elements), k = q, v = q, dout = q, out(elements),
                     dq(elements), dk(elements), dv(elements), lse(statistics), sum(statistics),
                     delta(statistics);
  std::vector<int32_t> mask(shape.batch * shape.maskLength, 1), samples(shape.batch);
  AttentionDropout drop = {dropout, 1, 2, 3, samples.data(), 0, 0};
  PeakGemm peak;
  double products = 2e-9 * double(statistics) * double(shape.keys) * double(shape.headDim);
  auto report = [&](const char *direction, double work, bench::Pair time) {
    double rate = work / time.first, limit = PeakGemm::rate(time.second) * threads;
    fmt::print("{{\"bench\":\"attention\",\"direction\":\"{}\",\"batch\":{},\"heads\":{},"
               "\"head_dim\":{},\"length\":{},\"dropout\":{},\"threads\":{},\"ms\":{:.3f},"
               "\"gflops\":{:.1f},\"limit\":{:.1f},\"ratio\":{:.3f}}}\n",
               direction, shape.batch, shape.heads, shape.headDim, shape.keys, dropout, threads,
               time.first * 1e3, rate, limit, rate / limit);
  };
  auto forward = [&] {
    device.attentionForward({shape, q.data(), k.data(), v.data(), mask.data(), out.data(),
                             lse.data(), sum.data(), true, true, drop});
  };
  report("forward", 2 * products, bench::compare(forward, peak));
  forward();
  report("backward", 5 * products,
         bench::compare(
             [&] {
               device.attentionBackward({shape, q.data(), k.data(), v.data(), mask.data(),
                                         out.data(), lse.data(), dout.data(), delta.data(),
                                         dq.data(), dk.data(), dv.data(), true, false, drop});
             },
             peak));
}

} // namespace

int main(int argc, char **argv) {
  int threads = 1;
  std::string target, only, program;
  CLI::App app("Measures the CPU device's operations against the machine's limits.");
  app.add_option("--threads", threads, "threads of the device")->check(CLI::Range(1, 1024));
  app.add_option("--target", target, "x86-64-v4 or x86-64-v3; default: the best of the host")
      ->check(CLI::IsMember({"x86-64-v4", "x86-64-v3"}));
  app.add_option("--only", only, "gemm, attention or none; default: both")
      ->check(CLI::IsMember({"gemm", "attention", "none"}));
  app.add_option("--program", program, "also run the row kernels of this program file")
      ->check(CLI::ExistingFile);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  bench::useClockFor(threads);
  try {
    std::unique_ptr<Device> device = createCpuDevice(threads, target);
    if (only.empty() || only == "gemm")
      for (int64_t rows : {128, 512, 2048})
        for (auto [n, k] : {std::pair<int64_t, int64_t>{768, 768}, {3072, 768}, {768, 3072}}) {
          benchGemm(*device, threads, rows, n, k, false, true);
          benchGemm(*device, threads, rows, k, n, false, false);
          benchGemm(*device, threads, n, k, rows, true, false);
        }
    if (only.empty() || only == "attention")
      for (float dropout : {0.0f, 0.1f})
        for (auto [headDim, length] :
             {std::pair<int64_t, int64_t>{64, 128}, {64, 512}, {64, 2048}, {128, 512}, {32, 512}})
          benchAttention(*device, threads,
                         {1, 768 / headDim, headDim, length, length, length, 0, 0.125f}, dropout);
    if (!program.empty())
      bench::benchRowKernels(*device, program);
  } catch (const std::exception &error) {
    fmt::print(stderr, "seqpar-bench-kernels: error: {}\n", error.what());
    return 1;
  }
}
