//===- DeviceAttention16Conformance.cpp - attention in 16 bits ------------===//
//
// Head dimensions are multiples of 8 up to 128, which is what CUDA has kernels for.
//
//===----------------------------------------------------------------------===//

#include "DeviceAttention.h"

#include "seqpar/rt/Error.h"

namespace seqpar::rt::test {
namespace {

/// Operands are exact in the type. What a device may round besides the result is what Attention16
/// tests of the CUDA kernels allow: probabilities and their gradients.
void expectClose16(const AttentionGradients &found, const AttentionReference &expected,
                   FloatType type) {
  double tolerance = 4 * halfUnit(type, 0.5);
  EXPECT_LT(relativeDifference(found.lse, expected.lse), 1e-5);
  for (auto part : {&AttentionGradients::out, &AttentionGradients::delta, &AttentionGradients::dq,
                    &AttentionGradients::dk, &AttentionGradients::dv}) {
    auto of = part == &AttentionGradients::out     ? &AttentionReference::out
              : part == &AttentionGradients::delta ? &AttentionReference::delta
              : part == &AttentionGradients::dq    ? &AttentionReference::dq
              : part == &AttentionGradients::dk    ? &AttentionReference::dk
                                                   : &AttentionReference::dv;
    EXPECT_LT(relativeDifference(found.*part, expected.*of), tolerance);
  }
}

TEST_P(DeviceConformance, AttentionOf16Bits) {
  const int64_t shapes[][5] = {{2, 3, 8, 5, 9}, {2, 2, 64, 150, 300}, {1, 2, 128, 131, 70}};
  for (auto [batch, heads, headDim, queries, keys] : shapes)
    for (FloatType type : {FloatType::BF16, FloatType::F16})
      for (FloatType outType : {type, FloatType::F32}) {
        SCOPED_TRACE(testing::Message() << heads << " heads of " << headDim << ", types "
                                        << int(type) << int(outType));
        AttentionProblem problem(batch, heads, headDim, queries, keys);
        problem.setType(type, outType);
        problem.randomMask(0.8);
        expectClose16(runAttention(*device, problem, {keys}), attentionReference(problem), type);
      }
}

TEST_P(DeviceConformance, AttentionOf16BitsInBlocks) {
  for (FloatType type : {FloatType::BF16, FloatType::F16}) {
    AttentionProblem problem(2, 2, 24, 70, 290);
    problem.setType(type, FloatType::F32);
    problem.randomMask(0.7);
    problem.dropout = {0.3f, 7, 11, 5, nullptr, 1000, 2001};
    AttentionReference expected = attentionReference(problem);
    expectClose16(runAttention(*device, problem, {290}), expected, type);
    expectClose16(runAttention(*device, problem, {40, 129, 121}, {1, 2, 0}), expected, type);
  }
}

TEST_P(DeviceConformance, AttentionNeedsAnAccumulatorOfFp32) {
  AttentionProblem problem(1, 1, 8, 4, 16);
  problem.setType(FloatType::BF16, FloatType::BF16);
  try {
    runAttention(*device, problem, {8, 8});
    FAIL() << "a bf16 accumulator was accepted";
  } catch (const Error &error) {
    EXPECT_NE(std::string(error.what()).find("needs an accumulator of fp32"), std::string::npos)
        << error.what();
  }
}

} // namespace
} // namespace seqpar::rt::test
