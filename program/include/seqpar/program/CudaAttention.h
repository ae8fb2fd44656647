//===- CudaAttention.h - launch contract of the CUDA attention kernels ----===//
//
// What the compiler, which emits these kernels, the runtime, which launches them, and the kernels
// themselves agree on: the one parameter of every kernel and the tiles it works on. This text is
// also the beginning of the kernels' source, so it includes nothing and uses built-in types only;
// CudaAttentionLaunch.h has what only the host needs.
//
// Kernels, where TYPE is f32, bf16 or f16 and D the head dimension:
//
//   seqpar_attention_forward_TYPE_D          grid (tiles of queries, heads, batch)
//   seqpar_attention_delta_TYPE_D            grid (tiles of queries, heads, batch)
//   seqpar_attention_backward_keys_TYPE_D    grid (tiles of keys, heads, batch): dk and dv
//   seqpar_attention_backward_queries_TYPE_D grid (tiles of queries, heads, batch): dq
//
// For sm_90a alone, each with the grid and the results of its namesake (delta serves both):
//
//   seqpar_attention_forward_warpgroup_TYPE_D
//   seqpar_attention_backward_keys_warpgroup_TYPE_D
//   seqpar_attention_backward_queries_warpgroup_TYPE_D
//
// With dropout, all but delta have the suffix _dropout. A backward pass launches delta (when its
// block is the first one), then the other two in any order. Each takes one AttentionParameters by
// value, blocks of AttentionTiling::threads threads and AttentionTiling::sharedBytes bytes of
// dynamic shared memory. Every element of a result is written by one thread, in a fixed order of
// additions: results are the same bits in every run.
//
//===----------------------------------------------------------------------===//
#ifndef SEQPAR_PROGRAM_CUDAATTENTION_H
#define SEQPAR_PROGRAM_CUDAATTENTION_H

#ifdef __CUDACC__
#define SEQPAR_ON_BOTH_SIDES __host__ __device__
#else
#define SEQPAR_ON_BOTH_SIDES
#endif

namespace seqpar::cuda {

/// Type of q, k, v, dout and out. All other tensors are fp32, all arithmetic is in fp32; products
/// of 16-bit types run on tensor cores.
enum class AttentionStorage { F32, BF16, F16 };

enum class AttentionKernel {
  Forward,
  Delta,
  BackwardKeys,
  BackwardQueries,
  ForwardWarpgroup,
  BackwardKeysWarpgroup,
  BackwardQueriesWarpgroup
};

/// Addresses are of device memory, aligned to 16 bytes. q-like tensors are [batch, queries, heads *
/// headDim], k-like ones [batch, keys, heads * headDim]; statistics are [batch, heads, queries].
struct AttentionParameters {
  const void *q, *k, *v; ///< storage type
  const int *mask;  ///< [batch, maskLength], columns maskOffset.. are the block's keys; 1: real
  const void *dout; ///< storage type; backward only

  /// State of the online softmax between the blocks of a ring: the unnormalised accumulator, the
  /// running maximum (in lse) and sum. Read unless `initialize`, written unless `finish` (but see
  /// `out`).
  float *accumulator;
  float *lse, *sum;
  /// Written by forward when `finish` (then lse is maximum + log(sum)), read by delta. Storage
  /// type. With fp32 it may be the same memory as the accumulator. When it is null for forward,
  /// 16-bit kernels write the normalised result to `accumulator`, in fp32.
  void *out;

  float *delta;   ///< statistic: row sums of dout * out
  float *dq;      ///< q-like: set when `initialize`, else added to
  float *dk, *dv; ///< k-like: overwritten, or added to when accumulateKV
  int batch, heads, queries, keys;
  int maskLength, maskOffset;
  float scale; ///< above 0
  int initialize, finish, accumulateKV;

  // Dropout of probabilities by coordinates, see Philox.h of the runtime.
  const int *samples;          ///< [batch]
  const unsigned *seed, *step; ///< one word each, on the device: a captured graph reads new values
  unsigned site;               ///< below 65536, as is heads
  unsigned threshold;          ///< words below are dropped: rate * 2^32
  float keptScale;             ///< 1 / (1 - rate)
  unsigned queryOffset, keyOffset; ///< positions of query 0 and key 0 in the sequence
};

/// One set of kernels.
struct AttentionConfig {
  AttentionStorage storage;
  int headDim;
  bool dropout;
  SEQPAR_ON_BOTH_SIDES constexpr bool operator==(const AttentionConfig &other) const {
    return storage == other.storage && headDim == other.headDim && dropout == other.dropout;
  }
};

/// How a kernel cuts its work: a block of threads owns `rows` rows (queries; keys in BackwardKeys)
/// and loops over the other side in tiles of `columns`.
struct AttentionTiling {
  int rows, columns, warps, sharedBytes;
  SEQPAR_ON_BOTH_SIDES constexpr int threads() const { return 32 * warps; }
};

/// Head dimensions that a storage type has kernels for.
SEQPAR_ON_BOTH_SIDES constexpr bool attentionSupports(AttentionStorage storage, int headDim) {
  if (storage == AttentionStorage::F32)
    return headDim >= 1 && headDim <= 256;
  return headDim >= 8 && headDim <= 128 && headDim % 8 == 0;
}

/// Those that have kernels of warpgroups.
SEQPAR_ON_BOTH_SIDES constexpr bool attentionSupportsWarpgroup(AttentionStorage storage,
                                                               int headDim) {
  return storage != AttentionStorage::F32 && (headDim == 64 || headDim == 128);
}

/// The head dimension as tiles hold it: padded with zeros to whole steps of the products.
SEQPAR_ON_BOTH_SIDES constexpr int attentionColumns(int headDim) {
  return (headDim + 31) / 32 * 32;
}

/// Extra floats per row of an fp32 tile, so that rows start in different banks.
constexpr int kAttentionPadding = 4;
/// The same for fp32 scores.
constexpr int kAttentionScorePadding = 16;

SEQPAR_ON_BOTH_SIDES constexpr AttentionTiling attentionTiling(AttentionKernel kernel,
                                                               AttentionConfig config) {
  int d = attentionColumns(config.headDim);
  if (kernel == AttentionKernel::Delta)
    return {32, 0, 8, 0}; // eight lanes per query
  if (config.storage == AttentionStorage::F32) {
    int tile = d <= 64 ? 64 : 32;
    int operand = tile * (d + kAttentionPadding) * 4,
        scores = tile * (tile + kAttentionScorePadding) * 4;
    return {tile, tile, 8,
            kernel == AttentionKernel::Forward ? 3 * operand + scores : 4 * operand + 2 * scores};
  }
  int bytes = 2 * d; // of a row
  // Two warpgroups of 64 rows.
  if (kernel == AttentionKernel::ForwardWarpgroup)
    return {128, 128, 8, (128 + 2 * 2 * 128) * bytes};
  if (kernel == AttentionKernel::BackwardKeysWarpgroup)
    return {128, 64, 8, (2 * 128 + 2 * 2 * 64) * bytes + 2 * 2 * 64 * 4};
  if (kernel == AttentionKernel::BackwardQueriesWarpgroup)
    return {128, 64, 8, (2 * 128 + 2 * 2 * 64) * bytes};
  // A warp of 32 rows reads shared memory half as often for a product as one of 16; it has them
  // where they fit in the registers.
  if (kernel == AttentionKernel::Forward) {
    bool wide = d <= 96 || !config.dropout;
    int rows = wide ? 128 : 64, columns = d <= 64 || !wide ? 64 : 32;
    return {rows, columns, 4, (rows + 2 * 2 * columns) * bytes};
  }
  bool keys = kernel == AttentionKernel::BackwardKeys;
  int rows = d <= (keys ? 32 : 64) ? 128 : 64, columns = rows == 64 && d == 64 ? 64 : 32;
  int statistics = keys ? 2 * 2 * columns * 4 : 0;
  return {rows, columns, 4, (2 * rows + 2 * 2 * columns) * bytes + statistics};
}

/// How many keys before the first one the tiles of 16-bit kernels begin: with dropout they begin
/// where the four keys of a Philox block do.
SEQPAR_ON_BOTH_SIDES constexpr int attentionLead(const AttentionParameters &p,
                                                 AttentionConfig config) {
  return config.storage != AttentionStorage::F32 && config.dropout ? int(p.keyOffset % 4) : 0;
}

} // namespace seqpar::cuda

#endif // SEQPAR_PROGRAM_CUDAATTENTION_H
