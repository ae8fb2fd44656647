//===- Tiles.cuh - 16-bit tiles in shared memory and their products -------===//
//
// A tile holds rows of D elements, D a multiple of 32, in pieces of 16 bytes, which is what a lane
// copies and what one row of an 8x8 matrix of ldmatrix is. Shared memory serves eight such pieces
// at a time when they lie in different groups of four banks, that is, when their piece numbers
// differ modulo 8. ldmatrix reads the same column of eight neighbouring rows, so piece c of row r
// is stored at place
//
//   c ^ (r % 8)        D = 64, 128: rows begin in the same bank, eight different places
//   c ^ (r / 2 % 4)    D = 32, 96: odd rows begin 16 banks further on, which with four different
//                      places for the pairs of rows is eight again
//
// Copying writes whole rows, so its writes do not conflict either.
//
//===----------------------------------------------------------------------===//

namespace seqpar::cuda {

constexpr float kLog2E = 1.44269504088896341f;

template <int D> __device__ inline int swizzle(int row) {
  return D % 64 == 0 ? row % 8 : row / 2 % 4;
}

/// Starts copying rows first, first + 1... of a matrix into a tile. What lies outside of its
/// `count` rows and headDim columns becomes zero. The rows of `matrix` are `stride` elements apart.
template <int rows, int D, int headDim, int threads, typename T>
__device__ inline void copyTile(char *tile, const T *matrix, int stride, int first, int count) {
  constexpr int pieces = D / 8;
#pragma unroll
  for (int i = threadIdx.x; i < rows * pieces; i += threads) {
    int row = i / pieces, piece = i % pieces, from = first + row;
    bool inside = from >= 0 && from < count && piece * 8 < headDim;
    copyAsync16(tile + row * 2 * D + (piece ^ swizzle<D>(row)) * 16,
                matrix + (inside ? (long long)from * stride + piece * 8 : 0), inside);
  }
}

/// Starts copying statistics; zeros outside.
template <int count>
__device__ inline void copyStatistics(float *tile, const float *statistics, int first, int end) {
  for (int i = threadIdx.x; i < count; i += blockDim.x)
    copyAsync4(tile + i, statistics + (first + i < end ? first + i : 0), first + i < end);
}

/// Addresses of a lane in a tile, for ldmatrix. `row` and `piece` are the lane's own offsets, at
/// most 15 and 1; at() adds multiples of 8 rows and of 2 pieces to them, which keeps the swizzle.
template <int D> struct LaneAddress {
  __device__ LaneAddress(const char *tile, int row, int piece)
      : start(tile + row * 2 * D), place((piece ^ swizzle<D>(row)) * 16) {}
  __device__ const char *at(int row, int piece) const {
    return start + row * 2 * D + (piece * 16 ^ place);
  }
  const char *start;
  int place;
};

/// The left operand a, or a right one that is stored [k, n] and loaded transposed: matrices in the
/// order rows 0-7, rows 8-15, then the same rows of the next eight columns.
template <int D> __device__ inline LaneAddress<D> downThenRight(const char *tile) {
  int lane = threadIdx.x % 32;
  return {tile, lane % 16, lane / 16};
}
/// A right operand that is stored [n, k].
template <int D> __device__ inline LaneAddress<D> rightThenDown(const char *tile) {
  int lane = threadIdx.x % 32;
  return {tile, lane / 16 * 8 + lane % 8, lane / 8 % 2};
}

/// Accumulators of a warp: 16 * M rows by 8 * N columns. Element [m][n][2 * r + e] of a lane is row
/// 16 * m + 8 * r + g, column 8 * n + 2 * t + e.
template <int M, int N> struct Accumulators {
  float at[M][N][4];
  template <int size> using Part = float (&)[size][4];
  /// Columns of part `number` of `size` times 8, of 16 rows.
  template <int size> __device__ Part<size> part(int number) {
    static_assert(M == 1 && N % size == 0);
    return reinterpret_cast<Part<size>>(at[0][number * size]);
  }
  __device__ void clear() {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int n = 0; n < N; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          at[m][n][i] = 0;
  }
};

template <int M, int N> __device__ inline void scaleBy(Accumulators<M, N> &c, float factor) {
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        c.at[m][n][i] *= factor;
}

/// A left operand in registers: 16 * M rows by 16 * K columns.
template <int M, int K> struct LeftOperand {
  Word at[M][K][4];
};

/// c = a * b^T, both tiles of rows of D elements.
template <typename T, int M, int N, int D>
__device__ inline void multiplyRows(Accumulators<M, N> &c, LaneAddress<D> a, LaneAddress<D> b) {
  c.clear();
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
    Word left[M][4];
#pragma unroll
    for (int m = 0; m < M; ++m)
      loadMatrices(left[m], a.at(16 * m, 2 * k));
#pragma unroll
    for (int n = 0; n < N / 2; ++n) {
      Word right[4];
      loadMatrices(right, b.at(16 * n, 2 * k));
#pragma unroll
      for (int m = 0; m < M; ++m) {
        multiplyAdd(c.at[m][2 * n], left[m], right[0], right[1], T());
        multiplyAdd(c.at[m][2 * n + 1], left[m], right[2], right[3], T());
      }
    }
  }
}

/// c += a * b, b a tile of 16 * K rows of D elements.
template <typename T, int M, int K, int D>
__device__ inline void multiplyAddColumns(Accumulators<M, D / 8> &c, const LeftOperand<M, K> &a,
                                          LaneAddress<D> b) {
#pragma unroll
  for (int k = 0; k < K; ++k)
#pragma unroll
    for (int n = 0; n < D / 16; ++n) {
      Word right[4];
      loadTransposedMatrices(right, b.at(16 * k, 2 * n));
#pragma unroll
      for (int m = 0; m < M; ++m) {
        multiplyAdd(c.at[m][2 * n], a.at[m][k], right[0], right[1], T());
        multiplyAdd(c.at[m][2 * n + 1], a.at[m][k], right[2], right[3], T());
      }
    }
}

/// Accumulators as the left operand of the next product: a lane has the elements it needs.
template <typename T, int M, int N, typename Function>
__device__ inline void packLeft(LeftOperand<M, N / 2> &left, Function &&element) {
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int r = 0; r < 2; ++r)
        left.at[m][n / 2][n % 2 * 2 + r] =
            pack(element(m, n, 2 * r), element(m, n, 2 * r + 1), T());
}

/// Writes accumulators to fp32 rows [0, count) that are `stride` elements apart, at the columns of
/// the head. `add`: to what is there.
template <int headDim, int M, int N>
__device__ inline void storeFloats(const Accumulators<M, N> &c, float *matrix, int stride,
                                   int first, int count, bool add) {
  int lane = threadIdx.x % 32;
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      int row = first + 16 * m + 8 * r + lane / 4;
      if (row < 0 || row >= count)
        continue;
      float *to = matrix + (long long)row * stride + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < headDim / 8; ++n) {
        float2 value = {c.at[m][n][2 * r], c.at[m][n][2 * r + 1]};
        float2 *place = reinterpret_cast<float2 *>(to + 8 * n);
        if (add) {
          value.x += place->x;
          value.y += place->y;
        }
        *place = value;
      }
    }
}

/// Keys of a tile that count, as bits: the same words in every lane.
template <int columns> struct KeyBits {
  Word word[columns / 32];

  /// Keys first, first + 1..., of which those in [0, end) exist.
  __device__ void load(const int *mask, int first, int end) {
#pragma unroll
    for (int w = 0; w < columns / 32; ++w) {
      int key = first + 32 * w + threadIdx.x % 32;
      word[w] = __ballot_sync(kAllLanes,
                              key >= 0 && key < end && mask[key >= 0 && key < end ? key : 0] != 0);
    }
  }
  __device__ bool none() const {
    Word all = 0;
#pragma unroll
    for (Word each : word)
      all |= each;
    return all == 0;
  }
  __device__ bool whole() const {
    Word all = ~0u;
#pragma unroll
    for (Word each : word)
      all &= each;
    return all == ~0u;
  }
  __device__ bool has(int column) const { return word[column / 32] >> column % 32 & 1; }
};

/// The next tile of keys, from `tile` on, in which one counts; `tiles` when there is none.
template <int columns>
__device__ inline int nextKeyTile(KeyBits<columns> &bits, const int *mask, int tile, int tiles,
                                  int lead, int keys) {
  for (; tile < tiles; ++tile) {
    bits.load(mask, tile * columns - lead, keys);
    if (!bits.none())
      break;
  }
  return tile;
}

/// Folds the tiles of keys and values that have a key that counts into a block of queries, which
/// copies its own rows with the first of them. Each tile is copied while the one before it is
/// worked on.
template <typename Block> __device__ inline void foldKeyTiles(Block &block) {
  constexpr int kKeys = Block::kKeys, kTileBytes = Block::kKeyTileBytes;
  const AttentionParameters &p = block.p;
  const int *mask = block.head.mask();
  auto copyKeys = [&](int tile, int stage) {
    char *to = block.keyTiles + stage * 2 * kTileBytes;
    int first = tile * kKeys - block.lead;
    Block::Use::template copy<kKeys, Block::kThreads>(to, p.k, block.head.key(), block.head.stride,
                                                      first, p.keys);
    Block::Use::template copy<kKeys, Block::kThreads>(to + kTileBytes, p.v, block.head.key(),
                                                      block.head.stride, first, p.keys);
  };
  int tiles = (p.keys + block.lead + kKeys - 1) / kKeys, stage = 0;
  KeyBits<kKeys> bits;
  int tile = nextKeyTile(bits, mask, 0, tiles, block.lead, p.keys);
  if (tile == tiles)
    return;
  block.copyQueries();
  copyKeys(tile, stage);
  copyAsyncCommit();
  while (tile < tiles) {
    KeyBits<kKeys> nextBits;
    int next = nextKeyTile(nextBits, mask, tile + 1, tiles, block.lead, p.keys);
    if (next < tiles)
      copyKeys(next, 1 - stage);
    copyAsyncCommit();
    if constexpr (Block::kConfig.dropout)
      block.keep.drawRowsOfQueries(p, block.firstQuery + block.row, tile * kKeys - block.lead);
    copyAsyncWait<1>();
    Block::Use::afterCopies();
    __syncthreads();
    block.fold(bits, stage);
    __syncthreads(); // before the next but one tile is copied over this one
    tile = next;
    bits = nextBits;
    stage = 1 - stage;
  }
}

/// Which probabilities of a lane are kept: 16 bits for each 8 columns of 16 rows. Neighbouring
/// lanes need the same Philox blocks, so each computes one of them and they exchange the outcome.
/// The bits are drawn before the scores are computed, when registers are free.
template <int M, int N> struct KeepBits {
  Word word[M][N / 2];

  /// Rows are queries `row` + 16 * m..., columns keys `column` + 8 * n...; `row` is the lane's. The
  /// lanes of a quad share two rows of eight keys. Element i has bit i / 2 * 8 + i % 2.
  __device__ void drawRowsOfQueries(const AttentionParameters &p, int row, int column) {
    Dropout dropout(p);
    int t = threadIdx.x % 4;
    draw([&](int m, int n) {
      Word bits = dropout.keepFour(row + 16 * m + 8 * (t / 2), column + 8 * n + 4 * (t % 2))
                  << 4 * t;
      bits |= __shfl_xor_sync(kAllLanes, bits, 1);
      return (bits | __shfl_xor_sync(kAllLanes, bits, 2)) >> 2 * t;
    });
  }

  /// Rows are keys `row` + 16 * m..., columns queries `column` + 8 * n...; `row` is the warp's. The
  /// four lanes that share t and g / 4 share two columns of twice four keys. Element i has bit 4 *
  /// i.
  __device__ void drawRowsOfKeys(const AttentionParameters &p, int row, int column) {
    Dropout dropout(p);
    int lane = threadIdx.x % 32, u = lane / 4 % 4;
    draw([&](int m, int n) {
      Word bits = dropout.keepFour(column + 8 * n + lane % 4 * 2 + u % 2,
                                   row + 16 * m + lane / 16 * 4 + 8 * (u / 2))
                  << 4 * u;
      bits |= __shfl_xor_sync(kAllLanes, bits, 4);
      return (bits | __shfl_xor_sync(kAllLanes, bits, 8)) >> u;
    });
  }

  __device__ bool has(int m, int n, int bit) const {
    return word[m][n / 2] >> (n % 2 * 16 + bit) & 1;
  }

private:
  /// Bits above the 16 of a part spill into the next one, but not to where it is read.
  template <typename Function> __device__ void draw(Function &&sixteen) {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int n = 0; n < N / 2; ++n) {
        Word low = sixteen(m, 2 * n);
        word[m][n] = low | sixteen(m, 2 * n + 1) << 16;
      }
  }
};

} // namespace seqpar::cuda
