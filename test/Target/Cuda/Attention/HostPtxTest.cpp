//===- HostPtxTest.cpp - the host's fragments against plain products ------===//

#include "HostPtx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

using testing::HasSubstr;
using testing::ThrowsMessage;

namespace seqpar::cuda {
namespace {

/// a [16, 16], b [16, 8], c [16, 8], row-major, by the layouts in the PTX ISA (written out element
/// by element from its figures; not by way of HostPtx.h).
template <typename T> void productOfOneWarp(const uint16_t *a, const uint16_t *b, float *c) {
  unsigned lane = threadIdx.x, group = lane >> 2, inGroup = lane % 4;
  auto word = [](uint16_t low, uint16_t high) { return Word(low) | Word(high) << 16; };
  Word left[4], right[2];
  for (unsigned i = 0; i < 8; i += 2) { // elements a_i, a_i+1 of the figure
    unsigned row = (i < 2 || (i >= 4 && i < 6)) ? group : group + 8;
    unsigned column = inGroup * 2 + (i >= 4 ? 8 : 0);
    left[i / 2] = word(a[row * 16 + column], a[row * 16 + column + 1]);
  }
  for (unsigned i = 0; i < 4; i += 2) {
    unsigned row = inGroup * 2 + (i >= 2 ? 8 : 0);
    right[i / 2] = word(b[row * 8 + group], b[(row + 1) * 8 + group]);
  }
  float sums[4];
  for (unsigned i = 0; i < 4; ++i)
    sums[i] = c[(i < 2 ? group : group + 8) * 8 + inGroup * 2 + (i & 1)];
  multiplyAdd(sums, left, right[0], right[1], T());
  for (unsigned i = 0; i < 4; ++i)
    c[(i < 2 ? group : group + 8) * 8 + inGroup * 2 + (i & 1)] = sums[i];
}

template <typename T> void checkProduct() {
  std::mt19937 generator(1);
  std::vector<uint16_t> a(16 * 16), b(16 * 8);
  std::vector<float> c(16 * 8), expected;
  for (auto *matrix : {&a, &b})
    for (uint16_t &each : *matrix) // small whole numbers: every sum is exact
      each = uint16_t(pack(float(int(generator() % 17) - 8), 0, T()));
  for (float &each : c)
    each = float(generator() % 100);
  expected = c;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j)
      for (int k = 0; k < 16; ++k)
        expected[i * 8 + j] += toFloat(T{a[i * 16 + k]}) * toFloat(T{b[k * 8 + j]});
  hostcuda::launch(productOfOneWarp<T>, {1}, {32}, 0, a.data(), b.data(), c.data());
  EXPECT_EQ(c, expected);
}

TEST(HostPtx, multiplyAddIsAProduct) {
  checkProduct<BFloat16>();
  checkProduct<Float16>();
}

/// Four matrices in shared memory, element (i, j) of matrix m is 100 * m + 10 * i + j; each lane
/// stores what it gets.
void loadsOfOneWarp(Word *out, bool transposed) {
  unsigned lane = threadIdx.x;
  auto *elements = reinterpret_cast<uint16_t *>(sharedMemory());
  for (unsigned j = 0; j < 8; ++j)
    elements[lane * 8 + j] = uint16_t(100 * (lane / 8) + 10 * (lane % 8) + j);
  __syncthreads();
  Word r[4];
  if (transposed)
    loadTransposedMatrices(r, elements + lane * 8);
  else
    loadMatrices(r, elements + lane * 8);
  for (int m = 0; m < 4; ++m)
    out[lane * 4 + m] = r[m];
}

TEST(HostPtx, loadMatricesGivesRowsAndColumns) {
  for (bool transposed : {false, true}) {
    std::vector<Word> out(32 * 4);
    hostcuda::launch(loadsOfOneWarp, {1}, {32}, 512, out.data(), transposed);
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned m = 0; m < 4; ++m)
        for (unsigned e = 0; e < 2; ++e) {
          unsigned i = lane / 4, j = lane % 4 * 2 + e;
          EXPECT_EQ(out[lane * 4 + m] >> 16 * e & 0xffff,
                    100 * m + (transposed ? 10 * j + i : 10 * i + j))
              << "lane " << lane << " matrix " << m << " transposed " << transposed;
        }
  }
}

void loadsOfOneColumn(int stride) {
  Word r[4];
  loadMatrices(r, sharedMemory() + threadIdx.x * unsigned(stride));
}

TEST(HostPtx, bankConflictsAreFound) {
  hostcuda::launch(loadsOfOneColumn, {1}, {32}, 32 * 144, 144);
  EXPECT_THAT([] { hostcuda::launch(loadsOfOneColumn, {1}, {32}, 32 * 128, 128); },
              ThrowsMessage<std::runtime_error>(HasSubstr("share banks")));
  EXPECT_THAT([] { hostcuda::launch(loadsOfOneColumn, {1}, {32}, 32 * 72, 72); },
              ThrowsMessage<std::runtime_error>(HasSubstr("not an aligned address")));
}

/// a [64, 16], c [64, 64], b [64, 16] or, byRows, [16, 64]: b goes into a panel, at rows
/// `firstRow`... and, unless byRows, columns 16..., swizzled in pieces of 16 bytes.
template <bool byRows>
void productOfOneWarpgroup(const uint16_t *a, const uint16_t *b, float *c, unsigned firstRow) {
  unsigned thread = threadIdx.x, lane = thread % 32, group = lane / 4, inGroup = lane % 4;
  for (unsigned i = thread; i < 64 * 16; i += 128) {
    unsigned row = byRows ? i / 64 : i / 16, column = byRows ? i % 64 : 16 + i % 16;
    unsigned inPanel = firstRow + row, piece = column / 8 ^ inPanel % 8;
    std::memcpy(sharedMemory() + inPanel * 128 + piece * 16 + column % 8 * 2, b + i, 2);
  }
  __syncthreads();
  Word left[4];
  for (unsigned i = 0; i < 4; ++i) {
    unsigned row = thread / 32 * 16 + group + i % 2 * 8, column = inGroup * 2 + i / 2 * 8;
    left[i] = Word(a[row * 16 + column]) | Word(a[row * 16 + column + 1]) << 16;
  }
  float sums[8][4];
  unsigned long long start = (firstRow * 128 + (byRows ? 0 : 32)) >> 4;
  beginProducts();
  multiplyPanel<byRows, false>(sums, left, start | 64ull << 32 | 1ull << 62, BFloat16());
  multiplyPanel<byRows, true>(sums, left, start | 64ull << 32 | 1ull << 62, BFloat16());
  endProducts();
  for (unsigned j = 0; j < 8; ++j)
    for (unsigned i = 0; i < 4; ++i)
      c[(thread / 32 * 16 + group + i / 2 * 8) * 64 + 8 * j + 2 * inGroup + i % 2] = sums[j][i];
}

TEST(HostPtx, panelProductsAreProducts) {
  std::mt19937 generator(2);
  std::vector<uint16_t> a(64 * 16), b(64 * 16);
  for (auto *matrix : {&a, &b})
    for (uint16_t &each : *matrix)
      each = uint16_t(pack(float(int(generator() % 17) - 8), 0, BFloat16()));
  for (bool byRows : {false, true}) {
    std::vector<float> c(64 * 64, NAN), expected(64 * 64);
    for (int i = 0; i < 64; ++i)
      for (int j = 0; j < 64; ++j)
        for (int k = 0; k < 16; ++k)
          expected[i * 64 + j] += 2 * toFloat(BFloat16{a[i * 16 + k]}) *
                                  toFloat(BFloat16{b[byRows ? k * 64 + j : j * 16 + k]});
    hostcuda::launch(byRows ? productOfOneWarpgroup<true> : productOfOneWarpgroup<false>, {1},
                     {128}, 128 * 128, a.data(), b.data(), c.data(), 16u);
    EXPECT_EQ(c, expected);
  }
}

/// What a thread sees before and after it waits for its copies.
void copies(const float *from, float *seen) {
  float *to = reinterpret_cast<float *>(sharedMemory());
  copyAsync16(to, from, true);
  copyAsyncCommit();
  copyAsync16(to + 4, from + 4, false);
  copyAsyncCommit();
  seen[0] = to[0];
  copyAsyncWait<1>();
  seen[1] = to[0];
  seen[2] = to[4];
  copyAsyncWait<0>();
  seen[3] = to[4];
}

TEST(HostPtx, copiesAreLateOrEarly) {
  alignas(16) float from[8] = {5, 5, 5, 5, 6, 6, 6, 6}, seen[4];
  host::copiesAreEarly = true;
  hostcuda::launch(copies, {1}, {1}, 32, from, seen);
  EXPECT_THAT(seen, testing::ElementsAre(5, 5, 0, 0));
  host::copiesAreEarly = false;
  hostcuda::launch(copies, {1}, {1}, 32, from, seen);
  EXPECT_TRUE(std::isnan(seen[0]));
  EXPECT_EQ(seen[1], 5);
  EXPECT_TRUE(std::isnan(seen[2]));
  EXPECT_EQ(seen[3], 0);
  EXPECT_EQ(host::pendingCopies(), 0u);
}

} // namespace
} // namespace seqpar::cuda
