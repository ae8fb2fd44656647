#include "seqpar/rt/cuda/Attention.h"

#include "seqpar/rt/AttentionCheck.h"
#include "seqpar/rt/Philox.h"

#include <limits>

namespace seqpar::rt::cuda {

using ::seqpar::cuda::attentionEntry;
using ::seqpar::cuda::attentionGrid;
using ::seqpar::cuda::AttentionStorage;
using ::seqpar::cuda::attentionSupports;
using ::seqpar::cuda::attentionSupportsWarpgroup;
using ::seqpar::cuda::attentionTiling;
using ::seqpar::cuda::attentionWarpgroup;

namespace {

int narrow(int64_t value, const char *name) {
  if (value > std::numeric_limits<int>::max())
    fail("attention: {} is {}, expected a number of 31 bits", name, value);
  return int(value);
}

/// What both directions have.
template <typename Args>
::seqpar::cuda::AttentionParameters commonParameters(const Args &args, DropoutWords words) {
  checkAttention(args.shape, args.dropout);
  const AttentionShape &shape = args.shape;
  const AttentionDropout &dropout = args.dropout;
  if (shape.batch > 65535 || shape.heads > 65535)
    fail("attention: expected at most 65535 samples and heads, found {} and {}", shape.batch,
         shape.heads);
  ::seqpar::cuda::AttentionParameters p{};
  p.q = args.q;
  p.k = args.k;
  p.v = args.v;
  p.mask = args.mask;
  p.lse = const_cast<float *>(args.lse);
  p.initialize = args.initialize;
  p.batch = int(shape.batch);
  p.heads = int(shape.heads);
  p.queries = narrow(shape.queries, "the number of queries");
  p.keys = narrow(shape.keys, "the number of keys");
  p.maskLength = narrow(shape.maskLength, "the length of the mask");
  p.maskOffset = int(shape.maskOffset);
  p.scale = shape.scale;
  if (dropout.rate == 0)
    return p;
  p.samples = dropout.samples;
  p.seed = words.seed;
  p.step = words.step;
  p.site = dropout.site;
  p.threshold = dropoutThreshold(dropout.rate);
  p.keptScale = 1 / (1 - dropout.rate);
  p.queryOffset = unsigned(dropout.queryOffset);
  p.keyOffset = unsigned(dropout.keyOffset);
  return p;
}

template <typename Args>::seqpar::cuda::AttentionConfig configOf(const Args &args) {
  AttentionStorage storage = args.type == FloatType::F32    ? AttentionStorage::F32
                             : args.type == FloatType::BF16 ? AttentionStorage::BF16
                                                            : AttentionStorage::F16;
  int headDim = int(args.shape.headDim);
  if (!attentionSupports(storage, headDim))
    fail("attention: expected a head dimension up to 128 that 8 divides for 16 bits, found {}",
         headDim);
  return {storage, headDim, args.dropout.rate > 0};
}

} // namespace

const Attention::Chosen &Attention::choose(Kernel kernel, const Config &config) {
  bool dropout = config.dropout && kernel != Kernel::Delta;
  auto key = std::make_tuple(int(kernel), int(config.storage), config.headDim, dropout);
  if (auto found = functions.find(key); found != functions.end())
    return found->second;
  CUfunction function = nullptr;
  if (attentionSupportsWarpgroup(config.storage, config.headDim))
    function = images.find(attentionEntry(attentionWarpgroup(kernel), config));
  if (function)
    kernel = attentionWarpgroup(kernel);
  else
    function = images.get(attentionEntry(kernel, config));
  int shared = attentionTiling(kernel, config).sharedBytes;
  if (shared > 48 * 1024)
    context.driver().check(context->cuFuncSetAttribute(
                               function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared),
                           "cannot give an attention kernel its shared memory");
  return functions[key] = {kernel, function};
}

void Attention::launch(Kernel kernel, const Config &config, Parameters &parameters,
                       const Stream &stream) {
  const Chosen &chosen = choose(kernel, config);
  auto tiling = attentionTiling(chosen.kernel, config);
  auto grid = attentionGrid(chosen.kernel, config, parameters);
  void *arguments[] = {&parameters};
  CUresult result =
      context->cuLaunchKernel(chosen.function, grid.x, grid.y, grid.z, unsigned(tiling.threads()),
                              1, 1, unsigned(tiling.sharedBytes), stream, arguments, nullptr);
  if (result != CUDA_SUCCESS)
    fail("{}: cannot be launched: {}", attentionEntry(chosen.kernel, config),
         context.driver().describe(result));
}

void Attention::forward(const AttentionForwardArgs &args, DropoutWords words,
                        const Stream &stream) {
  Parameters p = commonParameters(args, words);
  checkOutType(args);
  Config config = configOf(args);
  // A result of fp32 is the accumulator: the kernels for fp32 finish it in place, those for 16 bits
  // do without a result of their own.
  if (args.outType == FloatType::F32)
    p.accumulator = static_cast<float *>(args.out);
  if (args.outType == args.type)
    p.out = args.out;
  p.sum = args.sum;
  p.finish = args.finish;
  launch(Kernel::Forward, config, p, stream);
}

void Attention::backward(const AttentionBackwardArgs &args, DropoutWords words,
                         const Stream &stream) {
  Parameters p = commonParameters(args, words);
  Config config = configOf(args);
  p.out = const_cast<void *>(args.out);
  p.dout = args.dout;
  p.delta = args.delta;
  p.dq = args.dq;
  p.dk = args.dk;
  p.dv = args.dv;
  p.accumulateKV = args.accumulateKV;
  if (args.initialize)
    launch(Kernel::Delta, config, p, stream);
  launch(Kernel::BackwardKeys, config, p, stream);
  launch(Kernel::BackwardQueries, config, p, stream);
}

} // namespace seqpar::rt::cuda
