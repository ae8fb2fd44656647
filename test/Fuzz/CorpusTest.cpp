// Runs every kept input through its fuzz target once, without libFuzzer.

#include "Targets.h"
#include "TestPaths.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>

namespace {

class FuzzCorpusTest : public testing::TestWithParam<seqpar::test::FuzzTarget> {};

TEST_P(FuzzCorpusTest, EveryInput) {
  int inputs = 0;
  auto folder = std::filesystem::path(SEQPAR_TEST_DIR) / "Fuzz" / "corpus" / GetParam().name;
  for (const auto &entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), {}};
    SCOPED_TRACE(entry.path().filename().string());
    EXPECT_NO_THROW(GetParam().run(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()));
    ++inputs;
  }
  EXPECT_GE(inputs, 4);
}

INSTANTIATE_TEST_SUITE_P(Targets, FuzzCorpusTest, testing::ValuesIn(seqpar::test::fuzzTargets),
                         [](const auto &info) { return info.param.name; });

} // namespace
