#include "TestDevice.h"

#include "seqpar/program/program_generated.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/Float16.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace seqpar::rt::test {

void TestDevice::loadKernels(const program::Program &program) {
  for (const program::Kernel *kernel : *program.kernels()) {
    auto found = kernels.find(kernel->symbol()->str());
    if (found == kernels.end())
      fail("the test has no kernel {}", kernel->symbol()->str());
    Loaded entry{found->second, {}};
    for (unsigned i = 0; i < kernel->operands()->size(); ++i)
      if (kernel->operands()->Get(i)->access() == program::Access::SumRows)
        entry.sums.emplace_back(i, kernel->operands()->Get(i)->columns());
    loaded.push_back(entry);
  }
}

void *TestDevice::allocate(size_t bytes) {
  void *memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!memory)
    fail("no memory for {} bytes", bytes);
  return memory;
}
void TestDevice::release(void *memory) { std::free(memory); }
void TestDevice::copyToDevice(void *to, const void *from, size_t bytes) {
  std::memcpy(to, from, bytes);
}
void TestDevice::copyToHost(void *to, const void *from, size_t bytes) {
  std::memcpy(to, from, bytes);
}
void TestDevice::zero(void *memory, size_t bytes) { std::memset(memory, 0, bytes); }

/// Elements of a tensor of any floating type.
struct Elements {
  void *memory;
  FloatType type;

  float load(int64_t at) const {
    auto *halves = static_cast<const uint16_t *>(memory);
    return type == FloatType::F32    ? static_cast<const float *>(memory)[at]
           : type == FloatType::BF16 ? fromBf16(halves[at])
                                     : fromF16(halves[at]);
  }
  void store(int64_t at, float value) const {
    if (type == FloatType::F32)
      static_cast<float *>(memory)[at] = value;
    else
      static_cast<uint16_t *>(memory)[at] = type == FloatType::BF16 ? toBf16(value) : toF16(value);
  }
};

void TestDevice::gemm(const GemmArgs &args) {
  Elements a{const_cast<void *>(args.a), args.type}, b{const_cast<void *>(args.b), args.type},
      c{args.c, args.resultType};
  for (int64_t i = 0; i < args.m; ++i)
    for (int64_t j = 0; j < args.n; ++j) {
      float sum = 0;
      for (int64_t l = 0; l < args.k; ++l)
        sum += a.load(args.transposeA ? l * args.lda + i : i * args.lda + l) *
               b.load(args.transposeB ? j * args.ldb + l : l * args.ldb + j);
      int64_t at = i * args.ldc + j;
      c.store(at, (args.accumulate ? c.load(at) : 0) + args.alpha * sum);
    }
}

/// Of a tensor that must be fp32.
static const float *floats(const void *memory, FloatType type) {
  if (type != FloatType::F32)
    fail("the plain device's attention is fp32 only");
  return static_cast<const float *>(memory);
}

void TestDevice::rowKernel(const RowKernelArgs &args) {
  const Loaded &kernel = loaded.at(static_cast<size_t>(args.kernel));
  for (auto [operand, columns] : kernel.sums)
    if (!args.accumulate)
      std::memset(args.operands[operand], 0, static_cast<size_t>(columns) * sizeof(float));
  kernel.run(args.operands.data(), args.rows);
}

namespace {

struct Block {
  const AttentionShape &shape;
  const float *q, *k;
  const int32_t *mask;

  int64_t query(int64_t b, int64_t h, int64_t i) const {
    return ((b * shape.queries + i) * shape.heads + h) * shape.headDim;
  }
  int64_t key(int64_t b, int64_t h, int64_t j) const {
    return ((b * shape.keys + j) * shape.heads + h) * shape.headDim;
  }
  bool masked(int64_t b, int64_t j) const {
    return !mask[b * shape.maskLength + shape.maskOffset + j];
  }
  float score(int64_t b, int64_t h, int64_t i, int64_t j) const {
    float sum = 0;
    for (int64_t d = 0; d < shape.headDim; ++d)
      sum += q[query(b, h, i) + d] * k[key(b, h, j) + d];
    return sum * shape.scale;
  }
  template <typename Body> void eachQuery(Body body) const {
    for (int64_t b = 0; b < shape.batch; ++b)
      for (int64_t h = 0; h < shape.heads; ++h)
        for (int64_t i = 0; i < shape.queries; ++i)
          body(b, h, i, (b * shape.heads + h) * shape.queries + i);
  }
};

} // namespace

void TestDevice::attentionForward(const AttentionForwardArgs &args) {
  keep({false, args.shape.maskOffset, args.initialize, args.finish, false, args.dropout});
  Block block{args.shape, floats(args.q, args.type), floats(args.k, args.type), args.mask};
  auto *v = floats(args.v, args.type);
  auto *outs = const_cast<float *>(floats(args.out, args.outType));
  block.eachQuery([&](int64_t b, int64_t h, int64_t i, int64_t at) {
    float *out = outs + block.query(b, h, i);
    float &largest = args.lse[at], &sum = args.sum[at];
    if (args.initialize) {
      largest = -INFINITY;
      sum = 0;
      std::fill_n(out, args.shape.headDim, 0.0f);
    }
    for (int64_t j = 0; j < args.shape.keys; ++j) {
      if (block.masked(b, j))
        continue;
      float score = block.score(b, h, i, j), next = std::max(largest, score);
      float shrink = std::exp(largest - next), weight = std::exp(score - next);
      sum = sum * shrink + weight;
      for (int64_t d = 0; d < args.shape.headDim; ++d)
        out[d] = out[d] * shrink + weight * v[block.key(b, h, j) + d];
      largest = next;
    }
    if (!args.finish)
      return;
    for (int64_t d = 0; d < args.shape.headDim; ++d)
      out[d] = sum > 0 ? out[d] / sum : 0;
    largest = sum > 0 ? largest + std::log(sum) : INFINITY;
  });
}

void TestDevice::attentionBackward(const AttentionBackwardArgs &args) {
  keep({true, args.shape.maskOffset, args.initialize, false, args.accumulateKV, args.dropout});
  const AttentionShape &shape = args.shape;
  Block block{shape, floats(args.q, args.type), floats(args.k, args.type), args.mask};
  auto *v = floats(args.v, args.type), *out = floats(args.out, args.type),
       *dout = floats(args.dout, args.type);
  if (!args.accumulateKV) {
    int64_t size = shape.batch * shape.keys * shape.heads * shape.headDim;
    std::fill_n(args.dk, size, 0.0f);
    std::fill_n(args.dv, size, 0.0f);
  }
  block.eachQuery([&](int64_t b, int64_t h, int64_t i, int64_t at) {
    int64_t row = block.query(b, h, i);
    if (args.initialize) {
      args.delta[at] = 0;
      for (int64_t d = 0; d < shape.headDim; ++d) {
        args.delta[at] += dout[row + d] * out[row + d];
        args.dq[row + d] = 0;
      }
    }
    for (int64_t j = 0; j < shape.keys; ++j) {
      if (block.masked(b, j))
        continue;
      int64_t key = block.key(b, h, j);
      float weight = std::exp(block.score(b, h, i, j) - args.lse[at]), dweight = 0;
      for (int64_t d = 0; d < shape.headDim; ++d)
        dweight += dout[row + d] * v[key + d];
      float dscore = weight * (dweight - args.delta[at]) * shape.scale;
      for (int64_t d = 0; d < shape.headDim; ++d) {
        args.dv[key + d] += weight * dout[row + d];
        args.dq[row + d] += dscore * block.k[key + d];
        args.dk[key + d] += dscore * block.q[row + d];
      }
    }
  });
}

} // namespace seqpar::rt::test
