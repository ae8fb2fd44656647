//===- Backward.cuh - attention backward on tensor cores ------------------===//
//
// FlashAttention-2 (Dao 2023, algorithm 2) in two kernels that need no atomic additions: one owns
// keys and loops over queries for dk and dv, one owns queries and loops over keys for dq. Each
// computes the probabilities anew (7 products where one kernel with unordered sums needs 5). The
// first works on transposed scores, keys by queries; so in both the probabilities and the gradients
// of the scores are, rounded to 16 bits, the left operand of the next product as they are.
//
// Rows and columns outside of the block are zeros in q, k, v, dout and the statistics, and so add
// nothing; keys that do not count get probability 0. Between their computation and their use,
// dropped probabilities are told by their sign.
//
//===----------------------------------------------------------------------===//

namespace seqpar::cuda {

/// dk and dv of a tile of keys.
template <typename T, int headDim, bool withDropout, bool warpgroup> struct BackwardKeys {
  /// Tiles are the same for both 16-bit types.
  static constexpr AttentionConfig kConfig = {AttentionStorage::BF16, headDim, withDropout};
  static constexpr AttentionTiling kTiling = attentionTiling(
      warpgroup ? AttentionKernel::BackwardKeysWarpgroup : AttentionKernel::BackwardKeys, kConfig);
  using Use = Products<T, headDim, warpgroup>;
  static constexpr int D = attentionColumns(headDim);
  static constexpr int kThreads = kTiling.threads(), kKeys = kTiling.rows;
  static constexpr int kQueries = kTiling.columns;
  static constexpr int M = kKeys / (16 * kTiling.warps), N = kQueries / 8;
  static constexpr int kKeyTileBytes = kKeys * 2 * D, kQueryTileBytes = kQueries * 2 * D;

  const AttentionParameters &p;
  Head head;
  int firstKey, warpRow; ///< of the block; of this warp in the block
  char *keys, *queryTiles;
  float *statistics;
  bool counts[M][2]; ///< this lane's keys
  Accumulators<M, D / 8> dk, dv;
  KeepBits<M, N> keep; ///< of the tile at hand

  __device__ explicit BackwardKeys(const AttentionParameters &p)
      : p(p), head(p, headDim), firstKey(int(blockIdx.x) * kKeys - attentionLead(p, kConfig)),
        warpRow(threadIdx.x / 32 * 16 * M), keys(sharedMemory()),
        queryTiles(keys + 2 * kKeyTileBytes),
        statistics(reinterpret_cast<float *>(queryTiles + 4 * kQueryTileBytes)) {}

  __device__ bool anyCounts() {
    bool any = false;
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        int key = firstKey + warpRow + 16 * m + 8 * r + threadIdx.x % 32 / 4;
        counts[m][r] = key >= 0 && key < p.keys && head.mask()[key] != 0;
        any |= counts[m][r];
      }
    return __syncthreads_or(any) != 0;
  }

  __device__ void copyKeys() {
    Use::template copy<kKeys, kThreads>(keys, p.k, head.key(), head.stride, firstKey, p.keys);
    Use::template copy<kKeys, kThreads>(keys + kKeyTileBytes, p.v, head.key(), head.stride,
                                        firstKey, p.keys);
  }
  __device__ void copyQueries(int tile, int stage) {
    int first = tile * kQueries;
    char *to = queryTiles + stage * 2 * kQueryTileBytes;
    Use::template copy<kQueries, kThreads>(to, p.q, head.query(), head.stride, first, p.queries);
    Use::template copy<kQueries, kThreads>(to + kQueryTileBytes, p.dout, head.query(), head.stride,
                                           first, p.queries);
    float *lse = statistics + stage * 2 * kQueries;
    copyStatistics<kQueries>(lse, p.lse + head.statistic(), first, p.queries);
    copyStatistics<kQueries>(lse + kQueries, p.delta + head.statistic(), first, p.queries);
  }

  /// Scores become probabilities.
  __device__ void probabilities(Accumulators<M, N> &s, const float *lse) {
    float toPowers = p.scale * kLog2E;
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < N; ++n) {
      float2 shift = *reinterpret_cast<const float2 *>(lse + 8 * n + lane % 4 * 2);
      shift.x *= kLog2E;
      shift.y *= kLog2E;
#pragma unroll
      for (int m = 0; m < M; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float power = exp2Fast(fmaf(s.at[m][n][i], toPowers, -(i % 2 ? shift.y : shift.x)));
          power = counts[m][i / 2] ? power : 0.0f;
          s.at[m][n][i] = withDropout && !keep.has(m, n, 4 * i) ? -power : power;
        }
      }
    }
  }

  __device__ void fold(int stage) {
    const char *query = queryTiles + stage * 2 * kQueryTileBytes, *dout = query + kQueryTileBytes;
    const float *lse = statistics + stage * 2 * kQueries, *delta = lse + kQueries;
    Accumulators<M, N> s, ds;
    LeftOperand<M, N / 2> left;
    Use::template multiplyRows<kKeys>(s, keys, warpRow, query);
    probabilities(s, lse);
    float kept = withDropout ? p.keptScale : 1.0f;
    packLeft<T, M, N>(left, [&](int m, int n, int i) {
      return withDropout ? fmaxf(s.at[m][n][i], 0.0f) * kept : s.at[m][n][i];
    });
    Use::multiplyAddColumns(dv, left, dout);
    Use::template multiplyRows<kKeys>(ds, keys + kKeyTileBytes, warpRow, dout);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      float2 row = *reinterpret_cast<const float2 *>(delta + 8 * n + threadIdx.x % 4 * 2);
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          ds.at[m][n][i] = scoreGradient<withDropout>(s.at[m][n][i], ds.at[m][n][i], kept,
                                                      i % 2 ? row.y : row.x);
    }
    packLeft<T, M, N>(left, [&](int m, int n, int i) { return ds.at[m][n][i]; });
    Use::multiplyAddColumns(dk, left, query);
  }

  __device__ void loop() {
    int tiles = (p.queries + kQueries - 1) / kQueries;
    copyKeys();
    copyQueries(0, 0);
    copyAsyncCommit();
    for (int tile = 0; tile < tiles; ++tile) {
      if (tile + 1 < tiles)
        copyQueries(tile + 1, (tile + 1) % 2);
      copyAsyncCommit();
      if constexpr (withDropout)
        keep.drawRowsOfKeys(p, firstKey + warpRow, tile * kQueries);
      copyAsyncWait<1>();
      Use::afterCopies();
      __syncthreads();
      fold(tile % 2);
      __syncthreads(); // before the next but one tile is copied over this one
    }
  }

  __device__ void end() {
    scaleBy(dk, p.scale);
    int first = firstKey + warpRow;
    storeFloats<headDim>(dk, p.dk + head.key(), head.stride, first, p.keys, p.accumulateKV);
    storeFloats<headDim>(dv, p.dv + head.key(), head.stride, first, p.keys, p.accumulateKV);
  }
};

/// dq of a tile of queries.
template <typename T, int headDim, bool withDropout, bool warpgroup> struct BackwardQueries {
  /// Tiles are the same for both 16-bit types.
  static constexpr AttentionConfig kConfig = {AttentionStorage::BF16, headDim, withDropout};
  static constexpr AttentionTiling kTiling = attentionTiling(
      warpgroup ? AttentionKernel::BackwardQueriesWarpgroup : AttentionKernel::BackwardQueries,
      kConfig);
  using Use = Products<T, headDim, warpgroup>;
  static constexpr int D = attentionColumns(headDim);
  static constexpr int kThreads = kTiling.threads(), kQueries = kTiling.rows;
  static constexpr int kKeys = kTiling.columns;
  static constexpr int M = kQueries / (16 * kTiling.warps), N = kKeys / 8;
  static constexpr int kKeyTileBytes = kKeys * 2 * D, kQueryTileBytes = kQueries * 2 * D;

  const AttentionParameters &p;
  Head head;
  int lead;                     ///< keys that the first tile begins before key 0
  int firstQuery, warpRow, row; ///< of the block; of this warp and of this lane in the block
  char *queries, *keyTiles;
  float lse[M][2], delta[M][2]; ///< lse in powers of 2
  Accumulators<M, D / 8> dq;
  KeepBits<M, N> keep; ///< of the tile at hand

  __device__ explicit BackwardQueries(const AttentionParameters &p)
      : p(p), head(p, headDim), lead(attentionLead(p, kConfig)), firstQuery(blockIdx.x * kQueries),
        warpRow(threadIdx.x / 32 * 16 * M), row(warpRow + threadIdx.x % 32 / 4),
        queries(sharedMemory()), keyTiles(queries + 2 * kQueryTileBytes) {}

  __device__ void loadStatistics() {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        int query = firstQuery + row + 16 * m + 8 * r;
        bool inside = query < p.queries;
        lse[m][r] = inside ? p.lse[head.statistic() + query] * kLog2E : 0.0f;
        delta[m][r] = inside ? p.delta[head.statistic() + query] : 0.0f;
      }
  }

  __device__ void copyQueries() {
    Use::template copy<kQueries, kThreads>(queries, p.q, head.query(), head.stride, firstQuery,
                                           p.queries);
    Use::template copy<kQueries, kThreads>(queries + kQueryTileBytes, p.dout, head.query(),
                                           head.stride, firstQuery, p.queries);
  }

  __device__ void probabilities(Accumulators<M, N> &s, const KeyBits<kKeys> &bits) {
    float toPowers = p.scale * kLog2E;
    int lane = threadIdx.x % 32, t = lane % 4;
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int n = 0; n < N; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float power = exp2Fast(fmaf(s.at[m][n][i], toPowers, -lse[m][i / 2]));
          power = bits.has(8 * n + 2 * t + i % 2) ? power : 0.0f;
          s.at[m][n][i] = withDropout && !keep.has(m, n, i / 2 * 8 + i % 2) ? -power : power;
        }
      }
  }

  __device__ void fold(const KeyBits<kKeys> &bits, int stage) {
    const char *key = keyTiles + stage * 2 * kKeyTileBytes, *value = key + kKeyTileBytes;
    Accumulators<M, N> s, ds;
    Use::template multiplyRows<kQueries>(s, queries, warpRow, key);
    probabilities(s, bits);
    Use::template multiplyRows<kQueries>(ds, queries + kQueryTileBytes, warpRow, value);
    float kept = withDropout ? p.keptScale : 1.0f;
    LeftOperand<M, N / 2> left;
    packLeft<T, M, N>(left, [&](int m, int n, int i) {
      return scoreGradient<withDropout>(s.at[m][n][i], ds.at[m][n][i], kept, delta[m][i / 2]);
    });
    Use::multiplyAddColumns(dq, left, key);
  }

  __device__ void end() {
    scaleBy(dq, p.scale);
    storeFloats<headDim>(dq, p.dq + head.query(), head.stride, firstQuery + warpRow, p.queries,
                         !p.initialize);
  }
};

template <typename T, int headDim, bool withDropout, bool warpgroup = false>
__device__ void backwardKeys(const AttentionParameters &p) {
  BackwardKeys<T, headDim, withDropout, warpgroup> block(p);
  block.dk.clear();
  block.dv.clear();
  if (block.anyCounts())
    block.loop();
  else if (p.accumulateKV)
    return;
  block.end();
}

template <typename T, int headDim, bool withDropout, bool warpgroup = false>
__device__ void backwardQueries(const AttentionParameters &p) {
  BackwardQueries<T, headDim, withDropout, warpgroup> block(p);
  block.dq.clear();
  block.loadStatistics();
  foldKeyTiles(block);
  block.end();
}

} // namespace seqpar::cuda
