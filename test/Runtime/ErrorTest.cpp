#include "seqpar/rt/Error.h"

#include <gtest/gtest.h>

TEST(Error, CarriesTheFormattedMessage) {
  try {
    seqpar::rt::fail("{}: expected {} bytes, found {}", "a.idx", 34, 7);
    FAIL() << "fail() returned";
  } catch (const seqpar::rt::Error &error) {
    EXPECT_STREQ(error.what(), "a.idx: expected 34 bytes, found 7");
  }
}
