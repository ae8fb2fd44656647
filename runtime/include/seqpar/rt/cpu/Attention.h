//===- Attention.h - attention blocks on the CPU ----------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Device.h"
#include "seqpar/rt/cpu/AttentionTiles.h"
#include "seqpar/rt/cpu/Gemm.h"
#include "seqpar/rt/cpu/Scratch.h"
#include "seqpar/rt/cpu/ThreadPool.h"

#include <cstdint>
#include <vector>

namespace seqpar::rt {

/// Runs attention blocks tile by tile: small products by AttentionTiles, like all that is no
/// product, larger ones by gemmInThread.
/// The result does not depend on the number of threads. Tensors of 16 bits are widened first, and
/// such a result is rounded last. Owns the scratch memory, which grows to the largest block seen.
class CpuAttention {
public:
  CpuAttention(ThreadPool &pool, const AttentionTiles &tiles);

  /// See Device. Throw Error on shapes outside the interface.
  void forward(const AttentionForwardArgs &args);
  void backward(const AttentionBackwardArgs &args);

private:
  struct Span {
    int64_t begin, size;
  };
  /// One tile of keys of one sample: keys past the last one that counts are left out.
  struct KeyTile {
    int64_t used;        ///< 0: no key counts
    const int32_t *keep; ///< see AttentionTiles.h
  };
  struct Work;
  struct Forward;
  struct Backward;

  void multiply(const FloatProduct &product);
  void prepareMask(const AttentionShape &shape, const int32_t *mask);
  const KeyTile &keyTile(int64_t sample, int64_t tile) const {
    return keyTileTable[sample * keyTiles + tile];
  }
  void forwardQueryTile(const Forward &args, int64_t item, int thread);
  void prepareBackward(const Backward &args, int64_t item);
  void backwardKeyTile(const Backward &args, int64_t item, bool withDq, int thread);
  void backwardQueryTile(const Backward &args, int64_t item, int thread);
  BackwardTile backwardScores(const Backward &args, const Work &work, int thread);
  void addDq(const Backward &args, const Work &work, const BackwardTile &tile);

  ThreadPool &pool;
  const AttentionTiles &tiles;
  int64_t keyTiles = 0;
  std::vector<int32_t> keep;         // [batch, keyTiles * keys of a tile]
  std::vector<KeyTile> keyTileTable; // [batch, keyTiles]
  std::vector<Scratch> scratch;      // one per thread
  Scratch operands[5];               // of 16 bits, widened
};

} // namespace seqpar::rt
