//===- CudaCodeTest.cpp - CUDA code of a program is checked on load -------===//
#include "ProgramBuilder.h"

#include "seqpar/rt/Error.h"
#include "seqpar/rt/ProgramFile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

using namespace seqpar::program;
using namespace seqpar::rt;
using namespace seqpar::rt::test;
using testing::HasSubstr;

namespace {

using seqpar::rt::test::ProgramBuilder;

std::string errorWith(const std::function<void(ProgramBuilder &)> &add) {
  ProgramBuilder builder(ProgramShape{});
  add(builder);
  try {
    ProgramFile::fromBytes(builder.finish({}, {}), "test");
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

struct Launch {
  const char *symbol = "k_main";
  int threads = 256, rowsPerBlock = 1, blocks = 512, blocksY = 1, sharedBytes = 0;
};

std::string errorOfLaunches(const std::vector<Launch> &launches, uint64_t partBytes = 16,
                            uint64_t rowBytes = 16) {
  return errorWith([&](ProgramBuilder &p) {
    std::vector<flatbuffers::Offset<CudaLaunch>> tables;
    for (const Launch &l : launches)
      tables.push_back(CreateCudaLaunchDirect(p.bytes, l.symbol, l.threads, l.rowsPerBlock,
                                              l.blocks, l.blocksY, l.sharedBytes));
    p.kernel("k", {{Access::Row, 4}},
             CreateCudaRowKernelDirect(p.bytes, &tables, partBytes, rowBytes));
  });
}

std::string errorOfImage(const char *architecture, const std::string &image) {
  return errorWith([&](ProgramBuilder &p) {
    std::vector<uint8_t> bytes(image.begin(), image.end());
    std::vector<flatbuffers::Offset<CudaImage>> images = {
        CreateCudaImageDirect(p.bytes, architecture, &bytes)};
    p.cuda.push_back(CreateCudaCodeDirect(p.bytes, "rows", "__global__ ...", &images));
  });
}

TEST(CudaCode, Launches) {
  EXPECT_EQ(errorOfLaunches({{}, {"k_sums", 256, 0, 32, 3}}), "");
  EXPECT_THAT(errorOfLaunches({}), HasSubstr("kernel 0: cuda: expected at least one launch"));
  EXPECT_THAT(errorOfLaunches({{""}}), HasSubstr("its symbol is empty"));
  EXPECT_THAT(errorOfLaunches({{}, {}}), HasSubstr("another kernel has the same symbol"));
  EXPECT_THAT(errorOfLaunches({{"k", 1025}}), HasSubstr("threads is 1025, expected 1 to 1024"));
  EXPECT_THAT(errorOfLaunches({{"k", 32, -1}}), HasSubstr("rows_per_block is -1"));
  EXPECT_THAT(errorOfLaunches({{"k", 32, 1, 0}}), HasSubstr("blocks is 0"));
  EXPECT_THAT(errorOfLaunches({{"k", 32, 1, 1, 65536}}), HasSubstr("blocks_y is 65536"));
  EXPECT_THAT(errorOfLaunches({{"k", 32, 1, 1, 1, 1 << 20}}), HasSubstr("shared_bytes"));
  EXPECT_THAT(errorOfLaunches({{}}, uint64_t(1) << 40), HasSubstr("a workspace of"));
  EXPECT_THAT(errorOfLaunches({{}}, 0, uint64_t(1) << 40), HasSubstr("a workspace of"));
}

TEST(CudaCode, Images) {
  const std::string ptx = ".version 9.0\n.target sm_90\n";
  EXPECT_EQ(errorOfImage("sm_90", "\177ELF..."), "");
  EXPECT_EQ(errorOfImage("sm_100a", "\177ELF..."), "");
  EXPECT_EQ(errorOfImage("compute_90", ptx), "");
  EXPECT_THAT(errorOfImage("sm_90", ptx), HasSubstr("cuda code 0: the image for sm_90 is no ELF"));
  EXPECT_THAT(errorOfImage("compute_90", "\177ELF..."), HasSubstr("is no PTX"));
  EXPECT_THAT(errorOfImage("compute_90", ptx + '\0'), HasSubstr("is no PTX"));
  for (const char *name : {"", "sm_", "sm_9x", "sm_9", "volta", "90"})
    EXPECT_THAT(errorOfImage(name, "\177ELF..."), HasSubstr("expected an architecture")) << name;
}

} // namespace
