//===- ProgramBoundsTest.cpp - what loads stays in its memory ---*- C++ -*-===//
//
// Programs with changed bytes that still load are run on a device which touches exactly what an
// instruction may touch. Under AddressSanitizer a hole in the loader's checks is a failure here.
//
//===----------------------------------------------------------------------===//

#include "ExecutorRun.h"
#include "RandomBatch.h"
#include "ToyModel.h"
#include "seqpar/rt/Error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace seqpar::rt::test {

namespace {

using namespace program;

/// Reads the first and last byte of a range, and writes them back.
void touch(const void *begin, int64_t bytes) {
  auto *at = const_cast<volatile uint8_t *>(static_cast<const volatile uint8_t *>(begin));
  at[0] = at[0];
  at[bytes - 1] = at[bytes - 1];
}

class TouchDevice final : public Device {
public:
  std::string name() const override { return "touch"; }
  void loadKernels(const Program &program) override { kernels = program.kernels(); }
  void *allocate(size_t bytes) override { return plain.allocate(bytes); }
  void release(void *memory) override { plain.release(memory); }
  void copyToDevice(void *to, const void *from, size_t bytes) override {
    plain.copyToDevice(to, from, bytes);
  }
  void copyToHost(void *to, const void *from, size_t bytes) override {
    plain.copyToHost(to, from, bytes);
  }
  void zero(void *memory, size_t bytes) override { plain.zero(memory, bytes); }
  void synchronize() override {}

  void gemm(const GemmArgs &args) override {
    auto matrix = [](const void *begin, FloatType type, int64_t rows, int64_t columns, int64_t ld) {
      touch(begin, ((rows - 1) * ld + columns) * int64_t(bytesOf(type)));
    };
    args.transposeA ? matrix(args.a, args.type, args.k, args.m, args.lda)
                    : matrix(args.a, args.type, args.m, args.k, args.lda);
    args.transposeB ? matrix(args.b, args.type, args.n, args.k, args.ldb)
                    : matrix(args.b, args.type, args.k, args.n, args.ldb);
    matrix(args.c, args.resultType, args.m, args.n, args.ldc);
  }

  void rowKernel(const RowKernelArgs &args) override {
    const auto &operands = *kernels->Get(static_cast<unsigned>(args.kernel))->operands();
    for (unsigned i = 0; i < operands.size(); ++i) {
      const KernelOperand &operand = *operands.Get(i);
      int64_t size = operand.type() == DataType::F64                                       ? 8
                     : operand.type() == DataType::BF16 || operand.type() == DataType::F16 ? 2
                                                                                           : 4;
      auto *begin = static_cast<uint8_t *>(args.operands[i]);
      switch (operand.access()) {
      case Access::Row:
        touch(begin, args.rows * operand.columns() * size);
        break;
      case Access::RowScalar:
        touch(begin, args.rows * size);
        break;
      case Access::Broadcast:
      case Access::SumRows:
        touch(begin, operand.columns() * size);
        break;
      case Access::Scalar:
        touch(begin, size);
        break;
      default:
        auto *index =
            static_cast<const int32_t *>(args.operands[static_cast<size_t>(operand.index())]);
        for (int64_t r = 0; r < args.rows; ++r)
          if (index[r] >= 0)
            touch(begin + index[r] * operand.columns() * size, operand.columns() * size);
      }
    }
  }

  void attentionForward(const AttentionForwardArgs &args) override {
    FloatType type = args.type, f32 = FloatType::F32;
    attention(args.shape, {{args.q, type}, {args.out, args.outType}},
              {{args.k, type}, {args.v, type}}, {{args.lse, f32}, {args.sum, f32}}, args.mask);
  }
  void attentionBackward(const AttentionBackwardArgs &args) override {
    FloatType type = args.type, f32 = FloatType::F32;
    attention(args.shape, {{args.q, type}, {args.out, type}, {args.dout, type}, {args.dq, f32}},
              {{args.k, type}, {args.v, type}, {args.dk, f32}, {args.dv, f32}},
              {{args.lse, f32}, {args.delta, f32}}, args.mask);
  }

private:
  struct Tensor {
    const void *memory;
    FloatType type;
    void touch(int64_t elements) const { test::touch(memory, elements * int64_t(bytesOf(type))); }
  };
  void attention(const AttentionShape &s, std::initializer_list<Tensor> queries,
                 std::initializer_list<Tensor> keys, std::initializer_list<Tensor> statistics,
                 const int32_t *mask) {
    for (const Tensor &each : queries)
      each.touch(s.batch * s.queries * s.heads * s.headDim);
    for (const Tensor &each : keys)
      each.touch(s.batch * s.keys * s.heads * s.headDim);
    for (const Tensor &each : statistics)
      each.touch(s.batch * s.heads * s.queries);
    touch(mask + s.maskOffset, s.keys * 4);
    touch(mask, ((s.batch - 1) * s.maskLength + s.maskOffset + s.keys) * 4);
  }

  TestDevice plain{{}};
  const flatbuffers::Vector<flatbuffers::Offset<Kernel>> *kernels = nullptr;
};

bool isSmall(const ProgramFile &file) {
  return file.grid().size() <= 6 && file.program().micro_batches() <= 8 &&
         file.globalBatch() * file.program().seq_length() <= 4096 &&
         ProgramFile::memoryBytes(file.stage(0)) <= uint64_t(1) << 20 &&
         file.program().micro_batch() * file.program().chunk_length() * file.grid().sp <= 1 << 16;
}

/// One step; the numbers it computes mean nothing, but every rank ends.
void runStep(const ProgramFile &file) {
  GlobalBatch batch = randomBatch(file.globalBatch(), file.program().seq_length(), 1);
  int32_t most = static_cast<int32_t>(std::min<int64_t>(16, file.program().vocabulary()));
  for (auto *ids : {&batch.tokens, &batch.labels})
    for (int32_t &id : *ids)
      id = std::min(id, most - 1);
  size_t size = static_cast<size_t>(file.grid().size());
  std::vector<TouchDevice> devices(size);
  std::vector<std::unique_ptr<Executor>> executors(size);
  runThreads(file.grid(), [&](Communicator &communicator) {
    size_t rank = static_cast<size_t>(communicator.rank());
    devices[rank].loadKernels(file.program());
    executors[rank] = std::make_unique<Executor>(file, devices[rank], communicator);
    executors[rank]->initializeParameters(1);
    executors[rank]->step({}, batch);
  });
}

TEST(ProgramBounds, WhatLoadsTouchesOnlyItsOwnMemory) {
  int ran = 0;
  for (int sp : {1, 2, 3}) {
    auto bytes = toyProgram(toyShape(sp, 9));
    std::mt19937 random(static_cast<uint32_t>(sp));
    for (int i = 0; i < 1000; ++i) {
      auto changed = bytes;
      for (int n = 0; n < 1 + i % 2; ++n)
        changed[random() % changed.size()] =
            static_cast<uint8_t>(random() % 3 ? random() % 16 : random());
      try {
        ProgramFile file = ProgramFile::fromBytes(changed, "changed");
        if (!isSmall(file))
          continue;
        runStep(file);
        ++ran;
      } catch (const Error &) {
      }
    }
  }
  EXPECT_GT(ran, 300);
}

} // namespace

} // namespace seqpar::rt::test
