//===- DeviceGemmConformance.cpp - matrix products ------------------------===//

#include "DeviceConformance.h"

#include "seqpar/rt/Error.h"

#include <cmath>

namespace seqpar::rt::test {
namespace {

struct Product {
  int64_t m, n, k;
  bool transposeA, transposeB;
  float alpha;
  bool accumulate;
  int64_t padA = 0, padB = 0, padC = 0; ///< leading dimension beyond the row
};

/// Matrices of the host, of which those of 16 bits hold numbers of their type.
struct Matrices {
  Matrices(const Product &p, FloatType type, FloatType resultType)
      : lda((p.transposeA ? p.m : p.k) + p.padA), ldb((p.transposeB ? p.k : p.n) + p.padB),
        ldc(p.n + p.padC), a(randomFloats((p.transposeA ? p.k : p.m) * lda, 1)),
        b(randomFloats((p.transposeB ? p.n : p.k) * ldb, 2)), c(randomFloats(p.m * ldc, 3)) {
    for (std::vector<float> *matrix : {&a, &b})
      for (float &value : *matrix)
        value = rounded(type, value);
    for (float &value : c)
      value = rounded(resultType, value);
  }

  int64_t lda, ldb, ldc;
  std::vector<float> a, b, c;
};

std::vector<double> reference(const Product &p, const Matrices &with) {
  std::vector<double> c(with.c.begin(), with.c.end());
  for (int64_t i = 0; i < p.m; ++i)
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < p.k; ++l)
        sum += double(with.a[p.transposeA ? l * with.lda + i : i * with.lda + l]) *
               double(with.b[p.transposeB ? j * with.ldb + l : l * with.ldb + j]);
      double &to = c[i * with.ldc + j];
      to = (p.accumulate ? to : 0) + double(p.alpha) * sum;
    }
  return c;
}

/// fp32 sums of k terms in [-1, 1]: the error grows with sqrt(k), as does the largest result.
constexpr double kTolerance = 5e-6;

/// The largest number of half units, of its type, that an element is from the expected one, after
/// what fp32 sums may lose.
double halfUnitsOff(FloatType type, const std::vector<float> &found,
                    const std::vector<double> &expected) {
  double largest = 1e-30, most = 0;
  for (double value : expected)
    largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < found.size(); ++i) {
    double off = std::abs(double(found[i]) - expected[i]) - kTolerance * largest;
    most = std::max(most, std::isnan(off) ? INFINITY : off / halfUnit(type, expected[i]));
  }
  return most;
}

/// Entries of c that must not be read hold NaN; entries between rows must not be written.
void check(Device &device, const Product &p, FloatType type = FloatType::F32,
           FloatType resultType = FloatType::F32) {
  Matrices host(p, type, resultType);
  std::vector<double> expected = reference(p, host);
  if (!p.accumulate)
    for (int64_t i = 0; i < p.m; ++i)
      std::fill_n(host.c.begin() + i * host.ldc, p.n, NAN);
  FloatArray a(device, host.a, type), b(device, host.b, type), c(device, host.c, resultType);
  device.gemm({.a = a.data(),
               .b = b.data(),
               .c = c.data(),
               .m = p.m,
               .n = p.n,
               .k = p.k,
               .transposeA = p.transposeA,
               .transposeB = p.transposeB,
               .lda = host.lda,
               .ldb = host.ldb,
               .ldc = host.ldc,
               .alpha = p.alpha,
               .accumulate = p.accumulate,
               .type = type,
               .resultType = resultType});
  SCOPED_TRACE(testing::Message() << "m " << p.m << " n " << p.n << " k " << p.k << " transposes "
                                  << p.transposeA << p.transposeB << " accumulate " << p.accumulate
                                  << " types " << int(type) << int(resultType));
  if (resultType == FloatType::F32)
    EXPECT_LT(relativeDifference(c.values(), expected), kTolerance);
  else // rounded once, to the nearest
    EXPECT_LE(halfUnitsOff(resultType, c.values(), expected), 1.0);
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

TEST_P(DeviceConformance, GemmOf16Bits) {
  for (FloatType type : {FloatType::BF16, FloatType::F16})
    for (FloatType resultType : {type, FloatType::F32})
      for (int form = 0; form < 8; ++form) {
        bool ta = form & 1, tb = form & 2, accumulate = form & 4;
        check(*device, {48, 31, 100, ta, tb, 1.0f, accumulate}, type, resultType);
        check(*device, {70, 90, 35, ta, tb, -2.0f, accumulate, 3, 8, 5}, type, resultType);
        check(*device, {401, 150, 57, ta, tb, 0.5f, accumulate}, type, resultType);
      }
}

/// A bias, and GeLU of the sum, both of what is not yet rounded.
void checkEpilogue(Device &device, FloatType type, bool saves) {
  Product p{70, 96, 35, false, true, 1.0f, false};
  Matrices host(p, type, type);
  std::vector<double> sums = reference(p, host), results;
  std::vector<float> bias = randomFloats(p.n, 4);
  for (float &value : bias)
    value = rounded(type, value);
  for (size_t i = 0; i < sums.size(); ++i) {
    double x = sums[i] += double(bias[i % size_t(p.n)]);
    results.push_back(
        saves ? 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))) : x);
  }
  FloatArray a(device, host.a, type), b(device, host.b, type),
      c(device, std::vector<float>(results.size(), NAN), type),
      saved(device, std::vector<float>(results.size(), NAN), type), added(device, bias, type);
  GemmArgs args{a.data(), b.data(), c.data(), p.m,    p.n,  p.k,   false, true,
                host.lda, host.ldb, host.ldc, 1.0f, false, type,  type};
  args.bias = added.data();
  args.saved = saves ? saved.data() : nullptr;
  device.gemm(args);
  SCOPED_TRACE(testing::Message() << "type " << int(type) << " saves " << saves);
  auto check = [&](FloatArray &found, const std::vector<double> &expected) {
    if (type == FloatType::F32)
      EXPECT_LT(relativeDifference(found.values(), expected), kTolerance);
    else
      EXPECT_LE(halfUnitsOff(type, found.values(), expected), 1.0);
  };
  check(c, results);
  if (saves)
    check(saved, sums);
}

TEST_P(DeviceConformance, GemmWithEpilogues) {
  for (FloatType type : {FloatType::F32, FloatType::BF16, FloatType::F16})
    for (bool saves : {false, true})
      checkEpilogue(*device, type, saves);
}

TEST_P(DeviceConformance, GemmOf16BitsWithoutTerms) {
  for (FloatType type : {FloatType::BF16, FloatType::F16})
    for (FloatType resultType : {type, FloatType::F32})
      for (bool accumulate : {false, true}) {
        check(*device, {5, 7, 0, false, false, 1.0f, accumulate, 4, 0, 2}, type, resultType);
        check(*device, {0, 7, 3, false, false, 1.0f, accumulate}, type, resultType);
      }
}

/// 2^-11 past an even number of f16 is a tie, as is 3 * 2^-11 past it; sums are exact.
TEST_P(DeviceConformance, GemmRoundsTiesToEven) {
  for (FloatType type : {FloatType::BF16, FloatType::F16}) {
    float half = float(halfUnit(type, 1.0));
    FloatArray a(*device, {1.0f, half, 1.0f, 3 * half, -1.0f, -half, 65504.0f, 65504.0f}, type),
        b(*device, {1.0f, 1.0f}, type), c(*device, std::vector<float>(4), type);
    device->gemm({.a = a.data(),
                  .b = b.data(),
                  .c = c.data(),
                  .m = 4,
                  .n = 1,
                  .k = 2,
                  .transposeA = false,
                  .transposeB = false,
                  .lda = 2,
                  .ldb = 1,
                  .ldc = 1,
                  .alpha = 1,
                  .accumulate = false,
                  .type = type,
                  .resultType = type});
    float twice = type == FloatType::F16 ? INFINITY : 131072.0f;
    EXPECT_EQ(c.values(), (std::vector<float>{1.0f, 1 + 4 * half, -1.0f, twice}));
  }
}

TEST_P(DeviceConformance, GemmRefusesAWiderOperandThanResult) {
  FloatArray a(*device, randomFloats(64, 1), FloatType::F32);
  try {
    device->gemm({a.data(), a.data(), a.data(), 4, 4, 4, false, false, 4, 4, 4, 1.0f, false,
                  FloatType::F32, FloatType::BF16});
    device->synchronize();
    FAIL() << "a bf16 result of fp32 operands was accepted";
  } catch (const Error &error) {
    EXPECT_NE(std::string(error.what()).find("operands' type or fp32"), std::string::npos);
  }
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
