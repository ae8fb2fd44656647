//===- AttentionTilesAvx512.cpp - compiled for AVX-512 ---------------===//

#include <cstdint>

namespace {
constexpr int kWidth = 16;
}

#include "AttentionTilesImpl.h"

const seqpar::rt::AttentionTiles seqpar::rt::kAttentionTilesAvx512 = {"AVX-512", forward, finish,
                                                                      backward,  rowDots, product};
