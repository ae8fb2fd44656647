//===- Preamble.cpp - device functions that all row kernels share ---------===//
#include "Text.h"

using namespace seqpar::cuda;

static constexpr const char *kFunctions = R"(
// Row kernels take a pointer for each operand, the number of rows, a workspace, and whether sums
// over rows are added to what their operand holds. Arithmetic is in float; operands are stored as
// their type says.

// Consecutive elements as 16 bytes at most.
template <typename T, int kCount> struct alignas(sizeof(T) * kCount) Pack {
  T element[kCount];
};
template <typename T, int kWidth>
constexpr int kPackCount = sizeof(T) * kWidth <= 16 ? kWidth : int(16 / sizeof(T));

// kWidth elements from an address that is a multiple of their size; zeros when they are not there.
template <int kWidth, typename Value, typename T>
__device__ __forceinline__ void load(Value (&to)[kWidth], const T *from, bool isThere = true) {
  constexpr int kCount = kPackCount<T, kWidth>;
#pragma unroll
  for (int first = 0; first < kWidth; first += kCount) {
    Pack<T, kCount> pack = {};
    if (isThere)
      pack = *reinterpret_cast<const Pack<T, kCount> *>(from + first);
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      to[first + i] = Value(pack.element[i]);
  }
}

template <int kWidth, typename Value, typename T>
__device__ __forceinline__ void store(T *to, const Value (&from)[kWidth]) {
  constexpr int kCount = kPackCount<T, kWidth>;
#pragma unroll
  for (int first = 0; first < kWidth; first += kCount) {
    Pack<T, kCount> pack;
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      pack.element[i] = T(from[first + i]);
    *reinterpret_cast<Pack<T, kCount> *>(to + first) = pack;
  }
}

struct Add {
  template <typename T> static __device__ __forceinline__ T combine(T x, T y) { return x + y; }
};
// A maximum keeps x when y is NaN.
struct Max {
  template <typename T> static __device__ __forceinline__ T combine(T x, T y) {
    return y > x ? y : x;
  }
};
struct SignedMax {
  static __device__ __forceinline__ unsigned combine(unsigned x, unsigned y) {
    return int(y) > int(x) ? y : x;
  }
  static __device__ __forceinline__ unsigned long long combine(unsigned long long x,
                                                               unsigned long long y) {
    return (long long)(y) > (long long)(x) ? y : x;
  }
};

// Over the 32 threads of a warp: the same bits in each.
template <typename Op, typename T> __device__ __forceinline__ T reduceWarp(T x) {
#pragma unroll
  for (int bit = 16; bit > 0; bit /= 2)
    x = Op::combine(x, __shfl_xor_sync(0xffffffffu, x, bit));
  return x;
}

// Over the threads of a block, in two steps with a barrier between them: each warp leaves its part
// in shared memory, and every warp then reduces the parts.
template <typename Op, typename T> __device__ __forceinline__ void leavePart(T *parts, T x) {
  x = reduceWarp<Op>(x);
  if (threadIdx.x % 32 == 0)
    parts[threadIdx.x / 32] = x;
}
template <typename Op, int kWarps, typename T>
__device__ __forceinline__ T reduceParts(const T *parts, T neutral) {
  const int lane = threadIdx.x % 32;
  return reduceWarp<Op>(lane < kWarps ? parts[lane] : neutral);
}

// NaN when one of them is.
template <typename T> __device__ __forceinline__ T maximum(T x, T y) {
  return x > y || x != x ? x : y;
}
template <typename T> __device__ __forceinline__ T minimum(T x, T y) {
  return x < y || x != x ? x : y;
}

// Random words of neighbouring columns: Philox4x32-10 (Salmon et al., SC 2011) with
//   counter = { column / 4, position, sample, site << 16 }   key = { seed, step }
// of which column % 4 picks the word. The first column is a multiple of kWidth.
template <int kWidth>
__device__ __forceinline__ void draw(unsigned (&to)[kWidth], int column, unsigned seed,
                                     unsigned step, unsigned site, unsigned sample,
                                     unsigned position) {
  constexpr int kTogether = kWidth < 4 ? kWidth : 4;
#pragma unroll
  for (int first = 0; first < kWidth; first += kTogether) {
    unsigned x0 = unsigned(column + first) / 4, x1 = position, x2 = sample, x3 = site << 16;
    unsigned k0 = seed, k1 = step;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
      const unsigned high0 = __umulhi(0xd2511f53u, x0), low0 = 0xd2511f53u * x0;
      const unsigned high1 = __umulhi(0xcd9e8d57u, x2), low1 = 0xcd9e8d57u * x2;
      x0 = high1 ^ x1 ^ k0;
      x1 = low1;
      x2 = high0 ^ x3 ^ k1;
      x3 = low0;
      k0 += 0x9e3779b9u;
      k1 += 0xbb67ae85u;
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int word = kWidth < 4 ? (column + i) % 4 : i;
      to[first + i] = word == 0 ? x0 : word == 1 ? x1 : word == 2 ? x2 : x3;
    }
  }
}

// Sums over rows, second part: out[column] gets the sum of the parts, in an order that their number
// alone decides. kLanes neighbouring threads have a column each; 256 threads a block.
template <int kLanes, typename Value, typename S, typename T>
__device__ __forceinline__ void sumParts(T *out, const S *parts, long long stride, int columns,
                                         long long count, int accumulate) {
  __shared__ Value sums[256];
  const int lane = threadIdx.x % kLanes, group = threadIdx.x / kLanes;
  const int column = blockIdx.x * kLanes + lane;
  if (blockIdx.x * kLanes >= columns)
    return;
  Value sum = 0;
  if (column < columns) {
#pragma unroll 4
    for (long long part = group; part < count; part += 256 / kLanes)
      sum += Value(parts[part * stride + column]);
  }
  sums[threadIdx.x] = sum;
#pragma unroll
  for (int half = 128 / kLanes; half > 0; half /= 2) {
    __syncthreads();
    if (group < half)
      sums[threadIdx.x] += sums[threadIdx.x + half * kLanes];
  }
  if (group == 0 && column < columns)
    out[column] = T(accumulate ? Value(out[column]) + sums[lane] : sums[lane]);
}

// Adds row r of `source`, at r * stride, to row index[r] of `table`, for all r in ascending order;
// a negative number adds nothing. The block of the first row that names a table row adds all that
// name it, so that no two blocks write the same.
template <int kThreads, int kWidth, int kColumns, typename Value, typename S, typename T>
__device__ __forceinline__ void scatterAdd(T *table, const S *source, long long stride,
                                           const int *index, long long rows) {
  constexpr int kTogether = 4; // rows whose loads are under way at a time
  __shared__ int matches[kThreads];
  __shared__ int counts[kThreads / 32];
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
    const int target = index[row];
    bool isLater = false;
    for (long long other = thread; target >= 0 && other < row; other += kThreads)
      isLater |= index[other] == target;
    if (__syncthreads_or(isLater || target < 0))
      continue;
    for (int first = 0; first < kColumns; first += kThreads * kWidth) {
      const int column = first + thread * kWidth;
      Value sum[kWidth] = {};
      for (long long start = row; start < rows; start += kThreads) {
        // The numbers of the rows start ... start + kThreads - 1 that match, in ascending order.
        const bool isMatch = start + thread < rows && index[start + thread] == target;
        const unsigned votes = __ballot_sync(0xffffffffu, isMatch);
        if (lane == 0)
          counts[warp] = __popc(votes);
        __syncthreads();
        int before = 0, count = 0;
#pragma unroll
        for (int i = 0; i < kThreads / 32; ++i) {
          before += i < warp ? counts[i] : 0;
          count += counts[i];
        }
        if (isMatch)
          matches[before + __popc(votes & ((1u << lane) - 1))] = thread;
        __syncthreads();
        for (int match = 0; column < kColumns && match < count; match += kTogether) {
          Value value[kTogether][kWidth];
#pragma unroll
          for (int k = 0; k < kTogether; ++k) {
            const bool isThere = match + k < count;
            const long long from = start + matches[isThere ? match + k : 0];
            load(value[k], source + from * stride + column, isThere);
          }
#pragma unroll
          for (int k = 0; k < kTogether; ++k)
#pragma unroll
            for (int i = 0; i < kWidth; ++i)
              sum[i] += value[k][i];
        }
        __syncthreads();
      }
      if (column < kColumns) {
        Value old[kWidth];
        load(old, table + (long long)(target)*kColumns + column);
#pragma unroll
        for (int i = 0; i < kWidth; ++i)
          sum[i] += old[i];
        store(table + (long long)(target)*kColumns + column, sum);
      }
    }
  }
}
)";

std::string seqpar::cuda::makePreamble(bool usesBfloat, bool usesHalf) {
  std::string text = "// Row kernels, as the compiler fused them.\n";
  if (usesBfloat)
    text += "#include <cuda_bf16.h>\n";
  if (usesHalf)
    text += "#include <cuda_fp16.h>\n";
  return text + kFunctions;
}

void Text::add(llvm::StringRef line) {
  text.append(2 * depth, ' ');
  text += line;
  text += '\n';
}

void Text::open(llvm::StringRef head) {
  add(head);
  ++depth;
}

void Text::close() {
  --depth;
  add("}");
}
