//===- AttentionSourceTest.cpp - the kernels' text and what it compiles to ===//

#include "seqpar/Target/Cuda/AttentionSource.h"
#include "seqpar/Target/Cuda/Nvrtc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

using testing::HasSubstr;
using testing::Not;

namespace seqpar::cuda {
namespace {

constexpr AttentionKernel kKernels[] = {AttentionKernel::Forward, AttentionKernel::Delta,
                                        AttentionKernel::BackwardKeys,
                                        AttentionKernel::BackwardQueries};

size_t count(const std::string &text, const std::string &what) {
  size_t found = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
    ++found;
  return found;
}

TEST(AttentionSource, holdsEachKernelOnce) {
  const AttentionConfig configs[] = {{AttentionStorage::BF16, 64, false},
                                     {AttentionStorage::BF16, 64, true},
                                     {AttentionStorage::F32, 33, false},
                                     {AttentionStorage::BF16, 64, false}};
  std::string text = attentionSource(configs);
  EXPECT_EQ(text, attentionSource(configs));
  EXPECT_THAT(text, Not(HasSubstr("#include")));
  for (const AttentionConfig &config : configs)
    for (AttentionKernel kernel : kKernels)
      EXPECT_EQ(count(text, "\n" + attentionEntry(kernel, config) + "("), 1u)
          << attentionEntry(kernel, config);
  EXPECT_EQ(count(text, "extern \"C\" __global__"), 11u); // delta does not know dropout
}

TEST(AttentionSource, holdsWhatIsNeeded) {
  const AttentionConfig f32[] = {{AttentionStorage::F32, 64, false}};
  EXPECT_THAT(attentionSource(f32), Not(HasSubstr("struct Forward")));
  const AttentionConfig f16[] = {{AttentionStorage::F16, 64, false}};
  EXPECT_THAT(attentionSource(f16), Not(HasSubstr("struct Simt")));
}

TEST(AttentionSource, entriesAreAnExample) {
  const AttentionConfig configs[] = {{AttentionStorage::F16, 96, true}};
  EXPECT_THAT(attentionSource(configs),
              HasSubstr("extern \"C\" __global__ void __launch_bounds__(128)\n"
                        "seqpar_attention_forward_f16_96_dropout(const AttentionParameters p) {\n"
                        "  forward<Float16, 96, true>(p);\n"
                        "}\n"));
}

/// A multiprocessor's registers, and the shared memory that one block may have.
constexpr int kRegisters = 65536;
int sharedLimit(const std::string &architecture) {
  return (architecture == "sm_80" ? 163 : 227) * 1024;
}

TEST(AttentionSource, tilesFitEveryHeadDimension) {
  for (AttentionStorage storage :
       {AttentionStorage::F32, AttentionStorage::BF16, AttentionStorage::F16})
    for (int headDim = 1; headDim <= 256; ++headDim)
      for (bool dropout : {false, true})
        for (AttentionKernel kernel : kKernels)
          if (attentionSupports(storage, headDim)) {
            AttentionTiling tiling = attentionTiling(kernel, {storage, headDim, dropout});
            EXPECT_LE(tiling.sharedBytes, sharedLimit("sm_80")) << headDim;
            EXPECT_LE(tiling.threads(), 256) << headDim;
          }
}

/// Compiles the text, prints what each kernel takes, and fails when one is missing or spills.
void compile(const std::string &text, llvm::ArrayRef<llvm::StringRef> architectures,
             llvm::ArrayRef<AttentionKernel> kernels, const std::vector<AttentionConfig> &configs) {
  std::string reason;
  if (!hasNvrtc(reason))
    GTEST_SKIP() << reason;
  std::vector<CudaCode> codes = {{"attention", text, {}}};
  std::vector<KernelUsage> usages;
  std::string error;
  ASSERT_TRUE(compileImages(codes, architectures, error, &usages)) << error;
  std::map<std::pair<std::string, std::string>, KernelUsage> byName;
  for (const KernelUsage &usage : usages)
    byName[{usage.symbol, usage.architecture}] = usage;
  for (llvm::StringRef architecture : architectures)
    for (const AttentionConfig &config : configs)
      for (AttentionKernel kernel : kernels) {
        std::string name = attentionEntry(kernel, config);
        ASSERT_EQ(byName.count({name, architecture.str()}), 1u) << name;
        const KernelUsage &usage = byName[{name, architecture.str()}];
        AttentionTiling tiling = attentionTiling(kernel, config);
        printf("%s %s: %d registers, %d bytes of shared memory, %lld bytes spilled\n",
               architecture.str().c_str(), name.c_str(), usage.registers, tiling.sharedBytes,
               static_cast<long long>(usage.spillStores));
        EXPECT_EQ(usage.spillStores + usage.spillLoads, 0) << name << " " << architecture.str();
        EXPECT_GT(usage.registers, 0) << name;
        EXPECT_LE(usage.registers * tiling.threads(), kRegisters) << name;
        EXPECT_LE(usage.sharedBytes + tiling.sharedBytes, sharedLimit(architecture.str())) << name;
      }
}

void compile(AttentionStorage storage, std::vector<int> headDims, std::vector<bool> dropouts) {
  std::vector<AttentionConfig> configs;
  for (int headDim : headDims)
    for (bool dropout : dropouts)
      configs.push_back({storage, headDim, dropout});
  compile(attentionSource(configs), {"sm_80", "sm_90"}, kKernels, configs);
}

TEST(AttentionSource, warpgroupKernelsCompile) {
  const std::vector<AttentionConfig> configs = {{AttentionStorage::BF16, 64, false},
                                                {AttentionStorage::BF16, 64, true},
                                                {AttentionStorage::BF16, 128, false},
                                                {AttentionStorage::BF16, 128, true},
                                                {AttentionStorage::F16, 64, true}};
  const AttentionKernel kernels[] = {AttentionKernel::ForwardWarpgroup,
                                     AttentionKernel::BackwardKeysWarpgroup,
                                     AttentionKernel::BackwardQueriesWarpgroup};
  compile(attentionWarpgroupSource(configs), {"sm_90a"}, kernels, configs);
}
TEST(AttentionSource, compilesForBF16) {
  compile(AttentionStorage::BF16, {32, 64, 96, 128}, {false, true});
}
/// The same text but for two instructions.
TEST(AttentionSource, compilesForF16) { compile(AttentionStorage::F16, {32, 64, 96, 128}, {true}); }
TEST(AttentionSource, compilesForF32) {
  compile(AttentionStorage::F32, {64, 128}, {false, true});
  compile(AttentionStorage::F32, {40, 256}, {true});
}

} // namespace
} // namespace seqpar::cuda
