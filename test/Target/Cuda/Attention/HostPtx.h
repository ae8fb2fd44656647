//===- HostPtx.h - the instructions of Ptx.cuh on the host ------*- C++ -*-===//
//
// Replaces Ptx.cuh where the attention kernels run on the host. Fragments are exchanged between
// lanes exactly as the PTX ISA lays them out. Asynchronous copies are as late as they may be, when
// their thread waits for them, or as early: so a wait or barrier that is missing shows up in one of
// the two. Rows of ldmatrix are checked: aligned, in shared memory, and without bank conflicts.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "../HostCuda.h"
#include "Types.cuh"

#include <deque>

namespace seqpar::cuda {

inline char *sharedMemory() { return reinterpret_cast<char *>(dynamicShared); }
/// Dynamic shared memory begins at a multiple of 1024.
inline Word sharedAddress(const void *shared) {
  return Word(static_cast<const char *>(shared) - sharedMemory());
}

namespace host {

/// When asynchronous copies and products happen: at once, or when they are waited for.
inline bool copiesAreEarly = false;

struct Copy {
  void *to;
  const void *from;
  int bytes;
  bool inside;
  void run() const {
    if (inside)
      std::memcpy(to, from, size_t(bytes));
    else
      std::memset(to, 0, size_t(bytes));
  }
};
struct Copies {
  std::deque<std::vector<Copy>> groups;
  std::vector<Copy> open; ///< not committed
  bool isFenced = true;   ///< what is copied is visible to asynchronous products
};
/// Of each thread of the block.
inline std::vector<Copies> copies(1024);

inline Copies &ownCopies() {
  return copies[size_t(hostcuda::current - hostcuda::block->fibers.data())];
}

/// Copies that no thread has waited for; a kernel must leave none.
inline size_t pendingCopies() {
  size_t count = 0;
  for (const Copies &each : copies) {
    count += each.open.size();
    for (const auto &group : each.groups)
      count += group.size();
  }
  return count;
}

inline void checkShared(const void *address, int bytes, const char *what) {
  const char *begin = sharedMemory(), *place = static_cast<const char *>(address);
  if (place < begin || place + bytes > begin + kHostCudaSharedBytes ||
      reinterpret_cast<uintptr_t>(place) % size_t(bytes) != 0)
    hostcuda::fail(std::string(what) + ": not an aligned address in shared memory");
}

inline void copyAsync(void *to, const void *from, int bytes, bool inside) {
  checkShared(to, bytes, "cp.async");
  if (reinterpret_cast<uintptr_t>(from) % size_t(bytes) != 0)
    hostcuda::fail("cp.async: the source is not aligned");
  Copy copy = {to, from, bytes, inside};
  if (copiesAreEarly)
    copy.run();
  else
    ownCopies().open.push_back(copy);
}

inline uint16_t half(Word word, int i) { return uint16_t(word >> 16 * i); }
inline float value(uint16_t bits, BFloat16) { return hostcuda::fromBfloatBits(bits); }
inline float value(uint16_t bits, Float16) { return hostcuda::fromHalfBits(bits); }

/// Eight rows of 16 bytes are read at a time: they must lie in different groups of four banks.
inline void checkBanks(const void *const *rows) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    unsigned groups = 0;
    for (int row = 0; row < 8; ++row) {
      checkShared(rows[8 * matrix + row], 16, "ldmatrix");
      groups |= 1u << reinterpret_cast<uintptr_t>(rows[8 * matrix + row]) / 16 % 8;
    }
    if (groups != 0xff)
      hostcuda::fail("ldmatrix: rows of a matrix share banks");
  }
}

inline void loadMatrices(Word (&r)[4], const void *row, bool transposed) {
  auto [rows, lanes] = hostcuda::gather(kAllLanes, row, transposed ? "ldmatrix.trans" : "ldmatrix");
  checkBanks(rows);
  int g = int(hostcuda::current->lane / 4), t = int(hostcuda::current->lane % 4);
  for (int matrix = 0; matrix < 4; ++matrix) {
    auto element = [&](int i, int j) { // of an 8x8 matrix
      uint16_t bits;
      std::memcpy(&bits, static_cast<const char *>(rows[8 * matrix + i]) + 2 * j, 2);
      return Word(bits);
    };
    r[matrix] = transposed ? element(2 * t, g) | element(2 * t + 1, g) << 16
                           : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
  }
}

struct Registers {
  Word word[4];
};
/// Elements of a lane, two of a register next to each other.
struct Fragments {
  float a[8], b[4];
};

template <typename T> void multiplyAdd(float (&c)[4], const Word (&a)[4], Word b0, Word b1) {
  Fragments own;
  for (int i = 0; i < 8; ++i)
    own.a[i] = value(half(a[i / 2], i % 2), T());
  for (int i = 0; i < 4; ++i)
    own.b[i] = value(half(i < 2 ? b0 : b1, i % 2), T());
  auto [all, lanes] = hostcuda::gather(kAllLanes, own, "mma");
  int g = int(hostcuda::current->lane / 4), t = int(hostcuda::current->lane % 4);
  for (int i = 0; i < 4; ++i) {
    int row = g + i / 2 * 8, column = 2 * t + i % 2;
    double sum = c[i];
    for (int k = 0; k < 16; ++k) {
      int lane = k % 8 / 2;
      sum += double(all[row % 8 * 4 + lane].a[(row / 8 + k / 8 * 2) * 2 + k % 2]) *
             double(all[column * 4 + lane].b[k / 8 * 2 + k % 2]);
    }
    c[i] = float(sum);
  }
}

} // namespace host

inline void copyAsync16(void *to, const void *from, bool inside) {
  host::copyAsync(to, from, 16, inside);
}
inline void copyAsync4(void *to, const void *from, bool inside) {
  host::copyAsync(to, from, 4, inside);
}
inline void copyAsyncCommit() {
  host::Copies &own = host::ownCopies();
  own.groups.push_back(std::move(own.open));
  own.open.clear();
}
template <int pending> void copyAsyncWait() {
  host::Copies &own = host::ownCopies();
  while (own.groups.size() > pending) {
    for (const host::Copy &copy : own.groups.front())
      copy.run();
    own.groups.pop_front();
    own.isFenced = false;
  }
}

inline void loadMatrices(Word (&r)[4], const void *row) { host::loadMatrices(r, row, false); }
inline void loadTransposedMatrices(Word (&r)[4], const void *row) {
  host::loadMatrices(r, row, true);
}

template <typename T> void multiplyAdd(float (&c)[4], const Word (&a)[4], Word b0, Word b1, T) {
  host::multiplyAdd<T>(c, a, b0, b1);
}

inline Word pack(float low, float high, BFloat16) {
  return Word(hostcuda::toBfloatBits(low)) | Word(hostcuda::toBfloatBits(high)) << 16;
}
inline Word pack(float low, float high, Float16) {
  return Word(hostcuda::toHalfBits(low)) | Word(hostcuda::toHalfBits(high)) << 16;
}
inline float toFloat(BFloat16 value) { return hostcuda::fromBfloatBits(value.bits); }
inline float toFloat(Float16 value) { return hostcuda::fromHalfBits(value.bits); }

inline float exp2Fast(float x) { return std::exp2(x); }

//===----------------------------------------------------------------------===//
// Products of warpgroups. A warp's part needs no other warp.
//===----------------------------------------------------------------------===//

namespace host {

/// One lane's part of a product that has begun.
struct PanelProduct {
  float (*c)[4];
  float a[2][16]; ///< rows g and g + 8
  unsigned long long b;
  bool byRows, add;
  float (*element)(uint16_t bits);

  /// Element (k, n) of b, found as the descriptor says: rows of 128 bytes, groups of eight of them,
  /// bits 4 to 6 of the address xored with bits 7 to 9.
  float right(int k, int n) const {
    unsigned start = unsigned(b & 0x3fff) << 4, group = unsigned(b >> 32 & 0x3fff) << 4;
    if (b >> 62 != 1)
      hostcuda::fail("wgmma: expected 128-byte swizzling");
    unsigned row = unsigned(byRows ? k : n), column = unsigned(byRows ? n : k);
    unsigned address = start + row / 8 * group + row % 8 * 128 + column * 2;
    address ^= (address >> 7 & 7) << 4;
    checkShared(sharedMemory() + address, 2, "wgmma");
    uint16_t bits;
    std::memcpy(&bits, sharedMemory() + address, 2);
    return element(bits);
  }

  void run() const {
    int t = int(hostcuda::current->lane % 4);
    for (int j = 0; j < 8; ++j)
      for (int e = 0; e < 2; ++e) {
        double sums[2] = {add ? c[j][e] : 0.0f, add ? c[j][2 + e] : 0.0f};
        for (int k = 0; k < 16; ++k) {
          double other = double(right(k, 8 * j + 2 * t + e));
          for (int r = 0; r < 2; ++r)
            sums[r] += double(a[r][k]) * other;
        }
        for (int r = 0; r < 2; ++r)
          c[j][2 * r + e] = float(sums[r]);
      }
  }
};
/// Of each thread of the block.
inline std::vector<std::vector<PanelProduct>> products(1024);

/// Forgets what a launch that failed has left.
inline void reset() {
  copies.assign(copies.size(), {});
  products.assign(products.size(), {});
}

template <typename T> float widen(uint16_t bits) { return value(bits, T()); }

} // namespace host

inline void fenceCopies() { host::ownCopies().isFenced = true; }
inline void beginProducts() {
  for (size_t i = 0; i < hostcuda::block->fibers.size(); ++i)
    if (!host::copies[i].isFenced)
      hostcuda::fail("wgmma: copies to shared memory are not fenced");
}
inline void endProducts() {
  auto &own = host::products[size_t(hostcuda::current - hostcuda::block->fibers.data())];
  for (const host::PanelProduct &each : own)
    each.run();
  own.clear();
}

template <bool byRows, bool add, typename T>
void multiplyPanel(float (&c)[8][4], const Word (&a)[4], unsigned long long b, T) {
  auto [all, lanes] =
      hostcuda::gather(kAllLanes, host::Registers{{a[0], a[1], a[2], a[3]}}, "wgmma");
  host::PanelProduct product = {c, {}, b, byRows, add, host::widen<T>};
  for (int r = 0; r < 2; ++r)
    for (int k = 0; k < 16; ++k) {
      Word word = all[hostcuda::current->lane / 4 * 4 + unsigned(k % 8 / 2)].word[r + k / 8 * 2];
      product.a[r][k] = host::value(host::half(word, k % 2), T());
    }
  if (host::copiesAreEarly)
    product.run();
  else
    host::products[size_t(hostcuda::current - hostcuda::block->fibers.data())].push_back(product);
}

} // namespace seqpar::cuda
