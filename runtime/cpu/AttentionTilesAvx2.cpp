//===- AttentionTilesAvx2.cpp - compiled for AVX2 ---------------===//

#include <cstdint>

namespace {
constexpr int kWidth = 8;
}

#include "AttentionTilesImpl.h"

const seqpar::rt::AttentionTiles seqpar::rt::kAttentionTilesAvx2 = {"AVX2",   forward, finish,
                                                                    backward, rowDots, product};
