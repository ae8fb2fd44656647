//===- AttentionTilesImpl.h - see AttentionTiles.h --------------*- C++ -*-===//
//
// Included once per instruction set, with kWidth set to the floats of a register. Everything here
// has internal linkage and calls no inline function of another header that the linker could merge
// with a copy for another instruction set.
//
//===----------------------------------------------------------------------===//

#include "seqpar/rt/Philox.h"
#include "seqpar/rt/cpu/AttentionTiles.h"

#include <math.h>
#include <string.h>

namespace seqpar::rt {
namespace {

typedef float Floats __attribute__((vector_size(kWidth * 4)));
typedef int32_t Ints __attribute__((vector_size(kWidth * 4)));
typedef uint32_t Words __attribute__((vector_size(kWidth * 4)));
typedef uint64_t Longs __attribute__((vector_size(kWidth * 4)));

template <int... lane> struct Lanes {};

/// Tiles are at most this wide.
constexpr int64_t kMaxColumns = 512;

template <typename Vector> inline Vector load(const void *from) {
  Vector value;
  memcpy(&value, from, sizeof(value));
  return value;
}
inline void store(float *to, Floats value) { memcpy(to, &value, sizeof(value)); }
inline Floats broadcast(float value) { return value - Floats{}; }
inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }

inline float horizontalMax(Floats v) {
  float parts[kWidth];
  memcpy(parts, &v, sizeof(v));
  for (int half = kWidth / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      parts[i] = parts[i] > parts[i + half] ? parts[i] : parts[i + half];
  return parts[0];
}
inline float horizontalSum(Floats v) {
  float parts[kWidth];
  memcpy(parts, &v, sizeof(v));
  for (int half = kWidth / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      parts[i] += parts[i + half];
  return parts[0];
}

/// exp(x) for x <= 0 or so: 2^n * p(r) with n = round(x / ln 2), |r| <= ln(2) / 2 and p a minimax
/// polynomial of degree 6 (relative error 3e-9). Exactly 0 below -86.6 (2^-125), so for -infinity;
/// NaN for NaN.
inline Floats exponential(Floats x) {
  constexpr float magic = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer in the low bits
  Floats shifted = x * 1.44269504f + magic;
  Floats n = shifted - magic;
  Floats r = x - n * 0.693359375f; // ln 2 in two parts
  r = r + n * 2.12194440e-4f;
  Floats p = broadcast(0.00138145988f);
  p = p * r + 0.00836871658f;
  p = p * r + 0.041668389f;
  p = p * r + 0.166665211f;
  p = p * r + 0.49999994f;
  p = p * (r * r) + (r + 1.0f);
  Floats scaled = (Floats)((Words)p + ((Words)shifted << 23));
  return x < -86.6f ? Floats{} : scaled;
}

/// Low and high halves of the 64-bit products of all lanes with a constant.
inline void multiplyWide(Words a, uint32_t b, Words &low, Words &high) {
  Longs even = ((Longs)a & 0xffffffffu) * (uint64_t)b;
  Longs odd = ((Longs)a >> 32) * (uint64_t)b;
  low = (Words)((even & 0xffffffffu) | (odd << 32));
  high = (Words)((even >> 32) | (odd & ~(uint64_t)0xffffffffu));
}

/// a[0], b[0], a[1], b[1]...
template <int... lane>
inline void interleave(Words a, Words b, Words &low, Words &high, Lanes<lane...>) {
  low = __builtin_shufflevector(a, b, (lane / 2 + lane % 2 * kWidth)...);
  high = __builtin_shufflevector(a, b, (kWidth / 2 + lane / 2 + lane % 2 * kWidth)...);
}
inline void interleave(Words a, Words b, Words &low, Words &high) {
  if constexpr (kWidth == 16)
    interleave(a, b, low, high, Lanes<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>());
  else
    interleave(a, b, low, high, Lanes<0, 1, 2, 3, 4, 5, 6, 7>());
}

/// factors[j] = 0 or `scale` for keys key..key + columns of query `position`. Blocks hold four
/// neighbouring keys, so the first one may start before `key`: returns where `key` is in `buffer`,
/// which has room for columns + 4 * kWidth + 4.
const float *dropoutFactors(const TileDropout &d, uint32_t position, int64_t columns,
                            float *buffer) {
  Words lane;
  for (int i = 0; i < kWidth; ++i)
    lane[i] = i;
  int64_t lead = d.key % 4;
  for (int64_t j = 0; j < lead + columns; j += 4 * kWidth) {
    Words x0 = lane + (d.key / 4 + (uint32_t)(j / 4)), x1 = position - Words{};
    Words x2 = d.sample - Words{}, x3 = d.siteAndHead - Words{};
    uint32_t k0 = d.seed, k1 = d.step;
    for (int round = 0; round < kPhiloxRounds; ++round) {
      Words low0, high0, low1, high1;
      multiplyWide(x0, kPhiloxMultiplier0, low0, high0);
      multiplyWide(x2, kPhiloxMultiplier1, low1, high1);
      x0 = high1 ^ x1 ^ k0;
      x1 = low1;
      x2 = high0 ^ x3 ^ k1;
      x3 = low0;
      k0 += kPhiloxWeyl0;
      k1 += kPhiloxWeyl1;
    }
    // Word w of block i is element 4 * i + w: two rounds of interleaving bring the lanes in order.
    Words low02, high02, low13, high13, ordered[4];
    interleave(x0, x2, low02, high02);
    interleave(x1, x3, low13, high13);
    interleave(low02, low13, ordered[0], ordered[1]);
    interleave(high02, high13, ordered[2], ordered[3]);
    for (int w = 0; w < 4; ++w)
      store(buffer + j + w * kWidth, ordered[w] < d.threshold ? Floats{} : broadcast(d.scale));
  }
  return buffer + lead;
}

template <bool Masked> inline Floats score(const float *scores, const int32_t *keep, int64_t j) {
  Floats value = load<Floats>(scores + j);
  if constexpr (Masked)
    value = load<Ints>(keep + j) ? value : broadcast(-INFINITY);
  return value;
}

template <bool Masked, bool Dropped> void forwardTile(const ForwardTile &t) {
  float buffer[kMaxColumns + 4 * kWidth + 4];
  for (int64_t i = 0; i < t.rows; ++i) {
    float *scores = t.scores + i * t.scoresLd;
    Floats largest = broadcast(t.maximum[i]);
    for (int64_t j = 0; j < t.columns; j += kWidth)
      largest = larger(score<Masked>(scores, t.keep, j), largest);
    float maximum = horizontalMax(largest);
    if (maximum > t.maximum[i]) {
      float *out = t.out + i * t.outLd;
      float correction = exponential(broadcast(t.maximum[i] - maximum))[0];
      for (int64_t c = 0; c < t.headDim; ++c)
        out[c] *= correction;
      t.sum[i] *= correction;
      t.maximum[i] = maximum;
    }
    // Without any key so far the difference below would be NaN; any finite number will do.
    float shift = maximum == -INFINITY ? 0.0f : maximum;
    Floats sum = {};
    const float *factors =
        Dropped ? dropoutFactors(t.dropout, t.dropout.position + i, t.columns, buffer) : nullptr;
    for (int64_t j = 0; j < t.columns; j += kWidth) {
      Floats p = exponential(score<Masked>(scores, t.keep, j) - shift);
      sum += p;
      if constexpr (Dropped)
        p *= load<Floats>(factors + j);
      store(scores + j, p);
    }
    t.sum[i] += horizontalSum(sum);
  }
}

template <bool Masked, bool Dropped> void backwardTile(const BackwardTile &t) {
  float buffer[kMaxColumns + 4 * kWidth + 4];
  for (int64_t i = 0; i < t.rows; ++i) {
    float *scores = t.scores + i * t.scoresLd, *dscores = t.dscores + i * t.scoresLd;
    float lse = t.lse[i], delta = t.delta[i];
    const float *factors =
        Dropped ? dropoutFactors(t.dropout, t.dropout.position + i, t.columns, buffer) : nullptr;
    for (int64_t j = 0; j < t.columns; j += kWidth) {
      Floats p = exponential(score<Masked>(scores, t.keep, j) - lse);
      Floats dp = score<Masked>(dscores, t.keep, j);
      Floats kept = p;
      if constexpr (Dropped) {
        Floats factor = load<Floats>(factors + j);
        kept = p * factor;
        dp *= factor;
      }
      Floats ds = p * (dp - delta);
      if constexpr (Masked)
        ds = load<Ints>(t.keep + j) ? ds : Floats{};
      store(scores + j, kept);
      store(dscores + j, ds);
    }
  }
}

void forward(const ForwardTile &t) {
  if (t.keep)
    return t.dropout.threshold ? forwardTile<true, true>(t) : forwardTile<true, false>(t);
  return t.dropout.threshold ? forwardTile<false, true>(t) : forwardTile<false, false>(t);
}

void backward(const BackwardTile &t) {
  if (t.keep)
    return t.dropout.threshold ? backwardTile<true, true>(t) : backwardTile<true, false>(t);
  return t.dropout.threshold ? backwardTile<false, true>(t) : backwardTile<false, false>(t);
}

void finish(const ForwardTile &t) {
  for (int64_t i = 0; i < t.rows; ++i) {
    float *out = t.out + i * t.outLd;
    bool none = t.maximum[i] == -INFINITY;
    float inverse = none ? 0.0f : 1.0f / t.sum[i];
    for (int64_t c = 0; c < t.headDim; ++c)
      out[c] *= inverse;
    t.maximum[i] = none ? INFINITY : t.maximum[i] + logf(t.sum[i]);
  }
}

void rowDots(const float *a, const float *b, int64_t ld, int64_t rows, int64_t columns,
             float *delta) {
  for (int64_t i = 0; i < rows; ++i) {
    const float *x = a + i * ld, *y = b + i * ld;
    Floats sum = {};
    int64_t j = 0;
    for (; j + kWidth <= columns; j += kWidth)
      sum += load<Floats>(x + j) * load<Floats>(y + j);
    float rest = 0;
    for (; j < columns; ++j)
      rest += x[j] * y[j];
    delta[i] = horizontalSum(sum) + rest;
  }
}

//===----------------------------------------------------------------------===//
// Small products
//===----------------------------------------------------------------------===//

/// The first `count` of kWidth elements; the others are 0.
inline Floats loadSome(const float *from, int64_t count) {
  Floats value = {};
  memcpy(&value, from, count * sizeof(float));
  return value;
}

/// Rows i to i + rows of c, columns j to j + vectors * kWidth, or, when `tail`, j to j + tail; b
/// has whole vectors there all the same.
template <int rows, int vectors>
inline void productBlock(const SmallProduct &p, int64_t i, int64_t j, int64_t tail) {
  Floats sums[rows][vectors] = {};
  const float *a = p.a + i * p.aRow, *b = p.b + j;
  for (int64_t step = 0; step < p.k; ++step, a += p.aColumn, b += p.ldb) {
    Floats columns[vectors];
    for (int v = 0; v < vectors; ++v)
      columns[v] = load<Floats>(b + v * kWidth);
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < vectors; ++v)
        sums[r][v] += broadcast(a[r * p.aRow]) * columns[v];
  }
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) {
      float *c = p.c + (i + r) * p.ldc + j + v * kWidth;
      Floats value = sums[r][v] * p.alpha;
      if (p.accumulate)
        value += tail ? loadSome(c, tail) : load<Floats>(c);
      memcpy(c, &value, tail ? tail * sizeof(float) : sizeof(value));
    }
}

template <int vectors> inline void productColumns(const SmallProduct &p, int64_t j, int64_t tail) {
  constexpr int kRows = kWidth == 16 ? 8 : 4;
  int64_t i = 0;
  for (; i + kRows <= p.m; i += kRows)
    productBlock<kRows, vectors>(p, i, j, tail);
  for (; i + 2 <= p.m; i += 2)
    productBlock<2, vectors>(p, i, j, tail);
  if (i < p.m)
    productBlock<1, vectors>(p, i, j, tail);
}

/// to[c, r] = from[r, c] of kWidth rows and columns; rows from `rows` on are 0. Each round
/// interleaves row i with row i + kWidth / 2.
inline void transposeBlock(const float *from, int64_t ld, int64_t rows, float *to, int64_t toLd) {
  Words block[kWidth], next[kWidth];
  for (int r = 0; r < kWidth; ++r)
    block[r] = r < rows ? load<Words>(from + r * ld) : Words{};
  for (int round = 1; round < kWidth; round *= 2) {
    for (int r = 0; r < kWidth / 2; ++r)
      interleave(block[r], block[r + kWidth / 2], next[2 * r], next[2 * r + 1]);
    memcpy(block, next, sizeof(block));
  }
  for (int c = 0; c < kWidth; ++c)
    memcpy(to + c * toLd, &block[c], sizeof(Words));
}

/// b as [k, n], its rows filled up with zeros to whole vectors; k is a multiple of kWidth.
void transposeB(const SmallProduct &p, float *to, int64_t toLd) {
  for (int64_t j = 0; j < p.n; j += kWidth) {
    const float *from = p.b + j * p.ldb;
    int64_t rows = p.n - j;
    for (int64_t step = 0; step < p.k; step += kWidth)
      transposeBlock(from + step, p.ldb, rows, to + step * toLd + j, toLd);
  }
}

void product(const SmallProduct &given) {
  SmallProduct p = given;
  alignas(64) float panel[kSmallDepth * kSmallColumns];
  if (p.transposeB) {
    p.ldb = (p.n + kWidth - 1) / kWidth * kWidth;
    transposeB(given, panel, p.ldb);
    p.b = panel;
  }
  int64_t j = 0;
  for (; j + 2 * kWidth <= p.n; j += 2 * kWidth)
    productColumns<2>(p, j, 0);
  for (; j + kWidth <= p.n; j += kWidth)
    productColumns<1>(p, j, 0);
  if (j < p.n)
    productColumns<1>(p, j, p.n - j);
}

} // namespace
} // namespace seqpar::rt
