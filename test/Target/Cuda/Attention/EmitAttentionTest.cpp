//===- EmitAttentionTest.cpp - attention kernels of a plan ----------------===//

#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Dialect/SP/SP.h"
#include "seqpar/Target/Cuda/EmitCuda.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

namespace seqpar::cuda {
namespace {

/// Forward of one block, its state in fp32.
std::string attention(const std::string &type, int width, const std::string &dropout = "0.0") {
  std::string w = std::to_string(width), rows = "memref<1x4x" + w + "x";
  std::string q = rows + type + ">", out = rows + "f32>", statistic = "memref<1x2x4xf32>",
              mask = "memref<1x4xi32>";
  return "{\n  %q = plan.buffer {value = \"q\"} : " + q +
         "\n  %k = plan.buffer {value = \"k\"} : " + q +
         "\n  %o = plan.buffer {value = \"o\"} : " + out +
         "\n  %s = plan.buffer {value = \"s\"} : " + statistic +
         "\n  %m = plan.buffer {value = \"m\"} : " + mask +
         "\n  sp.attention_block own initialize finish heads(2) (%q, %k, %k, %m : " + q + ", " + q +
         ", " + q + ", " + mask + ") outs(%o, %s, %s : " + out + ", " + statistic + ", " +
         statistic + ") {dropout = " + dropout + " : f32}\n}\n";
}

class EmitAttention : public testing::Test {
protected:
  EmitAttention() { context.loadDialect<plan::PlanDialect, sp::SPDialect>(); }

  /// Each block in a module of its own.
  void parse(std::initializer_list<std::string> blocks) {
    std::string text;
    for (const std::string &block : blocks)
      text += "module " + block;
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    ASSERT_TRUE(module) << text;
  }
  std::string errorOfCollecting() {
    if (!module)
      return "no module";
    std::string error;
    mlir::ScopedDiagnosticHandler handler(
        &context, [&](mlir::Diagnostic &diagnostic) { error += diagnostic.str(); });
    EXPECT_TRUE(failed(collectAttention(*module)));
    return error;
  }
  /// NAME: ARCHITECTURE...
  std::vector<std::string> emit(llvm::ArrayRef<llvm::StringRef> architectures) {
    if (!module)
      return {};
    table = KernelTable();
    EXPECT_TRUE(succeeded(emitCuda(*module, table, architectures)));
    std::vector<std::string> result;
    for (const CudaCode &code : table.cuda) {
      result.push_back(code.name + ":");
      for (const CudaImage &image : code.images)
        result.back() += " " + image.architecture;
    }
    return result;
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  KernelTable table;
};

TEST_F(EmitAttention, takesTheTypeOfTheQueries) {
  parse({attention("f32", 128), attention("bf16", 128), attention("f16", 128, "0.1"),
         attention("bf16", 128), attention("bf16", 192)});
  ASSERT_TRUE(module);
  auto configs = collectAttention(*module);
  ASSERT_TRUE(succeeded(configs));
  EXPECT_THAT(*configs, ElementsAre(AttentionConfig{AttentionStorage::F32, 64, false},
                                    AttentionConfig{AttentionStorage::BF16, 64, false},
                                    AttentionConfig{AttentionStorage::F16, 64, true},
                                    AttentionConfig{AttentionStorage::BF16, 96, false}));
}

TEST_F(EmitAttention, refusesWhatHasNoKernels) {
  parse({attention("bf16", 24)});
  EXPECT_THAT(errorOfCollecting(), HasSubstr("has heads of 12 elements of 'bf16'"));
  parse({attention("f16", 320)});
  EXPECT_THAT(errorOfCollecting(), HasSubstr("of 16-bit types multiples of 8 up to 128"));
}

TEST_F(EmitAttention, warpgroupsHaveAGroupForOneProcessor) {
  std::string reason;
  if (!hasNvrtc(reason))
    GTEST_SKIP() << reason;
  parse({attention("bf16", 128), attention("bf16", 192), attention("f32", 128)});
  EXPECT_THAT(emit({"sm_80", "sm_90", "compute_90"}),
              ElementsAre("rows: sm_80 sm_90 compute_90", "attention: sm_80 sm_90 compute_90",
                          "attention_warpgroup: sm_90a"));
  EXPECT_THAT(table.cuda[1].source, HasSubstr("\nseqpar_attention_forward_bf16_64("));
  EXPECT_THAT(table.cuda[2].source, HasSubstr("\nseqpar_attention_forward_warpgroup_bf16_64("));
  EXPECT_THAT(table.cuda[2].source, Not(HasSubstr("bf16_96(")));
  EXPECT_THAT(table.cuda[2].source, Not(HasSubstr("f32_64(")));
}

TEST_F(EmitAttention, warpgroupsAreForWhoAsksForTheirProcessor) {
  std::string reason;
  if (!hasNvrtc(reason))
    GTEST_SKIP() << reason;
  parse({attention("f16", 128)});
  EXPECT_THAT(emit({"sm_80"}), ElementsAre("rows: sm_80", "attention: sm_80"));
  parse({attention("f16", 64)}); // heads of 32
  EXPECT_THAT(emit({"sm_90"}), ElementsAre("rows: sm_90", "attention: sm_90"));
}

} // namespace
} // namespace seqpar::cuda
