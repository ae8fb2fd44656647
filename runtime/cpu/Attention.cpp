//===- Attention.cpp - attention blocks on the CPU ------------------------===//

#include "seqpar/rt/cpu/Attention.h"

#include "seqpar/rt/AttentionCheck.h"
#include "seqpar/rt/Philox.h"
#include "seqpar/rt/cpu/Convert.h"
#include "seqpar/rt/cpu/Gemm.h"

#include <algorithm>
#include <cmath>

namespace seqpar::rt {

namespace {

/// Tile extents, chosen by measuring: a tile of scores stays in the second-level cache.
constexpr int64_t kQueryTile = 128, kKeyTile = 256;
static_assert(kKeyTile % kTileColumnGranule == 0);

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

TileDropout tileDropout(const AttentionDropout &d, int64_t sample, int64_t head, int64_t query,
                        int64_t key) {
  if (d.rate == 0)
    return {};
  return {dropoutThreshold(d.rate),
          1.0f / (1.0f - d.rate),
          d.seed,
          d.step,
          d.site << 16 | uint32_t(head),
          uint32_t(d.samples[sample]),
          uint32_t(d.queryOffset + query),
          uint32_t(d.keyOffset + key)};
}

} // namespace

/// AttentionForwardArgs and AttentionBackwardArgs with all tensors in fp32.
struct CpuAttention::Forward {
  AttentionShape shape;
  const float *q, *k, *v;
  float *out, *lse, *sum;
  bool initialize, finish;
  AttentionDropout dropout;
};
struct CpuAttention::Backward {
  AttentionShape shape;
  const float *q, *k, *v, *out, *lse, *dout;
  float *delta, *dq, *dk, *dv;
  bool initialize, accumulateKV;
  AttentionDropout dropout;
};

/// One tile of scores: queries and keys of one head of one sample.
struct CpuAttention::Work {
  Work(const CpuAttention &attention, const AttentionShape &s, int64_t sampleAndHead,
       int64_t queryTile, int64_t keyTile)
      : sample(sampleAndHead / s.heads), head(sampleAndHead % s.heads), ld(s.heads * s.headDim),
        queries{queryTile * kQueryTile, 0},
        keys{keyTile * kKeyTile, attention.keyTile(sample, keyTile).used},
        keep(attention.keyTile(sample, keyTile).keep) {
    queries.size = std::min(kQueryTile, s.queries - queries.begin);
    queryElement = (sample * s.queries + queries.begin) * ld + head * s.headDim;
    keyElement = (sample * s.keys + keys.begin) * ld + head * s.headDim;
    statistic = sampleAndHead * s.queries + queries.begin;
    columns = ceilDiv(keys.size, kTileColumnGranule) * kTileColumnGranule;
  }

  int64_t sample, head;
  int64_t ld; ///< of q-like and k-like tensors
  Span queries, keys;
  const int32_t *keep;
  int64_t queryElement, keyElement; ///< where the tile starts in q-like and k-like tensors
  int64_t statistic;                ///< and in statistics
  int64_t columns;                  ///< of the scores, padded
};

// A tile of few queries and keys is worked on by the small product: on the ring each rank has few.
void CpuAttention::multiply(const FloatProduct &args) {
  bool small = args.m <= kSmallColumns && (args.transposeB ? args.n : args.k) <= kSmallColumns;
  int64_t depth = args.transposeB ? args.k : args.n; // of the head
  if (!small || depth % kTileColumnGranule || depth > kSmallDepth)
    return gemmInThread(args);
  tiles.product({args.a, args.b, args.c, args.m, args.n, args.k, args.transposeA ? 1 : args.lda,
                 args.transposeA ? args.lda : 1, args.ldb, args.ldc, args.alpha, args.transposeB,
                 args.accumulate});
}

CpuAttention::CpuAttention(ThreadPool &pool, const AttentionTiles &tiles)
    : pool(pool), tiles(tiles), scratch(pool.threads()) {
  for (Scratch &each : scratch)
    each.atLeast(2 * kQueryTile * kKeyTile * sizeof(float));
}

void CpuAttention::prepareMask(const AttentionShape &s, const int32_t *mask) {
  keyTiles = ceilDiv(s.keys, kKeyTile);
  keep.assign(s.batch * keyTiles * kKeyTile, 0);
  keyTileTable.resize(s.batch * keyTiles);
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t t = 0; t < keyTiles; ++t) {
      const int32_t *from = mask + b * s.maskLength + s.maskOffset + t * kKeyTile;
      int32_t *to = keep.data() + (b * keyTiles + t) * kKeyTile;
      int64_t size = std::min(kKeyTile, s.keys - t * kKeyTile), kept = 0, used = 0;
      for (int64_t j = 0; j < size; ++j)
        if (from[j]) {
          to[j] = -1;
          ++kept;
          used = j + 1;
        }
      bool whole = kept == ceilDiv(used, kTileColumnGranule) * kTileColumnGranule;
      keyTileTable[b * keyTiles + t] = {used, whole ? nullptr : to};
    }
}

void CpuAttention::forward(const AttentionForwardArgs &given) {
  const AttentionShape &s = given.shape;
  checkAttention(s, given.dropout);
  checkOutType(given);
  int64_t width = s.heads * s.headDim, queries = s.batch * s.queries, keys = s.batch * s.keys;
  bool own = given.outType != FloatType::F32;
  Forward args{.shape = s,
               .q = asFloats(pool, given.type, given.q, queries, width, operands[0]),
               .k = asFloats(pool, given.type, given.k, keys, width, operands[1]),
               .v = asFloats(pool, given.type, given.v, keys, width, operands[2]),
               .out = static_cast<float *>(
                   own ? operands[3].atLeast(size_t(queries * width) * sizeof(float)) : given.out),
               .lse = given.lse,
               .sum = given.sum,
               .initialize = given.initialize,
               .finish = given.finish,
               .dropout = given.dropout};
  prepareMask(s, given.mask);
  int64_t items = args.shape.batch * args.shape.heads * ceilDiv(args.shape.queries, kQueryTile);
  pool.parallelFor(items, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t item = begin; item < end; ++item)
      forwardQueryTile(args, item, thread);
  });
  if (own)
    narrow(pool, given.outType, args.out, width, given.out, width, queries, width);
}

void CpuAttention::forwardQueryTile(const Forward &args, int64_t item, int thread) {
  const AttentionShape &s = args.shape;
  int64_t queryTiles = ceilDiv(s.queries, kQueryTile);
  Work first(*this, s, item / queryTiles, item % queryTiles, 0);
  float *scores = static_cast<float *>(scratch[thread].atLeast(0));
  float *out = args.out + first.queryElement;
  ForwardTile tile = {};
  tile.scores = scores;
  tile.rows = first.queries.size;
  tile.maximum = args.lse + first.statistic;
  tile.sum = args.sum + first.statistic;
  tile.out = out;
  tile.headDim = s.headDim;
  tile.outLd = first.ld;
  if (args.initialize) {
    std::fill_n(tile.maximum, tile.rows, -INFINITY);
    std::fill_n(tile.sum, tile.rows, 0.0f);
    for (int64_t i = 0; i < tile.rows; ++i)
      std::fill_n(out + i * first.ld, s.headDim, 0.0f);
  }
  for (int64_t keyTile = 0; keyTile < keyTiles; ++keyTile) {
    Work work(*this, s, item / queryTiles, item % queryTiles, keyTile);
    if (work.keys.size == 0)
      continue;
    multiply({args.q + work.queryElement, args.k + work.keyElement, scores, tile.rows,
              work.keys.size, s.headDim, false, true, work.ld, work.ld, work.columns, s.scale,
              false});
    tile.columns = tile.scoresLd = work.columns;
    tile.keep = work.keep;
    tile.dropout =
        tileDropout(args.dropout, work.sample, work.head, work.queries.begin, work.keys.begin);
    tiles.forward(tile);
    multiply({scores, args.v + work.keyElement, out, tile.rows, s.headDim, work.keys.size, false,
              false, work.columns, work.ld, work.ld, 1.0f, true});
  }
  if (args.finish)
    tiles.finish(tile);
}

void CpuAttention::backward(const AttentionBackwardArgs &given) {
  const AttentionShape &s = given.shape;
  checkAttention(s, given.dropout);
  int64_t width = s.heads * s.headDim, queries = s.batch * s.queries, keys = s.batch * s.keys;
  Backward args{.shape = s,
                .q = asFloats(pool, given.type, given.q, queries, width, operands[0]),
                .k = asFloats(pool, given.type, given.k, keys, width, operands[1]),
                .v = asFloats(pool, given.type, given.v, keys, width, operands[2]),
                .out = asFloats(pool, given.type, given.out, queries, width, operands[3]),
                .lse = given.lse,
                .dout = asFloats(pool, given.type, given.dout, queries, width, operands[4]),
                .delta = given.delta,
                .dq = given.dq,
                .dk = given.dk,
                .dv = given.dv,
                .initialize = given.initialize,
                .accumulateKV = given.accumulateKV,
                .dropout = given.dropout};
  prepareMask(s, given.mask);
  int64_t heads = s.batch * s.heads, queryTiles = ceilDiv(s.queries, kQueryTile);
  if (args.initialize)
    pool.parallelFor(heads * queryTiles, [&](int64_t begin, int64_t end, int) {
      for (int64_t item = begin; item < end; ++item)
        prepareBackward(args, item);
    });
  // One pass over whole heads computes each tile once (5 products). With too few heads for the
  // threads, two passes, over key tiles for dk and dv and over query tiles for dq (7 products),
  // keep more of them busy. Both add in the same order.
  int64_t threads = pool.threads();
  bool onePass = 7 * heads >= 5 * threads * ceilDiv(heads, threads);
  if (onePass)
    return pool.parallelFor(heads, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t item = begin * keyTiles; item < end * keyTiles; ++item)
        backwardKeyTile(args, item, true, thread);
    });
  pool.parallelFor(heads * keyTiles, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t item = begin; item < end; ++item)
      backwardKeyTile(args, item, false, thread);
  });
  pool.parallelFor(heads * queryTiles, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t item = begin; item < end; ++item)
      backwardQueryTile(args, item, thread);
  });
}

/// delta, and zeros in dq.
void CpuAttention::prepareBackward(const Backward &args, int64_t item) {
  int64_t queryTiles = ceilDiv(args.shape.queries, kQueryTile);
  Work work(*this, args.shape, item / queryTiles, item % queryTiles, 0);
  tiles.rowDots(args.dout + work.queryElement, args.out + work.queryElement, work.ld,
                work.queries.size, args.shape.headDim, args.delta + work.statistic);
  for (int64_t i = 0; i < work.queries.size; ++i)
    std::fill_n(args.dq + work.queryElement + i * work.ld, args.shape.headDim, 0.0f);
}

/// The tile's probabilities and the gradient of its scores, in the thread's scratch memory.
BackwardTile CpuAttention::backwardScores(const Backward &args, const Work &work, int thread) {
  const AttentionShape &s = args.shape;
  float *scores = static_cast<float *>(scratch[thread].atLeast(0));
  float *dscores = scores + kQueryTile * kKeyTile;
  int64_t rows = work.queries.size;
  multiply({args.q + work.queryElement, args.k + work.keyElement, scores, rows, work.keys.size,
            s.headDim, false, true, work.ld, work.ld, work.columns, s.scale, false});
  multiply({args.dout + work.queryElement, args.v + work.keyElement, dscores, rows, work.keys.size,
            s.headDim, false, true, work.ld, work.ld, work.columns, 1.0f, false});
  BackwardTile tile = {
      scores,
      dscores,
      rows,
      work.columns,
      work.columns,
      work.keep,
      args.lse + work.statistic,
      args.delta + work.statistic,
      tileDropout(args.dropout, work.sample, work.head, work.queries.begin, work.keys.begin)};
  tiles.backward(tile);
  return tile;
}

void CpuAttention::addDq(const Backward &args, const Work &work, const BackwardTile &tile) {
  multiply({tile.dscores, args.k + work.keyElement, args.dq + work.queryElement, tile.rows,
            args.shape.headDim, work.keys.size, false, false, tile.scoresLd, work.ld, work.ld,
            args.shape.scale, true});
}

/// dk and dv of one tile of keys; also its share of dq when nobody else computes dq of this head.
void CpuAttention::backwardKeyTile(const Backward &args, int64_t item, bool withDq, int thread) {
  const AttentionShape &s = args.shape;
  Work first(*this, s, item / keyTiles, 0, item % keyTiles);
  float *dk = args.dk + first.keyElement, *dv = args.dv + first.keyElement;
  if (!args.accumulateKV)
    for (int64_t j = first.keys.size; j < std::min(kKeyTile, s.keys - first.keys.begin); ++j) {
      std::fill_n(dk + j * first.ld, s.headDim, 0.0f);
      std::fill_n(dv + j * first.ld, s.headDim, 0.0f);
    }
  if (first.keys.size == 0)
    return;
  for (int64_t queryTile = 0; queryTile < ceilDiv(s.queries, kQueryTile); ++queryTile) {
    Work work(*this, s, item / keyTiles, queryTile, item % keyTiles);
    BackwardTile tile = backwardScores(args, work, thread);
    bool accumulate = args.accumulateKV || queryTile > 0;
    multiply({tile.scores, args.dout + work.queryElement, dv, work.keys.size, s.headDim, tile.rows,
              true, false, tile.scoresLd, work.ld, work.ld, 1.0f, accumulate});
    multiply({tile.dscores, args.q + work.queryElement, dk, work.keys.size, s.headDim, tile.rows,
              true, false, tile.scoresLd, work.ld, work.ld, s.scale, accumulate});
    if (withDq)
      addDq(args, work, tile);
  }
}

void CpuAttention::backwardQueryTile(const Backward &args, int64_t item, int thread) {
  int64_t queryTiles = ceilDiv(args.shape.queries, kQueryTile);
  for (int64_t keyTile = 0; keyTile < keyTiles; ++keyTile) {
    Work work(*this, args.shape, item / queryTiles, item % queryTiles, keyTile);
    if (work.keys.size > 0)
      addDq(args, work, backwardScores(args, work, thread));
  }
}

} // namespace seqpar::rt
