//===- Common.cuh - what all attention kernels share ----------------------===//

namespace seqpar::cuda {

constexpr float kLog2E = 1.44269504088896341f;
constexpr float kInfinity = __builtin_huge_valf();

__device__ inline float toFloat(float value) { return value; }

/// One head of one sample: where a block of threads works.
struct Head {
  __device__ Head(const AttentionParameters &p, int headDim)
      : sample(blockIdx.z), head(blockIdx.y), stride(p.heads * headDim),
        query((long long)sample * p.queries * stride + head * headDim),
        key((long long)sample * p.keys * stride + head * headDim),
        statistic(((long long)sample * p.heads + head) * p.queries),
        mask(p.mask + (long long)sample * p.maskLength + p.maskOffset) {}

  int sample, head;
  int stride;           ///< elements from one position to the next
  long long query, key; ///< element of position 0 in q-like and k-like tensors
  long long statistic;  ///< and in statistics
  const int *mask;      ///< of key 0
};

/// Random bits that decide which probabilities are kept; see Philox.h of the runtime.
struct Dropout {
  __device__ Dropout(const AttentionParameters &p, const Head &head)
      : seed(*p.seed), step(*p.step), sample(p.samples[head.sample]),
        siteAndHead(p.site << 16 | head.head), threshold(p.threshold), scale(p.keptScale),
        queryOffset(p.queryOffset), keyOffset(p.keyOffset) {}

  /// Bit w is set when key `key + w` counts for `query`. key + keyOffset is a multiple of 4.
  __device__ Word keepFour(int query, int key) const {
    Word x0 = (keyOffset + key) / 4, x1 = queryOffset + query, x2 = sample, x3 = siteAndHead;
    Word k0 = seed, k1 = step;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
      Word high0 = __umulhi(0xD2511F53u, x0), low0 = 0xD2511F53u * x0;
      Word high1 = __umulhi(0xCD9E8D57u, x2), low1 = 0xCD9E8D57u * x2;
      x0 = high1 ^ x1 ^ k0;
      x1 = low1;
      x2 = high0 ^ x3 ^ k1;
      x3 = low0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return Word(x0 >= threshold) | Word(x1 >= threshold) << 1 | Word(x2 >= threshold) << 2 |
           Word(x3 >= threshold) << 3;
  }

  /// The factor of one probability.
  __device__ float factor(int query, int key) const {
    int inBlock = (keyOffset + key) % 4;
    return keepFour(query, key - inBlock) >> inBlock & 1 ? scale : 0.0f;
  }

  Word seed, step, sample, siteAndHead, threshold;
  float scale;
  Word queryOffset, keyOffset;
};

/// What a running maximum is subtracted as: without any key so far the difference with -infinity
/// would be NaN, and any finite number will do.
__device__ inline float finiteMaximum(float maximum) {
  return maximum == -kInfinity ? 0.0f : maximum;
}

/// Factor of the normalisation, and log-sum-exp. A query without any key gets 0 and +infinity.
__device__ inline float inverseSum(float maximum, float sum) {
  return maximum == -kInfinity ? 0.0f : 1.0f / sum;
}
__device__ inline float logSumExp(float maximum, float sum) {
  return maximum == -kInfinity ? kInfinity : maximum + logf(sum);
}

/// Gradient of a score, up to the scale: probability * (gradient of the probability - delta). The
/// sign of a dropped probability is set.
template <bool withDropout>
__device__ inline float scoreGradient(float probability, float gradient, float keptScale,
                                      float delta) {
  if constexpr (!withDropout)
    return probability * (gradient - delta);
  float kept = __float_as_int(probability) < 0 ? 0.0f : gradient * keptScale;
  return fabsf(probability) * (kept - delta);
}

/// delta = row sums of dout * out, a warp per query. Grid: (tiles of queries, heads, batch).
template <typename T, int headDim> __device__ void delta(const AttentionParameters &p) {
  Head head(p, headDim);
  int query = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (query >= p.queries)
    return;
  const T *out = static_cast<const T *>(p.out) + head.query + (long long)query * head.stride;
  const T *dout = static_cast<const T *>(p.dout) + head.query + (long long)query * head.stride;
  float sum = 0;
#pragma unroll
  for (int c = lane; c < headDim; c += 32)
    sum += toFloat(out[c]) * toFloat(dout[c]);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    sum += __shfl_xor_sync(kAllLanes, sum, distance);
  if (lane == 0)
    p.delta[head.statistic + query] = sum;
}

} // namespace seqpar::cuda
