//===- DeviceMemoryTest.cpp - whether a program fits a GPU ----------------===//

#include "Memory.h"
#include "ToyModel.h"

#include "seqpar/rt/Error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seqpar::rt::test {

namespace {

std::string errorOf(const ProgramFile &file, std::vector<int> ranks, uint64_t available,
                    uint64_t overhead = 0) {
  try {
    checkDeviceMemory(file, ranks, available, overhead, "Test GPU (device 3)");
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

TEST(DeviceMemory, NamesThePlanAndWhatWouldFit) {
  ProgramFile file = ProgramFile::fromBytes(toyProgram(toyShape(2, 256, 1, 1, 64)), "toy");
  const program::Stage &stage = file.stage(0);
  uint64_t one = ProgramFile::memoryBytes(stage), both = 2 * one;
  uint64_t growing = 2 * (stage.arena_bytes() + stage.input_bytes());
  EXPECT_EQ(errorOf(file, {0, 1}, both), "");
  EXPECT_EQ(errorOf(file, {1}, one), "");
  EXPECT_EQ(errorOf(file, {0, 1}, both + 200, 100), "");
  EXPECT_NE(errorOf(file, {0, 1}, both + 199, 100), "");
  double mib = 1 << 20;
  EXPECT_EQ(errorOf(file, {0, 1}, both - growing / 2),
            fmt::format("not enough memory on Test GPU (device 3): by the plan the 2 ranks on it "
                        "need {:.1f} MiB, {:.1f} MiB are free; about 32 of the 64 samples of a "
                        "micro-batch would fit: compile with a smaller --micro-batch",
                        double(both) / mib, double(both - growing / 2) / mib));
  EXPECT_THAT(errorOf(file, {0}, 100), testing::HasSubstr("the 1 rank on it need"));
  EXPECT_THAT(errorOf(file, {0}, 100),
              testing::HasSubstr("not even one sample a micro-batch would fit: use more GPUs"));
}

} // namespace

} // namespace seqpar::rt::test
