//===- Products.cuh - tiles and their products by mma or wgmma ------------===//
//
// The two products that attention is made of: rows by rows (scores), and, from registers, by rows
// (sums over positions). With `warpgroup` they are wgmma's, for sm_90a, whose tiles are panels of
// 64 columns, one after the other; see PtxWarpgroup.cuh. Accumulators and left operands are the
// same in both.
//
//===----------------------------------------------------------------------===//

namespace seqpar::cuda {

/// Names 64 rows, or 64 columns of 16 rows, that begin at an address in a panel: where they begin,
/// the bytes from eight rows to the next, and the swizzle.
__device__ inline unsigned long long panelDescriptor(const void *panel) {
  constexpr unsigned long long unused = 1, eightRows = 1024, swizzle128 = 1;
  return (sharedAddress(panel) & 0x3ffff) >> 4 | unused << 16 | eightRows >> 4 << 32 |
         swizzle128 << 62;
}

template <typename T, int headDim, bool warpgroup> struct Products {
  static constexpr int D = attentionColumns(headDim), kPanel = warpgroup ? 64 : D;
  static constexpr int kPanelHead = headDim < kPanel ? headDim : kPanel;

  /// Starts copying rows first.. of a matrix into a tile; zeros outside of its `count` rows.
  template <int rows, int threads>
  __device__ static void copy(char *tile, const void *matrix, long long element, int stride,
                              int first, int count) {
    const T *from = static_cast<const T *>(matrix) + element;
#pragma unroll
    for (int column = 0; column < D; column += kPanel)
      copyTile<rows, kPanel, kPanelHead, threads>(tile + rows * 2 * column, from + column, stride,
                                                  first, count);
  }

  /// What is to be done between the wait for copies and the barrier before products.
  __device__ static void afterCopies() {
    if constexpr (warpgroup)
      fenceCopies();
  }

  /// Where a piece of a row is in a tile.
  template <int rows> __device__ static char *piece(char *tile, int row, int number) {
    constexpr int pieces = kPanel / 8;
    return tile + number / pieces * rows * 2 * kPanel + row * 2 * kPanel +
           (number % pieces ^ swizzle<kPanel>(row)) * 16;
  }

  /// c = a * b^T, with a's rows from firstRow on, those of this warp, and all of b's.
  template <int rowsOfA, int M, int N>
  __device__ static void multiplyRows(Accumulators<M, N> &c, const char *a, int firstRow,
                                      const char *b) {
    if constexpr (!warpgroup) {
      cuda::multiplyRows<T>(c, downThenRight<D>(a + firstRow * 2 * D), rightThenDown<D>(b));
    } else {
      Word left[D / 16][4];
#pragma unroll
      for (int k = 0; k < D / 16; ++k)
        loadMatrices(
            left[k],
            downThenRight<64>(a + k / 4 * rowsOfA * 128 + firstRow * 128).at(0, k % 4 * 2));
      beginProducts();
#pragma unroll
      for (int k = 0; k < D / 16; ++k)
#pragma unroll
        for (int part = 0; part < N / 8; ++part) {
          unsigned long long right =
              panelDescriptor(b + k / 4 * N * 8 * 128 + part * 64 * 128 + k % 4 * 32);
          if (k == 0)
            multiplyPanel<false, false>(c.template part<8>(part), left[k], right, T());
          else
            multiplyPanel<false, true>(c.template part<8>(part), left[k], right, T());
        }
      endProducts();
    }
  }

  /// c += a * b, b a tile of 16 * K rows.
  template <int M, int K>
  __device__ static void multiplyAddColumns(Accumulators<M, D / 8> &c, const LeftOperand<M, K> &a,
                                            const char *b) {
    if constexpr (!warpgroup) {
      cuda::multiplyAddColumns<T>(c, a, downThenRight<D>(b));
    } else {
      beginProducts();
#pragma unroll
      for (int k = 0; k < K; ++k)
#pragma unroll
        for (int panel = 0; panel < D / 64; ++panel)
          multiplyPanel<true, true>(c.template part<8>(panel), a.at[0][k],
                                    panelDescriptor(b + panel * 16 * K * 128 + k * 16 * 128), T());
      endProducts();
    }
  }
};

} // namespace seqpar::cuda
