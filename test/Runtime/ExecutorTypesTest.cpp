//===- ExecutorTypesTest.cpp - operands of 16 bits ------------------------===//

#include "ExecutorRun.h"
#include "ProgramBuilder.h"
#include "RandomBatch.h"
#include "seqpar/rt/Float16.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace seqpar::rt::test {

namespace {

using namespace program;
using testing::Each;

uint16_t narrow(DataType type, float value) {
  return type == DataType::BF16 ? toBf16(value) : toF16(value);
}
float widen(DataType type, uint16_t bits) {
  return type == DataType::BF16 ? fromBf16(bits) : fromF16(bits);
}

/// Each rank's row of three numbers of 16 bits is gathered, then multiplied by its transpose.
class GatheredSquare {
public:
  static constexpr int kSp = 3, kColumns = 3;

  explicit GatheredSquare(DataType type) : type(type), narrowed(kSp), products(kSp) {}

  std::vector<uint8_t> program() const {
    ProgramBuilder p({.sp = kSp, .length = kSp, .chunk = 1});
    int make = p.kernel(
        "make", {{Access::RowScalar, 1, DataType::I32}, {Access::Row, kColumns, type, -1, true}});
    int see = p.kernel(
        "see",
        {{Access::RowScalar, 1, DataType::I32}, {Access::Row, kSp, type}, {Access::Row, kSp}});
    Operand position = p.use(p.input(InputKind::Positions)),
            own = p.use(p.buffer(Segment::Arena, {1, kColumns}, type)),
            all = p.use(p.buffer(Segment::Arena, {kSp, kColumns}, type)),
            narrow = p.use(p.buffer(Segment::Arena, {kSp, kSp}, type)),
            wide = p.use(p.buffer(Segment::Arena, {kSp, kSp}));
    auto square = [&](const Operand &to) {
      return p.op(CreateGemm(p.bytes, &all, &all, &to, kSp, kSp, kColumns, false, true, kColumns,
                             kColumns, kSp));
    };
    return p.finish({p.launch(make, {position, own}, 1),
                     p.op(CreateAllGather(p.bytes, &own, &all, 1, kColumns, type, 4)),
                     square(narrow), square(wide), p.launch(see, {position, narrow, wide}, 1)},
                    {});
  }

  TestKernels kernels() {
    return {{"make",
             [this](void *const *operands, int64_t) {
               int rank = *static_cast<const int32_t *>(operands[0]);
               for (int j = 0; j < kColumns; ++j)
                 static_cast<uint16_t *>(operands[1])[j] = narrow(type, value(rank, j));
             }},
            {"see", [this](void *const *operands, int64_t) {
               auto rank = static_cast<size_t>(*static_cast<const int32_t *>(operands[0]));
               auto *halves = static_cast<const uint16_t *>(operands[1]);
               auto *floats = static_cast<const float *>(operands[2]);
               for (int i = 0; i < kSp * kSp; ++i) {
                 narrowed[rank].push_back(widen(type, halves[i]));
                 products[rank].push_back(floats[i]);
               }
             }}};
  }

  /// Exact in both types; their products are not.
  static float value(int rank, int column) {
    return 1 + static_cast<float>(10 * rank + column) / 64;
  }

  DataType type;
  std::vector<std::vector<float>> narrowed, products; ///< by rank
};

TEST(ExecutorTypes, NumbersOf16BitsAreGatheredAndMultiplied) {
  for (DataType type : {DataType::BF16, DataType::F16}) {
    GatheredSquare square(type);
    ProgramFile file = ProgramFile::fromBytes(square.program(), "square");
    auto errors =
        runProgram(file, square.kernels(), [&](Executor &executor, TestDevice &, Communicator &) {
          executor.step({}, randomBatch(1, GatheredSquare::kSp, 1));
        });
    EXPECT_THAT(errors, Each(""));
    std::vector<float> exact, rounded;
    for (int i = 0; i < GatheredSquare::kSp; ++i)
      for (int j = 0; j < GatheredSquare::kSp; ++j) {
        float sum = 0;
        for (int l = 0; l < GatheredSquare::kColumns; ++l)
          sum += GatheredSquare::value(i, l) * GatheredSquare::value(j, l);
        exact.push_back(sum);
        rounded.push_back(widen(type, narrow(type, sum)));
      }
    EXPECT_NE(exact, rounded);
    EXPECT_THAT(square.products, Each(exact));
    EXPECT_THAT(square.narrowed, Each(rounded));
  }
}

} // namespace

} // namespace seqpar::rt::test
