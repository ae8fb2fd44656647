//===- AttentionTiles.h - softmax part of attention on one tile -*- C++ -*-===//
//
// What attention does between its matrix products, on one tile of scores (queries by keys) that
// stays in the cache. One implementation, compiled once per instruction set. Exponentials have a
// relative error below 3e-7.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>

namespace seqpar::rt {

/// Columns of a tile are processed in vectors: its leading dimension is a multiple of this, and its
/// columns past the last key are masked. The entries of `keep` are -1 for keys that count, else 0.
inline constexpr int64_t kTileColumnGranule = 16;

/// Dropout of one tile: element (i, j) belongs to query `position + i` and key `key + j`.
struct TileDropout {
  uint32_t threshold; ///< words below are dropped; 0: no dropout
  float scale;        ///< of what is kept
  uint32_t seed, step, siteAndHead, sample;
  uint32_t position, key;
};

struct ForwardTile {
  float *scores; ///< [rows, columns] in: q * k; out: probabilities, unnormalised
  int64_t rows, columns, scoresLd;
  const int32_t *keep;  ///< [columns], or null when every key counts
  float *maximum, *sum; ///< [rows] running state
  float *out;           ///< [rows, headDim] accumulator, rescaled when the maximum grows
  int64_t headDim, outLd;
  TileDropout dropout;
};

struct BackwardTile {
  float *scores;  ///< in: q * k; out: probabilities after dropout
  float *dscores; ///< in: dout * v; out: gradient of the scores
  int64_t rows, columns, scoresLd;
  const int32_t *keep;
  const float *lse, *delta; ///< [rows]
  TileDropout dropout;
};

/// c[m, n] = (accumulate ? c : 0) + alpha * a * b for extents so small that a call of the GEMM
/// library costs more than the work. Element (i, p) of a is a[i * aRow + p * aColumn]; that of b is
/// b[p * ldb + j] and n a multiple of kTileColumnGranule, or with `transposeB` it is b[j * ldb +
/// p], k is such a multiple and not more than kSmallDepth, and n not more than kSmallColumns.
struct SmallProduct {
  const float *a, *b;
  float *c;
  int64_t m, n, k;
  int64_t aRow, aColumn, ldb, ldc;
  float alpha;
  bool transposeB, accumulate;
};

inline constexpr int64_t kSmallColumns = 64, kSmallDepth = 256;

struct AttentionTiles {
  const char *name;
  /// One step of the online softmax.
  void (*forward)(const ForwardTile &tile);
  /// Normalises out, replaces maximum by maximum + log(sum); rows without any key get 0 and +inf.
  void (*finish)(const ForwardTile &tile);
  void (*backward)(const BackwardTile &tile);
  /// delta[i] = sum over j of a[i, j] * b[i, j], both with leading dimension ld.
  void (*rowDots)(const float *a, const float *b, int64_t ld, int64_t rows, int64_t columns,
                  float *delta);
  void (*product)(const SmallProduct &product);
};

extern const AttentionTiles kAttentionTilesAvx2, kAttentionTilesAvx512;

} // namespace seqpar::rt
