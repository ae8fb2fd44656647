#include "seqpar/rt/ProgramFile.h"
#include "ToyModel.h"
#include "seqpar/rt/Error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

namespace seqpar::rt::test {

namespace {

using namespace program;
using testing::AllOf;
using testing::HasSubstr;

std::string errorOf(const std::vector<uint8_t> &bytes) {
  try {
    ProgramFile::fromBytes(bytes, "some.program");
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

/// Message for a program of one instruction that `make` adds.
std::string errorOfOp(const std::function<ProgramBuilder::Op(ProgramBuilder &)> &make,
                      const ProgramShape &shape = toyShape(2, 8)) {
  ProgramBuilder builder(shape);
  auto op = make(builder);
  return errorOf(builder.finish({op}, {}));
}

TEST(ProgramFile, LoadsAWholeProgram) {
  ProgramFile file = ProgramFile::fromBytes(toyProgram(toyShape(4, 10)), "toy.program");
  EXPECT_EQ(file.grid().sp, 4);
  EXPECT_EQ(file.globalBatch(), 2);
  EXPECT_EQ(file.program().chunk_length(), 3);
  EXPECT_EQ(file.name(), "toy.program");
}

TEST(ProgramFile, ReadsWhatIsOnDisk) {
  auto bytes = toyProgram(toyShape(1, 10));
  std::string path = testing::TempDir() + "whole.program";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char *>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  EXPECT_EQ(ProgramFile::fromFile(path).program().seq_length(), 10);
  std::filesystem::remove(path);
  EXPECT_THROW(ProgramFile::fromFile(path), Error);
  EXPECT_THROW(ProgramFile::fromFile("/"), Error);
}

TEST(ProgramFile, EveryCutIsAnError) {
  auto bytes = toyProgram(toyShape(2, 8));
  for (size_t size = 0; size + 1 < bytes.size(); size += size < 64 ? 1 : 37) {
    std::string error = errorOf({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)});
    ASSERT_THAT(error, HasSubstr("some.program: ")) << "cut at " << size;
  }
}

TEST(ProgramFile, OtherFilesAreNoPrograms) {
  EXPECT_THAT(errorOf({}), HasSubstr("not a program"));
  EXPECT_THAT(errorOf(std::vector<uint8_t>(4096, 0)), HasSubstr("not a program"));
  std::vector<uint8_t> text(1000, 'x');
  EXPECT_THAT(errorOf(text), HasSubstr("expected the identifier SQPR"));
}

// Whatever is changed, loading ends in a program or an Error.
TEST(ProgramFile, ChangedBytesNeverCrash) {
  auto bytes = toyProgram(toyShape(3, 8));
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 4000; ++i) {
    auto changed = bytes;
    for (int n = 0; n < 1 + i % 3; ++n)
      changed[random() % changed.size()] = static_cast<uint8_t>(random() % 3 ? random() : 255);
    refused += !errorOf(changed).empty();
  }
  EXPECT_GT(refused, 1000);
}

TEST(ProgramFile, ExtentsAreChecked) {
  auto with = [](void (*change)(ProgramShape &)) {
    ProgramShape shape = toyShape(2, 8);
    change(shape);
    ProgramBuilder builder(shape);
    return errorOf(builder.finish({}, {}));
  };
  EXPECT_EQ(with([](ProgramShape &) {}), "");
  EXPECT_THAT(with([](ProgramShape &s) { s.sp = 65; }), HasSubstr("sp is 65, expected 1 to 64"));
  EXPECT_THAT(with([](ProgramShape &s) { s.chunk = 3; }), HasSubstr("do not hold a sequence of 8"));
  EXPECT_THAT(with([](ProgramShape &s) { s.length = -1; }), HasSubstr("seq_length"));
  EXPECT_THAT(with([](ProgramShape &s) { s.pp = 2; }), HasSubstr("expected 2 stages, found 1"));
  EXPECT_THAT(with([](ProgramShape &s) {
                s.microBatch = 1 << 20;
                s.chunk = 1 << 12;
              }),
              HasSubstr("too many positions"));
}

TEST(ProgramFile, GemmsStayInTheirBuffers) {
  auto gemm = [](int64_t m, int64_t lda, Combine combine = Combine::Overwrite,
                 ActiveRows active = ActiveRows::None) {
    return errorOfOp([=](ProgramBuilder &p) {
      Operand a = p.use(p.buffer(Segment::Arena, {4, 8}));
      Operand b = p.use(p.buffer(Segment::Arena, {8, 5}));
      Operand c = p.use(p.buffer(Segment::Arena, {4, 5}));
      return p.op(
          CreateGemm(p.bytes, &a, &b, &c, m, 5, 8, false, false, lda, 5, 5, 1.0f, combine, active),
          "nn.linear x.mlir:3:1");
    });
  };
  EXPECT_EQ(gemm(4, 8), "");
  EXPECT_THAT(gemm(5, 8), AllOf(HasSubstr("nn.linear x.mlir:3:1"), HasSubstr("a: buffer 0")));
  EXPECT_THAT(gemm(4, 7), HasSubstr("leading dimension 7 is below the 8 columns"));
  EXPECT_THAT(gemm(4, 9), HasSubstr("must hold 140 bytes"));
  EXPECT_THAT(gemm(0, 8), HasSubstr("positive extents"));
  EXPECT_THAT(gemm(int64_t(1) << 62, 8), HasSubstr("too large"));
  EXPECT_THAT(gemm(4, 8, Combine::Overwrite, ActiveRows::M), HasSubstr("outside of a rows loop"));
  EXPECT_THAT(gemm(4, 8, static_cast<Combine>(9)), HasSubstr("unknown combine 9"));
}

TEST(ProgramFile, ProductsAreOfOneTypeAndIntoItOrFp32) {
  auto gemm = [](DataType a, DataType b, DataType c) {
    return errorOfOp([=](ProgramBuilder &p) {
      Operand oa = p.use(p.buffer(Segment::Arena, {4, 8}, a)),
              ob = p.use(p.buffer(Segment::Arena, {8, 5}, b)),
              oc = p.use(p.buffer(Segment::Arena, {4, 5}, c));
      return p.op(
          CreateGemm(p.bytes, &oa, &ob, &oc, 4, 5, 8, false, false, 8, 5, 5, 1.0f, Combine::Add));
    });
  };
  using enum DataType;
  for (DataType type : {F32, BF16, F16}) {
    EXPECT_EQ(gemm(type, type, type), "");
    EXPECT_EQ(gemm(type, type, F32), "");
  }
  EXPECT_THAT(gemm(BF16, F16, F32), HasSubstr("b: buffer 1 must hold 80 bytes of BF16"));
  EXPECT_THAT(gemm(BF16, F32, F32), HasSubstr("it has 160 of F32"));
  EXPECT_THAT(gemm(F32, F32, F16), HasSubstr("c: expected F32, the type of the operands"));
  EXPECT_THAT(gemm(BF16, BF16, F16), HasSubstr("expected BF16, the type of the operands, or F32"));
  EXPECT_THAT(gemm(I32, I32, I32), HasSubstr("a: expected F32, BF16 or F16, found I32"));
  EXPECT_THAT(gemm(F64, F64, F64), HasSubstr("found F64"));
}

TEST(ProgramFile, EpiloguesHaveTheResultsType) {
  auto gemm = [](DataType bias, int64_t columns, bool saves, bool biased = true,
                 Combine combine = Combine::Overwrite) {
    return errorOfOp([=](ProgramBuilder &p) {
      using enum DataType;
      Operand a = p.use(p.buffer(Segment::Arena, {4, 8}, BF16)),
              b = p.use(p.buffer(Segment::Arena, {8, columns}, BF16)),
              c = p.use(p.buffer(Segment::Arena, {4, columns}, BF16)),
              added = p.use(p.buffer(Segment::Arena, {8}, bias)),
              saved = p.use(p.buffer(Segment::Arena, {4, columns}, BF16));
      return p.op(CreateGemm(p.bytes, &a, &b, &c, 4, columns, 8, false, false, 8, columns, columns,
                             1.0f, combine, ActiveRows::None, biased ? &added : nullptr,
                             saves ? &saved : nullptr));
    });
  };
  using enum DataType;
  EXPECT_EQ(gemm(BF16, 8, false), "");
  EXPECT_EQ(gemm(BF16, 8, true), "");
  EXPECT_EQ(gemm(BF16, 7, false), "");
  EXPECT_THAT(gemm(F32, 8, false), HasSubstr("bias: buffer 3 must hold 16 bytes of BF16"));
  EXPECT_THAT(gemm(BF16, 9, false), HasSubstr("bias: buffer 3 must hold 18 bytes of BF16"));
  EXPECT_THAT(gemm(BF16, 7, true), HasSubstr("leading dimension that 8 divides, found 7"));
  EXPECT_THAT(gemm(BF16, 8, true, false), HasSubstr("saved: expected a bias beside it"));
  EXPECT_THAT(gemm(BF16, 8, false, true, Combine::Add), HasSubstr("expected combine Overwrite"));
}

TEST(ProgramFile, AttentionIsOfOneTypeWithStatisticsOfFp32) {
  struct Types {
    DataType q = DataType::BF16, v = q, out = q, lse = DataType::F32;
    bool finish = true;
  };
  auto forward = [](const Types &types) {
    return errorOfOp(
        [=](ProgramBuilder &p) {
          auto make = [&](DataType type, std::vector<int64_t> extents) {
            return p.use(p.buffer(Segment::Arena, extents, type));
          };
          Operand q = make(types.q, {2, 8, 8}), k = make(types.q, {2, 8, 8}),
                  v = make(types.v, {2, 8, 8}), out = make(types.out, {2, 8, 8}),
                  lse = make(types.lse, {2, 2, 8}), sum = make(DataType::F32, {2, 2, 8}),
                  mask = p.use(p.input(InputKind::PaddingMask));
          return p.op(CreateAttentionForward(p.bytes, &q, &k, &v, &mask, &out, &lse, &sum, 2, 2, 4,
                                             8, 8, 8, 1.0f, KeyBlock::Own, true, types.finish));
        },
        toyShape(1, 8));
  };
  using enum DataType;
  for (DataType type : {F32, BF16, F16}) {
    EXPECT_EQ(forward({.q = type}), "");
    EXPECT_EQ(forward({.q = type, .out = F32, .finish = false}), "");
  }
  EXPECT_THAT(forward({.v = F16}), HasSubstr("v: buffer 2 must hold 256 bytes of BF16"));
  EXPECT_THAT(forward({.lse = BF16}), HasSubstr("lse: buffer 4 must hold 128 bytes of F32"));
  EXPECT_THAT(forward({.q = F32, .out = BF16}), HasSubstr("out: expected F32"));
  EXPECT_THAT(forward({.q = I32}), HasSubstr("q: expected F32, BF16 or F16"));
  EXPECT_THAT(forward({.finish = false}), HasSubstr("accumulator of several blocks must be F32"));
}

TEST(ProgramFile, GradientsOfAttentionAreFp32) {
  auto backward = [](DataType out, DataType dout, DataType dq) {
    return errorOfOp(
        [=](ProgramBuilder &p) {
          auto make = [&](DataType type, std::vector<int64_t> extents) {
            return p.use(p.buffer(Segment::Arena, extents, type));
          };
          std::vector<int64_t> whole = {2, 8, 8}, rows = {2, 2, 8};
          Operand q = make(DataType::F16, whole), o = make(out, whole), d = make(dout, whole),
                  lse = make(DataType::F32, rows), delta = make(DataType::F32, rows),
                  toQ = make(dq, whole), toK = make(DataType::F32, whole),
                  toV = make(DataType::F32, whole), mask = p.use(p.input(InputKind::PaddingMask));
          return p.op(CreateAttentionBackward(p.bytes, &q, &q, &q, &mask, &o, &lse, &d, &delta,
                                              &toQ, &toK, &toV, 2, 2, 4, 8, 8, 8, 1.0f,
                                              KeyBlock::Own, true));
        },
        toyShape(1, 8));
  };
  using enum DataType;
  EXPECT_EQ(backward(F16, F16, F32), "");
  EXPECT_THAT(backward(F32, F16, F32), HasSubstr("out: buffer 1 must hold 256 bytes of F16"));
  EXPECT_THAT(backward(F16, F32, F32), HasSubstr("dout: buffer 2 must hold 256 bytes of F16"));
  EXPECT_THAT(backward(F16, F16, F16), HasSubstr("dq: buffer 5 must hold 512 bytes of F32"));
}

TEST(ProgramFile, NumbersOf16BitsAreGatheredNotAdded) {
  auto with = [](auto create) {
    return errorOfOp([=](ProgramBuilder &p) {
      Operand one = p.use(p.buffer(Segment::Arena, {4}, DataType::BF16)),
              all = p.use(p.buffer(Segment::Arena, {2, 4}, DataType::BF16));
      return create(p, one, all);
    });
  };
  EXPECT_EQ(with([](ProgramBuilder &p, Operand one, Operand all) {
              return p.op(CreateAllGather(p.bytes, &one, &all, 1, 4, DataType::BF16, 4));
            }),
            "");
  EXPECT_THAT(with([](ProgramBuilder &p, Operand one, Operand all) {
                return p.op(CreateAllGather(p.bytes, &all, &one, 1, 4, DataType::BF16, 4));
              }),
              HasSubstr("must hold 16 bytes of BF16"));
  EXPECT_THAT(with([](ProgramBuilder &p, Operand one, Operand all) {
                return p.op(CreateReduceScatter(p.bytes, &all, &one, 1, 4, DataType::BF16, 4));
              }),
              HasSubstr("cannot add elements of BF16"));
  EXPECT_THAT(with([](ProgramBuilder &p, Operand one, Operand) {
                return p.op(CreateAllReduce(p.bytes, &one, 4, DataType::BF16, 4));
              }),
              HasSubstr("reductions are of F32, F64 or I32"));
}

TEST(ProgramFile, KernelsGetTheirOperands) {
  auto launch = [](int number, int64_t rows, int operands, InputKind index) {
    return errorOfOp([=](ProgramBuilder &p) {
      p.kernel("k", {{Access::Gather, 4, DataType::F32, 1},
                     {Access::RowScalar, 1, DataType::I32},
                     {Access::Row, 4}});
      std::vector<Operand> all = {p.use(p.buffer(Segment::Parameter, {16, 4})),
                                  p.use(p.input(index)), p.use(p.buffer(Segment::Arena, {8, 4}))};
      all.resize(static_cast<size_t>(operands));
      return p.launch(number, all, rows);
    });
  };
  EXPECT_EQ(launch(0, 8, 3, InputKind::Tokens), "");
  EXPECT_THAT(launch(1, 8, 3, InputKind::Tokens), HasSubstr("no kernel 1"));
  EXPECT_THAT(launch(0, 9, 3, InputKind::Tokens), HasSubstr("must hold 36 bytes"));
  EXPECT_THAT(launch(0, 8, 2, InputKind::Tokens), HasSubstr("takes 3 operands, found 2"));
  EXPECT_THAT(launch(0, 2, 3, InputKind::SampleNumbers), HasSubstr("no input of row numbers"));
}

TEST(ProgramFile, TablesHoldEveryNumberThatIndexesThem) {
  EXPECT_THAT(errorOfOp([](ProgramBuilder &p) {
                p.kernel("k", {{Access::Gather, 4, DataType::F32, 1},
                               {Access::RowScalar, 1, DataType::I32}});
                return p.launch(0,
                                {p.use(p.buffer(Segment::Parameter, {15, 4})),
                                 p.use(p.input(InputKind::Tokens))},
                                8);
              }),
              HasSubstr("table of 15 rows is indexed by numbers up to 15"));
}

TEST(ProgramFile, ExchangesAreWaitedForOnce) {
  auto list = [](std::function<std::vector<ProgramBuilder::Op>(ProgramBuilder &, Operand)> make) {
    ProgramBuilder p(toyShape(3, 9));
    auto ops = make(p, p.use(p.buffer(Segment::Arena, {4})));
    return errorOf(p.finish(ops, {}));
  };
  using Ops = std::vector<ProgramBuilder::Op>;
  EXPECT_EQ(list([](ProgramBuilder &p, Operand o) {
              return Ops{p.shift({o}, {o}, 16, 1),
                         p.ring({p.wait(1), p.shift({o}, {o}, 16, 1, true)})};
            }),
            "");
  EXPECT_THAT(list([](ProgramBuilder &p, Operand o) { return Ops{p.shift({o}, {o}, 16, 1)}; }),
              HasSubstr("exchange 1 is never waited for"));
  EXPECT_THAT(list([](ProgramBuilder &p, Operand) { return Ops{p.wait(4)}; }),
              HasSubstr("exchange 4, which is not started"));
  EXPECT_THAT(list([](ProgramBuilder &p, Operand o) {
                return Ops{p.shift({o}, {o}, 16, 1), p.shift({o}, {o}, 16, 1), p.wait(1)};
              }),
              HasSubstr("started again"));
  EXPECT_THAT(
      list([](ProgramBuilder &p, Operand o) { return Ops{p.shift({o}, {o}, 17, 1), p.wait(1)}; }),
      HasSubstr("must hold 17 bytes"));
}

TEST(ProgramFile, TagsBelowZeroAreTheRuntimesOwn) {
  using Make = std::function<ProgramBuilder::Op(ProgramBuilder &, int buffer)>;
  auto error = [](const Make &make) {
    ProgramBuilder p(toyShape(2, 8));
    auto op = make(p, p.buffer(Segment::Arena, {4}));
    return errorOf(p.finish({op, p.wait(0)}, {}));
  };
  EXPECT_EQ(error([](ProgramBuilder &p, int b) { return p.shift({p.use(b)}, {p.use(b)}, 16, 0); }),
            "");
  const Make wrong[] = {
      [](ProgramBuilder &p, int b) { return p.shift({p.use(b)}, {p.use(b)}, 16, -1); },
      [](ProgramBuilder &p, int b) { return p.send(b, 16, 1, -1); },
      [](ProgramBuilder &p, int b) { return p.receive(b, 16, 1, -1); },
      [](ProgramBuilder &p, int) { return p.wait(-1); }};
  for (const Make &make : wrong)
    EXPECT_THAT(error(make), HasSubstr("expected a tag from 0, found -1"));
}

TEST(ProgramFile, LoopsAreNotNestedAndHoldWhatTheyCan) {
  EXPECT_THAT(errorOfOp([](ProgramBuilder &p) { return p.ring({p.ring({})}); }),
              HasSubstr("a ring loop in a ring loop"));
  EXPECT_THAT(errorOfOp([](ProgramBuilder &p) { return p.ring({p.rows(4, {})}); }),
              HasSubstr("a rows loop in a ring loop"));
  EXPECT_THAT(errorOfOp([](ProgramBuilder &p) { return p.rows(0, {}); }),
              HasSubstr("at least one row"));
  EXPECT_THAT(errorOfOp([](ProgramBuilder &p) {
                int buffer = p.buffer(Segment::Arena, {4});
                return p.rows(2, {p.allReduce(buffer, 4, 4)});
              }),
              HasSubstr("AllReduce cannot be in a rows loop"));
}

TEST(ProgramFile, ALossScaleIsOfAllStagesWithTheirNorms) {
  auto with = [](std::vector<std::vector<InputKind>> stages, bool norm = true) {
    ProgramBuilder p({.pp = static_cast<int>(stages.size())});
    for (const auto &kinds : stages) {
      for (InputKind kind : kinds)
        p.input(kind);
      if (norm)
        p.metric(MetricKind::GradientNorm);
      p.endStage({}, {}, {}, {});
    }
    return errorOf(p.finish());
  };
  using enum InputKind;
  EXPECT_EQ(with({{InverseLossScale}, {InverseLossScale, ScaledInverseSamples}}), "");
  EXPECT_THAT(with({{InverseLossScale}, {}}),
              HasSubstr("stage 1: expected the input InverseLossScale"));
  EXPECT_THAT(with({{}, {InverseLossScale}}), HasSubstr("in all stages or in none"));
  EXPECT_THAT(with({{ScaledInverseLossTokens}}), HasSubstr("needs InverseLossScale"));
  EXPECT_THAT(with({{InverseLossScale}}, false), HasSubstr("expected the metric GradientNorm"));
}

TEST(ProgramFile, BuffersStayInTheirSegments) {
  auto bytes = toyProgram(toyShape(2, 8));
  auto change = [&](auto edit) {
    auto changed = bytes;
    edit(*GetMutableProgram(changed.data())->mutable_stages()->GetMutableObject(0));
    return errorOf(changed);
  };
  EXPECT_THAT(change([](Stage &s) {
                s.mutable_buffers()->GetMutableObject(5)->mutate_offset(uint64_t(0) - 64);
              }),
              AllOf(HasSubstr("buffer 5"), HasSubstr("outside of segment")));
  EXPECT_THAT(change([](Stage &s) { s.mutable_buffers()->GetMutableObject(5)->mutate_offset(65); }),
              HasSubstr("offset 65 is not a multiple of 64"));
  EXPECT_THAT(change([](Stage &s) {
                s.mutable_buffers()->GetMutableObject(5)->mutate_bytes(uint64_t(1) << 63);
              }),
              HasSubstr("outside of segment"));
  EXPECT_THAT(change([](Stage &s) { s.mutate_arena_bytes(uint64_t(1) << 63); }),
              HasSubstr("too large"));
}

} // namespace

} // namespace seqpar::rt::test
