//===- DeviceGemmConformance.cpp - matrix products ------------------------===//

#include "DeviceConformance.h"

#include "seqpar/rt/Error.h"

namespace seqpar::rt::test {
namespace {

struct Product {
  int64_t m, n, k;
  bool transposeA, transposeB;
  float alpha;
  bool accumulate;
  int64_t padA = 0, padB = 0, padC = 0; ///< leading dimension beyond the row
};

std::vector<double> reference(const Product &p, const GemmArgs &args) {
  std::vector<double> c(args.c, args.c + p.m * args.ldc);
  for (int64_t i = 0; i < p.m; ++i)
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < p.k; ++l)
        sum += double(args.a[p.transposeA ? l * args.lda + i : i * args.lda + l]) *
               double(args.b[p.transposeB ? j * args.ldb + l : l * args.ldb + j]);
      double &to = c[i * args.ldc + j];
      to = (p.accumulate ? to : 0) + double(p.alpha) * sum;
    }
  return c;
}

/// Entries of c that must not be read hold NaN; entries between rows must not be written.
void check(Device &device, const Product &p) {
  int64_t lda = (p.transposeA ? p.m : p.k) + p.padA, ldb = (p.transposeB ? p.k : p.n) + p.padB,
          ldc = p.n + p.padC;
  std::vector<float> a = randomFloats((p.transposeA ? p.k : p.m) * lda, 1),
                     b = randomFloats((p.transposeB ? p.n : p.k) * ldb, 2),
                     c = randomFloats(p.m * ldc, 3);
  GemmArgs args{a.data(),     b.data(), c.data(), p.m, p.n,     p.k,         p.transposeA,
                p.transposeB, lda,      ldb,      ldc, p.alpha, p.accumulate};
  std::vector<double> expected = reference(p, args);
  if (!p.accumulate)
    for (int64_t i = 0; i < p.m; ++i)
      std::fill_n(c.begin() + i * ldc, p.n, NAN);
  DeviceArray<float> deviceA(device, a), deviceB(device, b), deviceC(device, c);
  args.a = deviceA.data(), args.b = deviceB.data(), args.c = deviceC.data();
  device.gemm(args);
  // fp32 sums of k terms in [-1, 1]: the error grows with sqrt(k), as does the largest result.
  EXPECT_LT(relativeDifference(deviceC.values(), expected), 5e-6)
      << "m " << p.m << " n " << p.n << " k " << p.k << " transposes " << p.transposeA
      << p.transposeB << " accumulate " << p.accumulate;
}

TEST_P(DeviceConformance, GemmOfAllForms) {
  const int64_t shapes[][3] = {{1, 1, 1},    {1, 70, 33},    {65, 1, 40},  {17, 50, 1},
                               {64, 96, 64}, {130, 100, 67}, {48, 31, 500}};
  for (auto [m, n, k] : shapes)
    for (int form = 0; form < 8; ++form)
      check(*device,
            {m, n, k, bool(form & 1), bool(form & 2), form & 4 ? 0.5f : 1.0f, bool(form & 4)});
}

TEST_P(DeviceConformance, GemmWithLeadingDimensions) {
  for (int form = 0; form < 8; ++form)
    check(*device, {70, 90, 35, bool(form & 1), bool(form & 2), -2.0f, bool(form & 4), 3, 8, 5});
}

TEST_P(DeviceConformance, GemmLargeEnoughToSplit) {
  for (int form = 0; form < 4; ++form) {
    check(*device, {701, 150, 57, bool(form & 1), bool(form & 2), 1.0f, false});
    check(*device, {70, 1500, 65, bool(form & 1), bool(form & 2), 1.0f, true, 0, 0, 7});
  }
  check(*device, {64, 64, 20000, true, false, 0.125f, true});
}

TEST_P(DeviceConformance, GemmWithoutTerms) {
  check(*device, {5, 7, 0, false, false, 1.0f, false, 4, 0, 2});
  check(*device, {5, 7, 0, false, true, 1.0f, true, 4, 4, 2});
  check(*device, {0, 7, 3, false, false, 1.0f, false});
  check(*device, {5, 0, 3, false, false, 1.0f, false, 0, 1, 1});
}

TEST_P(DeviceConformance, GemmErrorNamesTheLeadingDimension) {
  DeviceArray<float> a(*device, randomFloats(64, 1));
  try {
    device->gemm({a.data(), a.data(), a.data(), 4, 4, 4, false, false, 4, 3, 4, 1.0f, false});
    device->synchronize();
    FAIL() << "a leading dimension of 3 for rows of 4 was accepted";
  } catch (const Error &error) {
    EXPECT_NE(std::string(error.what()).find("at least 4 for b, found 3"), std::string::npos)
        << error.what();
  }
}

} // namespace
} // namespace seqpar::rt::test
