//===- PhiloxTest.cpp - random numbers by coordinates ---------------------===//

#include "seqpar/rt/Philox.h"

#include <gtest/gtest.h>

namespace seqpar::rt::test {
namespace {

void expectWords(PhiloxBlock found, PhiloxBlock expected) {
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(found.word[i], expected.word[i]) << "word " << i;
}

/// The known answers published with the generator.
TEST(Philox, KnownAnswers) {
  expectWords(philox({{0, 0, 0, 0}}, {{0, 0}}), {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  constexpr uint32_t ones = 0xffffffff;
  expectWords(philox({{ones, ones, ones, ones}}, {{ones, ones}}),
              {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  expectWords(
      philox({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, {{0xa4093822, 0x299f31d0}}),
      {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST(Philox, EveryCoordinateMatters) {
  uint32_t base = dropoutWord(1, 2, 3, 4, 5, 6, 7);
  EXPECT_NE(base, dropoutWord(2, 2, 3, 4, 5, 6, 7));
  EXPECT_NE(base, dropoutWord(1, 3, 3, 4, 5, 6, 7));
  EXPECT_NE(base, dropoutWord(1, 2, 4, 4, 5, 6, 7));
  EXPECT_NE(base, dropoutWord(1, 2, 3, 5, 5, 6, 7));
  EXPECT_NE(base, dropoutWord(1, 2, 3, 4, 6, 6, 7));
  EXPECT_NE(base, dropoutWord(1, 2, 3, 4, 5, 7, 7));
  EXPECT_NE(base, dropoutWord(1, 2, 3, 4, 5, 6, 8));
  EXPECT_NE(base, dropoutWord(1, 2, 3, 4, 5, 6, 11));
}

} // namespace
} // namespace seqpar::rt::test
