//===- Common.cuh - what all attention kernels share ----------------------===//

namespace seqpar::cuda {

__device__ inline float infinity() { return __int_as_float(0x7f800000); }
__device__ inline float toFloat(float value) { return value; }

/// One head of one sample: where a block of threads works. Nothing of it is kept in registers that
/// can be computed again from the parameters.
struct Head {
  __device__ Head(const AttentionParameters &p, int headDim)
      : p(p), headDim(headDim), stride(p.heads * headDim) {}

  /// Elements of position 0 in q-like and k-like tensors, and in statistics.
  __device__ long long query() const {
    return (long long)blockIdx.z * p.queries * stride + blockIdx.y * headDim;
  }
  __device__ long long key() const {
    return (long long)blockIdx.z * p.keys * stride + blockIdx.y * headDim;
  }
  __device__ long long statistic() const {
    return ((long long)blockIdx.z * p.heads + blockIdx.y) * p.queries;
  }
  /// Of key 0.
  __device__ const int *mask() const {
    return p.mask + (long long)blockIdx.z * p.maskLength + p.maskOffset;
  }

  const AttentionParameters &p;
  int headDim;
  int stride; ///< elements from one position to the next
};

/// Random bits that decide which probabilities are kept; see Philox.h of the runtime.
struct Dropout {
  __device__ explicit Dropout(const AttentionParameters &p)
      : p(p), seed(*p.seed), step(*p.step), sample(p.samples[blockIdx.z]) {}

  /// Bit w is set when key `key + w` counts for `query`. key + keyOffset is a multiple of 4.
  __device__ Word keepFour(int query, int key) const {
    Word x0 = (p.keyOffset + key) / 4, x1 = p.queryOffset + query, x2 = sample;
    Word x3 = p.site << 16 | blockIdx.y, k0 = seed, k1 = step, threshold = p.threshold;
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
    int inBlock = (p.keyOffset + key) % 4;
    return keepFour(query, key - inBlock) >> inBlock & 1 ? p.keptScale : 0.0f;
  }

  const AttentionParameters &p;
  Word seed, step, sample;
};

/// What a running maximum is subtracted as: without any key so far the difference with -infinity
/// would be NaN, and any finite number will do.
__device__ inline float finiteMaximum(float maximum) {
  return maximum == -infinity() ? 0.0f : maximum;
}

/// Factor of the normalisation, and log-sum-exp. A query without any key gets 0 and +infinity.
__device__ inline float inverseSum(float maximum, float sum) {
  return maximum == -infinity() ? 0.0f : 1.0f / sum;
}
__device__ inline float logSumExp(float maximum, float sum) {
  return maximum == -infinity() ? infinity() : maximum + logf(sum);
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

/// Adds the products of 16 bytes of 16-bit elements, or of one float.
template <typename T> __device__ inline void addProducts(float &sum, const T *a, const T *b) {
  if constexpr (sizeof(T) == 4) {
    sum += *a * *b;
  } else {
    uint4 left = *reinterpret_cast<const uint4 *>(a), right = *reinterpret_cast<const uint4 *>(b);
    const Word x[4] = {left.x, left.y, left.z, left.w};
    const Word y[4] = {right.x, right.y, right.z, right.w};
#pragma unroll
    for (int i = 0; i < 4; ++i)
      sum += toFloat(T{(unsigned short)x[i]}) * toFloat(T{(unsigned short)y[i]}) +
             toFloat(T{(unsigned short)(x[i] >> 16)}) * toFloat(T{(unsigned short)(y[i] >> 16)});
  }
}

/// delta = row sums of dout * out, eight lanes per query. Grid: (tiles of queries, heads, batch).
template <typename T, int headDim> __device__ void delta(const AttentionParameters &p) {
  constexpr int piece = sizeof(T) == 4 ? 1 : 8; // elements of one load
  Head head(p, headDim);
  int query = blockIdx.x * (blockDim.x / 8) + threadIdx.x / 8, lane = threadIdx.x % 8;
  bool inside = query < p.queries;
  long long row = head.query() + (long long)(inside ? query : 0) * head.stride;
  const T *out = static_cast<const T *>(p.out) + row;
  const T *dout = static_cast<const T *>(p.dout) + row;
  float sum = 0;
#pragma unroll
  for (int c = lane * piece; c < headDim; c += 8 * piece)
    addProducts(sum, out + c, dout + c);
#pragma unroll
  for (int distance = 4; distance > 0; distance /= 2)
    sum += __shfl_xor_sync(kAllLanes, sum, distance);
  if (inside && lane == 0)
    p.delta[head.statistic() + query] = sum;
}

} // namespace seqpar::cuda
