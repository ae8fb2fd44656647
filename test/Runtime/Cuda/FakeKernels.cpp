#include "FakeKernels.h"

#include "seqpar/program/CudaAttentionLaunch.h"
#include "seqpar/rt/Device.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/Float16.h"

#include <cstring>
#include <memory>

namespace seqpar::rt::test {

using namespace program;
using fakecuda::Access;
using fakecuda::Launch;
using Specs = std::vector<KernelOperandSpec>;
namespace launches = ::seqpar::cuda;

namespace {

constexpr int kBlocks = 4;

size_t bytesOf(DataType type) {
  return type == DataType::F64 ? 8 : type == DataType::BF16 || type == DataType::F16 ? 2 : 4;
}

size_t rowBytesOf(const KernelOperandSpec &spec) {
  return size_t(spec.columns) * bytesOf(spec.type);
}

/// Sums lie one after the other in a part of the workspace, each aligned to 8 bytes.
size_t sumOffset(const Specs &specs, size_t operand) {
  size_t offset = 0;
  for (size_t i = 0; i < operand; ++i)
    if (specs[i].access == program::Access::SumRows)
      offset += (rowBytesOf(specs[i]) + 7) / 8 * 8;
  return offset;
}

struct RowArguments {
  std::vector<void *> operands;
  int64_t rows;
  char *workspace;
  bool accumulate;

  RowArguments(const Launch &launch, size_t count) {
    for (size_t i = 0; i < count; ++i)
      operands.push_back(launch.argument<void *>(i));
    rows = launch.argument<long long>(count);
    workspace = launch.argument<char *>(count + 1);
    accumulate = launch.argument<int>(count + 2);
  }
};

/// Bytes of an operand that a launch over `rows` rows touches.
size_t touched(const KernelOperandSpec &spec, int64_t rows) {
  switch (spec.access) {
  case program::Access::Row:
  case program::Access::RowScalar:
    return size_t(rows) * rowBytesOf(spec);
  default:
    return rowBytesOf(spec);
  }
}

int64_t partsOf(int64_t rows) { return std::min<int64_t>(rows, kBlocks); }

std::vector<Access> mainAccesses(const Specs &specs, const Launch &launch) {
  RowArguments args(launch, specs.size());
  std::vector<Access> result;
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].access == program::Access::SumRows)
      continue;
    result.push_back({args.operands[i], touched(specs[i], args.rows), false});
    if (specs[i].output)
      result.push_back({args.operands[i], touched(specs[i], args.rows), true});
  }
  result.push_back(fakecuda::writes(args.workspace,
                                    size_t(partsOf(args.rows)) * sumOffset(specs, specs.size())));
  return result;
}

/// Each block has some of the rows and a part of the workspace for its sums.
void runMain(const Specs &specs, const HostKernel &function, const Launch &launch) {
  RowArguments args(launch, specs.size());
  size_t part = sumOffset(specs, specs.size());
  int64_t parts = partsOf(args.rows);
  if (part)
    std::memset(args.workspace, 0, part * size_t(parts));
  for (int64_t block = 0; block < parts; ++block) {
    int64_t begin = args.rows * block / parts, end = args.rows * (block + 1) / parts;
    std::vector<void *> operands = args.operands;
    for (size_t i = 0; i < specs.size(); ++i) {
      if (specs[i].access == program::Access::SumRows)
        operands[i] = args.workspace + size_t(block) * part + sumOffset(specs, i);
      if (specs[i].access == program::Access::Row || specs[i].access == program::Access::RowScalar)
        operands[i] = static_cast<char *>(operands[i]) + size_t(begin) * rowBytesOf(specs[i]);
    }
    function(operands.data(), end - begin);
  }
}

template <typename T>
void addParts(void *to, const char *parts, size_t stride, size_t count, int64_t columns) {
  for (int64_t c = 0; c < columns; ++c)
    for (size_t i = 0; i < count; ++i)
      static_cast<T *>(to)[c] += reinterpret_cast<const T *>(parts + i * stride)[c];
}

void runSums(const Specs &specs, const Launch &launch) {
  RowArguments args(launch, specs.size());
  size_t part = sumOffset(specs, specs.size());
  size_t parts = size_t(partsOf(args.rows));
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].access != program::Access::SumRows)
      continue;
    if (!args.accumulate)
      std::memset(args.operands[i], 0, rowBytesOf(specs[i]));
    const char *from = parts ? args.workspace + sumOffset(specs, i) : nullptr;
    if (specs[i].type == DataType::F64)
      addParts<double>(args.operands[i], from, part, parts, specs[i].columns);
    else if (specs[i].type == DataType::I32)
      addParts<int32_t>(args.operands[i], from, part, parts, specs[i].columns);
    else
      addParts<float>(args.operands[i], from, part, parts, specs[i].columns);
  }
}

std::vector<Access> sumsAccesses(const Specs &specs, const Launch &launch) {
  RowArguments args(launch, specs.size());
  std::vector<Access> result;
  size_t parts = size_t(partsOf(args.rows));
  result.push_back(fakecuda::reads(args.workspace, parts * sumOffset(specs, specs.size())));
  for (size_t i = 0; i < specs.size(); ++i)
    if (specs[i].access == program::Access::SumRows)
      result.push_back(fakecuda::writes(args.operands[i], rowBytesOf(specs[i])));
  return result;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

struct TypeName {
  const char *name;
  FloatType type;
};
constexpr TypeName kTypes[] = {
    {"_f32_", FloatType::F32}, {"_bf16_", FloatType::BF16}, {"_f16_", FloatType::F16}};

/// The type in a kernel's name; the head dimension follows.
const TypeName &typeOf(const std::string &kernel) {
  for (const TypeName &each : kTypes)
    if (kernel.find(each.name) != kernel.npos)
      return each;
  fail("{} is no attention kernel", kernel);
}
int64_t headDimOf(const std::string &kernel) {
  const char *name = typeOf(kernel).name;
  return std::atoi(kernel.c_str() + kernel.find(name) + std::strlen(name));
}

struct AttentionCall {
  launches::AttentionParameters p;
  AttentionShape shape;
  AttentionDropout dropout;
  FloatType type;
  size_t queryElements, keyElements, statistics;

  explicit AttentionCall(const Launch &launch)
      : p(launch.argument<launches::AttentionParameters>(0)), type(typeOf(launch.kernel).type) {
    shape = {p.batch,      p.heads, headDimOf(launch.kernel), p.queries, p.keys, p.maskLength,
             p.maskOffset, p.scale};
    size_t row = size_t(p.heads * shape.headDim);
    queryElements = size_t(p.batch) * size_t(p.queries) * row;
    keyElements = size_t(p.batch) * size_t(p.keys) * row;
    statistics = size_t(p.batch) * size_t(p.heads) * size_t(p.queries);
  }

  /// When the kernel runs: seed and step are on the device.
  void readDropout(const Launch &launch) {
    if (launch.kernel.ends_with("_dropout"))
      dropout = {1 - 1 / p.keptScale, *p.seed,       *p.step,    p.site,
                 p.samples,           p.queryOffset, p.keyOffset};
  }
};

Access read(const void *memory, size_t elements, size_t size = 4) {
  return {memory, elements * size, false};
}
Access write(const void *memory, size_t elements, size_t size = 4) {
  return {memory, elements * size, true};
}

std::vector<Access> attentionAccesses(const Launch &launch) {
  AttentionCall call(launch);
  const auto &p = call.p;
  size_t q = call.queryElements, k = call.keyElements, s = call.statistics;
  size_t size = bytesOf(call.type);
  std::vector<Access> result;
  auto update = [&](const void *memory, size_t elements, bool alsoRead) {
    if (alsoRead)
      result.push_back(read(memory, elements));
    result.push_back(write(memory, elements));
  };
  if (launch.kernel.find("_delta_") != launch.kernel.npos)
    return {read(p.out, q, size), read(p.dout, q, size), write(p.delta, s)};
  result = {read(p.q, q, size), read(p.k, k, size), read(p.v, k, size),
            read(p.mask, size_t(p.batch) * size_t(p.maskLength))};
  if (launch.kernel.ends_with("_dropout"))
    for (const void *word : {static_cast<const void *>(p.seed), static_cast<const void *>(p.step)})
      result.push_back(read(word, 1));
  if (launch.kernel.find("_forward_") != launch.kernel.npos) {
    if (p.accumulator)
      update(p.accumulator, q, !p.initialize);
    else
      result.push_back(write(p.out, q, size));
    update(p.lse, s, !p.initialize);
    update(p.sum, s, !p.initialize);
    return result;
  }
  for (const void *statistic : {p.lse, p.delta})
    result.push_back(read(statistic, s));
  result.push_back(read(p.dout, q, size));
  if (launch.kernel.find("_keys_") != launch.kernel.npos) {
    update(p.dk, k, p.accumulateKV);
    update(p.dv, k, p.accumulateKV);
  } else {
    update(p.dq, q, !p.initialize);
  }
  return result;
}

void runForward(const Launch &launch) {
  AttentionCall call(launch);
  call.readDropout(launch);
  const auto &p = call.p;
  // As the kernels: without a result of their own type they finish the accumulator.
  bool own = p.out && p.out != p.accumulator;
  if (own && (!p.initialize || !p.finish))
    fail("{}: the runtime gives a result apart from the accumulator for whole rows only",
         launch.kernel);
  createCpuDevice(1)->attentionForward({call.shape, p.q, p.k, p.v, p.mask,
                                        own ? p.out : p.accumulator, p.lse, p.sum,
                                        bool(p.initialize), bool(p.finish), call.dropout, call.type,
                                        own ? call.type : FloatType::F32});
}

void runDelta(const Launch &launch) {
  AttentionCall call(launch);
  const auto &p = call.p;
  int64_t d = call.shape.headDim;
  auto load = [&](const void *from, int64_t at) {
    auto *halves = static_cast<const uint16_t *>(from);
    return double(call.type == FloatType::F32    ? static_cast<const float *>(from)[at]
                  : call.type == FloatType::BF16 ? fromBf16(halves[at])
                                                 : fromF16(halves[at]));
  };
  for (int64_t b = 0; b < p.batch; ++b)
    for (int64_t h = 0; h < p.heads; ++h)
      for (int64_t i = 0; i < p.queries; ++i) {
        double sum = 0;
        for (int64_t j = 0; j < d; ++j) {
          int64_t at = ((b * p.queries + i) * p.heads + h) * d + j;
          sum += load(p.out, at) * load(p.dout, at);
        }
        p.delta[(b * p.heads + h) * p.queries + i] = float(sum);
      }
}

/// The CPU computes all three gradients; what a kernel does not write goes to memory of its own.
void runBackward(const Launch &launch) {
  AttentionCall call(launch);
  call.readDropout(launch);
  const auto &p = call.p;
  bool keys = launch.kernel.find("_keys_") != launch.kernel.npos;
  std::vector<float> ownQ(call.queryElements), ownK(call.keyElements), ownV(call.keyElements),
      ownDelta(p.delta, p.delta + call.statistics);
  if (!keys && p.initialize)
    std::memset(p.dq, 0, call.queryElements * sizeof(float));
  createCpuDevice(1)->attentionBackward({call.shape, p.q, p.k, p.v, p.mask, p.out, p.lse, p.dout,
                                         ownDelta.data(), keys ? ownQ.data() : p.dq,
                                         keys ? p.dk : ownK.data(), keys ? p.dv : ownV.data(),
                                         false, keys && p.accumulateKV, call.dropout, call.type});
}

void registerAttention() {
  const std::vector<size_t> bytes = {sizeof(launches::AttentionParameters)};
  const std::pair<const char *, void (*)(const Launch &)> kernels[] = {
      {"seqpar_attention_forward", runForward},
      {"seqpar_attention_delta", runDelta},
      {"seqpar_attention_backward_keys", runBackward},
      {"seqpar_attention_backward_queries", runBackward}};
  for (auto &[name, run] : kernels)
    for (const TypeName &type : kTypes)
      for (const char *variant : {"", "_warpgroup"})
        fakecuda::registerKernel(std::string(name) + variant + type.name + "*",
                                 {bytes, run, attentionAccesses});
}

} // namespace

void registerAddKernels() {
  auto add = [](const char *name, auto zero) {
    using T = decltype(zero);
    fakecuda::registerKernel(
        name, {{8, 8, 8},
               [](const Launch &launch) {
                 auto *to = launch.argument<T *>(0);
                 auto *from = launch.argument<const T *>(1);
                 for (size_t i = 0; i < launch.argument<unsigned long long>(2); ++i)
                   to[i] += from[i];
               },
               [](const Launch &launch) {
                 size_t bytes = launch.argument<unsigned long long>(2) * sizeof(T);
                 return std::vector<Access>{fakecuda::reads(launch.argument<void *>(1), bytes),
                                            fakecuda::writes(launch.argument<void *>(0), bytes)};
               }});
  };
  add("seqpar_add_f32", float());
  add("seqpar_add_f64", double());
  add("seqpar_add_i32", uint32_t());
  add("seqpar_add_i64", uint64_t());
}

FakeCode::FakeCode(const std::vector<std::string> &architectures) {
  writer.launches = [this](flatbuffers::FlatBufferBuilder &builder, const std::string &symbol,
                           const Specs &specs) {
    operands[symbol] = specs;
    std::vector<flatbuffers::Offset<CudaLaunch>> table = {
        CreateCudaLaunchDirect(builder, (symbol + "_main").c_str(), 128, 1, kBlocks),
        CreateCudaLaunchDirect(builder, (symbol + "_sums").c_str(), 32, 0, 1)};
    return CreateCudaRowKernelDirect(builder, &table, sumOffset(specs, specs.size()), 0);
  };
  for (const std::string &architecture : architectures) {
    std::vector<unsigned char> image = fakecuda::image(architecture, {"*"});
    if (architecture.starts_with("compute_")) {
      std::string ptx = ".version 9.0\n.target sm_" + architecture.substr(8) + "\n.entry * (";
      image.assign(ptx.begin(), ptx.end());
    }
    writer.images.emplace_back(architecture, image);
  }
}

void FakeCode::registerKernels(const std::map<std::string, HostKernel> &functions) const {
  for (auto &[symbol, specs] : operands) {
    auto function = functions.find(symbol);
    if (function == functions.end())
      continue;
    std::vector<size_t> bytes(specs.size(), sizeof(void *));
    bytes.insert(bytes.end(), {sizeof(long long), sizeof(void *), sizeof(int)});
    fakecuda::registerKernel(
        symbol + "_main",
        {bytes,
         [specs, run = function->second](const Launch &launch) { runMain(specs, run, launch); },
         [specs](const Launch &launch) { return mainAccesses(specs, launch); }});
    fakecuda::registerKernel(
        symbol + "_sums", {bytes, [specs](const Launch &launch) { runSums(specs, launch); },
                           [specs](const Launch &launch) { return sumsAccesses(specs, launch); }});
  }
  registerAttention();
}

} // namespace seqpar::rt::test
