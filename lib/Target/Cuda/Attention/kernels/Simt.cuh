//===- Simt.cuh - attention in fp32, for any head dimension ---------------===//
//
// The same algorithms as Forward.cuh and Backward.cuh without tensor cores, to check those and for
// training in fp32. A block of 16 x 16 threads works on tiles of kTile queries and keys. Thread
// (y, x) has the scores of rows y + 16 * i and columns x + 16 * j, and of a result the same rows
// and columns 4 * x + 64 * g .. + 3.
//
// Rows of operand tiles are padded to D + 4 floats, D a multiple of 32: eight threads that read
// four floats each at the same columns of eight neighbouring rows use all 32 banks once. Rows of
// score tiles are kTile + 16 floats apart, so that the two rows which a warp writes lie in
// different halves of the banks.
//
//===----------------------------------------------------------------------===//

namespace seqpar::cuda {

template <int headDim, bool withDropout> struct Simt {
  static constexpr int kTile =
      attentionTiling(AttentionKernel::Forward, {AttentionStorage::F32, headDim, withDropout}).rows;
  static constexpr int kThreads = 256;
  static constexpr int D = attentionColumns(headDim);
  static constexpr int kStride = D + kAttentionPadding,
                       kScoreStride = kTile + kAttentionScorePadding;
  static constexpr int R = kTile / 16;    ///< rows of a thread
  static constexpr int G = (D + 63) / 64; ///< groups of four columns of a result
  static constexpr int kOperandFloats = kTile * kStride, kScoreFloats = kTile * kScoreStride;

  const AttentionParameters &p;
  Head head;
  int x, y;
  float *memory;

  __device__ explicit Simt(const AttentionParameters &p)
      : p(p), head(p, headDim), x(threadIdx.x % 16), y(threadIdx.x / 16),
        memory(reinterpret_cast<float *>(sharedMemory())) {}

  __device__ float *operand(int number) const { return memory + number * kOperandFloats; }
  __device__ float *scores(int operands, int number) const {
    return operand(operands) + number * kScoreFloats;
  }

  /// Rows first.. of a matrix, zeros outside of its `count` rows.
  __device__ void load(float *tile, const void *matrix, long long element, int first,
                       int count) const {
    const float *from = static_cast<const float *>(matrix) + element;
    for (int i = threadIdx.x; i < kTile * D; i += kThreads) {
      int row = i / D, column = i % D;
      bool inside = first + row < count && column < headDim;
      tile[row * kStride + column] =
          inside ? from[(long long)(first + row) * head.stride + column] : 0.0f;
    }
  }

  /// s = a * b^T
  __device__ void multiplyRows(float (&s)[R][R], const float *a, const float *b) const {
#pragma unroll
    for (int i = 0; i < R; ++i)
#pragma unroll
      for (int j = 0; j < R; ++j)
        s[i][j] = 0;
#pragma unroll 4
    for (int d = 0; d < D; d += 4) {
      float4 left[R], right[R];
#pragma unroll
      for (int i = 0; i < R; ++i) {
        left[i] = *reinterpret_cast<const float4 *>(a + (y + 16 * i) * kStride + d);
        right[i] = *reinterpret_cast<const float4 *>(b + (x + 16 * i) * kStride + d);
      }
#pragma unroll
      for (int i = 0; i < R; ++i)
#pragma unroll
        for (int j = 0; j < R; ++j)
          s[i][j] += left[i].x * right[j].x + left[i].y * right[j].y + left[i].z * right[j].z +
                     left[i].w * right[j].w;
    }
  }

  __device__ void storeScores(float *tile, const float (&s)[R][R]) const {
#pragma unroll
    for (int i = 0; i < R; ++i)
#pragma unroll
      for (int j = 0; j < R; ++j)
        tile[(y + 16 * i) * kScoreStride + x + 16 * j] = s[i][j];
  }

  using Result = float[R][G][4];

  __device__ static void clear(Result &c) {
#pragma unroll
    for (int i = 0; i < R; ++i)
#pragma unroll
      for (int g = 0; g < G; ++g)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          c[i][g][e] = 0;
  }

  /// c += s * b, or s^T * b; s is a tile of scores.
  template <bool transposed>
  __device__ void multiplyAdd(Result &c, const float *s, const float *b) const {
#pragma unroll 4
    for (int k = 0; k < kTile; ++k) {
      float left[R];
#pragma unroll
      for (int i = 0; i < R; ++i)
        left[i] =
            transposed ? s[k * kScoreStride + y + 16 * i] : s[(y + 16 * i) * kScoreStride + k];
#pragma unroll
      for (int g = 0; g < G; ++g) {
        int column = 4 * x + 64 * g;
        if (column >= D)
          continue;
        float4 right = *reinterpret_cast<const float4 *>(b + k * kStride + column);
#pragma unroll
        for (int i = 0; i < R; ++i) {
          c[i][g][0] += left[i] * right.x;
          c[i][g][1] += left[i] * right.y;
          c[i][g][2] += left[i] * right.z;
          c[i][g][3] += left[i] * right.w;
        }
      }
    }
  }

  /// Visits this thread's part of rows first.. below `count`: (place, value).
  template <typename Function>
  __device__ void forEach(Result &c, float *matrix, int first, int count,
                          Function &&function) const {
#pragma unroll
    for (int i = 0; i < R; ++i) {
      int row = first + y + 16 * i;
      if (row >= count)
        continue;
#pragma unroll
      for (int g = 0; g < G; ++g)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (int column = 4 * x + 64 * g + e; column < headDim)
            function(matrix[(long long)row * head.stride + column], c[i][g][e]);
    }
  }
  __device__ void store(Result &c, float *matrix, int first, int count, float factor,
                        bool add) const {
    forEach(c, matrix, first, count,
            [&](float &place, float value) { place = (add ? place : 0.0f) + value * factor; });
  }

  /// Which of this thread's keys count; false when none of the tile does.
  __device__ bool loadMask(bool (&counts)[R], int firstKey) const {
    bool any = false;
#pragma unroll
    for (int j = 0; j < R; ++j) {
      int key = firstKey + x + 16 * j;
      counts[j] = key < p.keys && head.mask()[key] != 0;
      any |= counts[j];
    }
    return __syncthreads_or(any) != 0;
  }

  /// Probabilities and gradients of the scores of one tile. Operand tiles: 0 q, 1 k, 2 v, 3 dout.
  /// Score tiles: 0 probabilities after dropout, 1 gradients.
  __device__ void backwardScores(const bool (&counts)[R], int firstQuery, int firstKey) const {
    float s[R][R], ds[R][R];
    multiplyRows(s, operand(0), operand(1));
    multiplyRows(ds, operand(3), operand(2));
#pragma unroll
    for (int i = 0; i < R; ++i) {
      int query = firstQuery + y + 16 * i;
      bool inside = query < p.queries;
      float lse = inside ? p.lse[head.statistic() + query] : 0.0f;
      float delta = inside ? p.delta[head.statistic() + query] : 0.0f;
#pragma unroll
      for (int j = 0; j < R; ++j) {
        float probability = inside && counts[j] ? expf(s[i][j] * p.scale - lse) : 0.0f, kept = 1;
        if constexpr (withDropout)
          kept = Dropout(p).factor(query, firstKey + x + 16 * j);
        s[i][j] = probability * kept;
        ds[i][j] = counts[j] ? probability * (ds[i][j] * kept - delta) : 0.0f;
      }
    }
    storeScores(scores(4, 0), s);
    storeScores(scores(4, 1), ds);
  }
};

template <int headDim, bool withDropout> struct SimtForward : Simt<headDim, withDropout> {
  using Base = Simt<headDim, withDropout>;
  using Base::head, Base::kTile, Base::p, Base::R, Base::x, Base::y;

  int firstQuery;
  float maximum[R], sum[R]; ///< the same in the 16 threads of a row
  typename Base::Result out;

  __device__ explicit SimtForward(const AttentionParameters &p)
      : Base(p), firstQuery(blockIdx.x * kTile) {}

  __device__ void begin() {
    Base::clear(out);
#pragma unroll
    for (int i = 0; i < R; ++i) {
      int query = firstQuery + y + 16 * i;
      bool read = !p.initialize && query < p.queries;
      maximum[i] = read ? p.lse[head.statistic() + query] : -infinity();
      sum[i] = read ? p.sum[head.statistic() + query] : 0.0f;
    }
    if (!p.initialize)
      Base::forEach(out, p.accumulator + head.query(), firstQuery, p.queries,
                    [](float place, float &value) { value = place; });
  }

  __device__ void softmax(float (&s)[R][R], const bool (&counts)[R], int firstKey) {
#pragma unroll
    for (int i = 0; i < R; ++i) {
      float largest = maximum[i];
#pragma unroll
      for (int j = 0; j < R; ++j) {
        s[i][j] = counts[j] ? s[i][j] * p.scale : -infinity();
        largest = fmaxf(largest, s[i][j]);
      }
#pragma unroll
      for (int distance = 8; distance > 0; distance /= 2)
        largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, distance));
      float shift = finiteMaximum(largest), correction = expf(maximum[i] - shift), total = 0;
      maximum[i] = largest;
#pragma unroll
      for (int j = 0; j < R; ++j) {
        s[i][j] = expf(s[i][j] - shift);
        total += s[i][j];
        if constexpr (withDropout)
          s[i][j] *= Dropout(p).factor(firstQuery + y + 16 * i, firstKey + x + 16 * j);
      }
#pragma unroll
      for (int distance = 8; distance > 0; distance /= 2)
        total += __shfl_xor_sync(kAllLanes, total, distance);
      sum[i] = sum[i] * correction + total;
#pragma unroll
      for (int g = 0; g < Base::G; ++g)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          out[i][g][e] *= correction;
    }
  }

  /// Operand tiles: 0 q, 1 k, 2 v.
  __device__ void loop() {
    Base::load(Base::operand(0), p.q, head.query(), firstQuery, p.queries);
    for (int firstKey = 0; firstKey < p.keys; firstKey += kTile) {
      bool counts[R];
      if (!Base::loadMask(counts, firstKey)) // a barrier: the tiles before are done with
        continue;
      Base::load(Base::operand(1), p.k, head.key(), firstKey, p.keys);
      Base::load(Base::operand(2), p.v, head.key(), firstKey, p.keys);
      __syncthreads();
      float s[R][R];
      Base::multiplyRows(s, Base::operand(0), Base::operand(1));
      softmax(s, counts, firstKey);
      Base::storeScores(Base::scores(3, 0), s);
      __syncthreads();
      Base::template multiplyAdd<false>(out, Base::scores(3, 0), Base::operand(2));
    }
  }

  __device__ void end() {
#pragma unroll
    for (int i = 0; i < R; ++i) {
      int query = firstQuery + y + 16 * i;
      if (x == 0 && query < p.queries) {
        p.lse[head.statistic() + query] = p.finish ? logSumExp(maximum[i], sum[i]) : maximum[i];
        if (!p.finish)
          p.sum[head.statistic() + query] = sum[i];
      }
      float factor = p.finish ? inverseSum(maximum[i], sum[i]) : 1.0f;
#pragma unroll
      for (int g = 0; g < Base::G; ++g)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          out[i][g][e] *= factor;
    }
    float *to = p.finish ? static_cast<float *>(p.out) : p.accumulator;
    Base::store(out, to + head.query(), firstQuery, p.queries, 1.0f, false);
  }
};

template <int headDim, bool withDropout> __device__ void simtForward(const AttentionParameters &p) {
  SimtForward<headDim, withDropout> block(p);
  block.begin();
  block.loop();
  block.end();
}

/// dk and dv of a tile of keys.
template <int headDim, bool withDropout>
__device__ void simtBackwardKeys(const AttentionParameters &p) {
  using Block = Simt<headDim, withDropout>;
  Block block(p);
  int firstKey = blockIdx.x * Block::kTile;
  typename Block::Result dk, dv;
  Block::clear(dk);
  Block::clear(dv);
  bool counts[Block::R];
  bool any = block.loadMask(counts, firstKey);
  if (!any && p.accumulateKV)
    return;
  block.load(block.operand(1), p.k, block.head.key(), firstKey, p.keys);
  block.load(block.operand(2), p.v, block.head.key(), firstKey, p.keys);
  for (int firstQuery = 0; any && firstQuery < p.queries; firstQuery += Block::kTile) {
    __syncthreads();
    block.load(block.operand(0), p.q, block.head.query(), firstQuery, p.queries);
    block.load(block.operand(3), p.dout, block.head.query(), firstQuery, p.queries);
    __syncthreads();
    block.backwardScores(counts, firstQuery, firstKey);
    __syncthreads();
    block.template multiplyAdd<true>(dv, block.scores(4, 0), block.operand(3));
    block.template multiplyAdd<true>(dk, block.scores(4, 1), block.operand(0));
  }
  block.store(dk, p.dk + block.head.key(), firstKey, p.keys, p.scale, p.accumulateKV);
  block.store(dv, p.dv + block.head.key(), firstKey, p.keys, 1.0f, p.accumulateKV);
}

/// dq of a tile of queries.
template <int headDim, bool withDropout>
__device__ void simtBackwardQueries(const AttentionParameters &p) {
  using Block = Simt<headDim, withDropout>;
  Block block(p);
  int firstQuery = blockIdx.x * Block::kTile;
  typename Block::Result dq;
  Block::clear(dq);
  block.load(block.operand(0), p.q, block.head.query(), firstQuery, p.queries);
  block.load(block.operand(3), p.dout, block.head.query(), firstQuery, p.queries);
  for (int firstKey = 0; firstKey < p.keys; firstKey += Block::kTile) {
    bool counts[Block::R];
    if (!block.loadMask(counts, firstKey)) // a barrier: the tiles before are done with
      continue;
    block.load(block.operand(1), p.k, block.head.key(), firstKey, p.keys);
    block.load(block.operand(2), p.v, block.head.key(), firstKey, p.keys);
    __syncthreads();
    block.backwardScores(counts, firstQuery, firstKey);
    __syncthreads();
    block.template multiplyAdd<false>(dq, block.scores(4, 1), block.operand(1));
  }
  block.store(dq, p.dq + block.head.query(), firstQuery, p.queries, p.scale, !p.initialize);
}

} // namespace seqpar::cuda
