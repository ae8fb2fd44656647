//===- Forward.cuh - attention forward on tensor cores --------------------===//
//
// FlashAttention-2 (Dao 2023, algorithm 1) for one block of a ring. A warp owns 16 * M queries: it
// alone needs their statistics, and the accumulators of the scores are, rounded to 16 bits, the
// left operand of the product with V as they are. Tiles of K and V are copied while the tiles
// before them are worked on. Tiles without any key that counts are passed over.
//
//===----------------------------------------------------------------------===//

namespace seqpar::cuda {

template <typename T, int headDim, bool withDropout, bool warpgroup> struct Forward {
  /// Tiles are the same for both 16-bit types.
  static constexpr AttentionConfig kConfig = {AttentionStorage::BF16, headDim, withDropout};
  static constexpr AttentionTiling kTiling = attentionTiling(
      warpgroup ? AttentionKernel::ForwardWarpgroup : AttentionKernel::Forward, kConfig);
  using Use = Products<T, headDim, warpgroup>;
  static constexpr int D = attentionColumns(headDim);
  static constexpr int kThreads = kTiling.threads(), kKeys = kTiling.columns;
  static constexpr int M = kTiling.rows / (16 * kTiling.warps), N = kKeys / 8;
  static constexpr int kKeyTileBytes = kKeys * 2 * D;

  const AttentionParameters &p;
  Head head;
  int lead;            ///< keys that the first tile begins before key 0
  int firstQuery, row; ///< of the block; of this lane in the block
  char *queries, *keyTiles;

  Accumulators<M, D / 8> out;
  KeepBits<M, N> keep;            ///< of the tile at hand
  float maximum[M][2], sum[M][2]; ///< sum: this lane's part of its row's

  __device__ explicit Forward(const AttentionParameters &p)
      : p(p), head(p, headDim), lead(attentionLead(p, kConfig)),
        firstQuery(blockIdx.x * kTiling.rows),
        row(threadIdx.x / 32 * 16 * M + threadIdx.x % 32 / 4), queries(sharedMemory()),
        keyTiles(queries + kTiling.rows * 2 * D) {}

  __device__ void copyQueries() {
    Use::template copy<kTiling.rows, kThreads>(queries, p.q, head.query(), head.stride, firstQuery,
                                               p.queries);
  }

  __device__ void begin() {
    out.clear();
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        int query = firstQuery + row + 16 * m + 8 * r, t = threadIdx.x % 4;
        maximum[m][r] = -infinity();
        sum[m][r] = 0;
        if (p.initialize || query >= p.queries)
          continue;
        maximum[m][r] = p.lse[head.statistic() + query];
        sum[m][r] = t == 0 ? p.sum[head.statistic() + query] : 0.0f;
        const float *from = p.accumulator + head.query() + (long long)query * head.stride + 2 * t;
#pragma unroll
        for (int n = 0; n < headDim / 8; ++n) {
          float2 value = *reinterpret_cast<const float2 *>(from + 8 * n);
          out.at[m][n][2 * r] = value.x;
          out.at[m][n][2 * r + 1] = value.y;
        }
      }
  }

  /// New maxima, the old accumulators in their terms, and the exponentials.
  __device__ void softmax(Accumulators<M, N> &s) {
    float toPowers = p.scale * kLog2E;
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float largest = -infinity();
#pragma unroll
        for (int n = 0; n < N; ++n)
          largest = fmaxf(largest, fmaxf(s.at[m][n][2 * r], s.at[m][n][2 * r + 1]));
        largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
        float before = maximum[m][r], now = fmaxf(before, largest * p.scale);
        maximum[m][r] = now;
        float shift = finiteMaximum(now);
        float correction = exp2Fast((before - shift) * kLog2E);
        sum[m][r] *= correction;
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
          out.at[m][n][2 * r] *= correction;
          out.at[m][n][2 * r + 1] *= correction;
        }
        shift *= kLog2E;
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
          for (int i = 2 * r; i < 2 * r + 2; ++i) {
            s.at[m][n][i] = exp2Fast(fmaf(s.at[m][n][i], toPowers, -shift));
            sum[m][r] += s.at[m][n][i];
          }
      }
  }

  __device__ void fold(const KeyBits<kKeys> &bits, int stage) {
    const char *keys = keyTiles + stage * 2 * kKeyTileBytes;
    Accumulators<M, N> s;
    Use::template multiplyRows<kTiling.rows>(s, queries, threadIdx.x / 32 * 16 * M, keys);
    if (!bits.whole()) {
      int t = threadIdx.x % 4;
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i)
            if (!bits.has(8 * n + 2 * t + i % 2))
              s.at[m][n][i] = -infinity();
    }
    softmax(s);
    LeftOperand<M, N / 2> probabilities;
    packLeft<T, M, N>(probabilities, [&](int m, int n, int i) {
      if constexpr (!withDropout)
        return s.at[m][n][i];
      return keep.has(m, n, i / 2 * 8 + i % 2) ? s.at[m][n][i] * p.keptScale : 0.0f;
    });
    Use::multiplyAddColumns(out, probabilities, keys + kKeyTileBytes);
  }

  __device__ void normalize() {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float inverse = inverseSum(maximum[m][r], sum[m][r]);
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
          out.at[m][n][2 * r] *= inverse;
          out.at[m][n][2 * r + 1] *= inverse;
        }
      }
  }

  /// The result goes through the queries' memory, so that whole rows are written.
  __device__ void writeOut() {
    int lane = threadIdx.x % 32, firstRow = threadIdx.x / 32 * 16 * M;
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int n = 0; n < D / 8; ++n)
          *reinterpret_cast<Word *>(
              Use::template piece<kTiling.rows>(queries, row + 16 * m + 8 * r, n) + lane % 4 * 4) =
              pack(out.at[m][n][2 * r], out.at[m][n][2 * r + 1], T());
    __syncwarp();
    constexpr int pieces = headDim / 8;
    T *to = static_cast<T *>(p.out) + head.query();
    for (int i = lane; i < 16 * M * pieces; i += 32) {
      int place = firstRow + i / pieces, piece = i % pieces, query = firstQuery + place;
      if (query < p.queries)
        *reinterpret_cast<uint4 *>(to + (long long)query * head.stride + piece * 8) =
            *reinterpret_cast<const uint4 *>(
                Use::template piece<kTiling.rows>(queries, place, piece));
    }
  }

  __device__ void end() {
    int t = threadIdx.x % 4;
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        sum[m][r] += __shfl_xor_sync(kAllLanes, sum[m][r], 1);
        sum[m][r] += __shfl_xor_sync(kAllLanes, sum[m][r], 2);
        int query = firstQuery + row + 16 * m + 8 * r;
        if (t != 0 || query >= p.queries)
          continue;
        p.lse[head.statistic() + query] =
            p.finish ? logSumExp(maximum[m][r], sum[m][r]) : maximum[m][r];
        if (!p.finish)
          p.sum[head.statistic() + query] = sum[m][r];
      }
    if (p.finish)
      normalize();
    if (p.finish && p.out)
      writeOut();
    else
      storeFloats<headDim>(out, p.accumulator + head.query(), head.stride,
                           firstQuery + threadIdx.x / 32 * 16 * M, p.queries, false);
  }
};

template <typename T, int headDim, bool withDropout, bool warpgroup = false>
__device__ void forward(const AttentionParameters &p) {
  Forward<T, headDim, withDropout, warpgroup> block(p);
  block.begin();
  foldKeyTiles(block);
  block.end();
}

} // namespace seqpar::cuda
