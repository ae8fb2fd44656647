//===- HostAttention.cpp - the CUDA attention kernels on the host ---------===//

#include "HostAttention.h"

#include "HostPtx.h"

#include "seqpar/rt/AttentionCheck.h"
#include "seqpar/rt/Philox.h"

#include <cstdlib>
#include <vector>

namespace seqpar::rt::test {

using namespace cuda;

namespace {

uint16_t toBits(AttentionStorage storage, float value) {
  return storage == AttentionStorage::BF16 ? hostcuda::toBfloatBits(value)
                                           : hostcuda::toHalfBits(value);
}
float fromBits(AttentionStorage storage, uint16_t bits) {
  return storage == AttentionStorage::BF16 ? hostcuda::fromBfloatBits(bits)
                                           : hostcuda::fromHalfBits(bits);
}

const HostKernels &findKernels(const AttentionConfig &config) {
  const std::vector<HostKernels> *all[] = {&kHostKernelsF32, &kHostKernelsBF16, &kHostKernelsF16};
  for (const HostKernels &each : *all[int(config.storage)])
    if (each.config.headDim == config.headDim && each.config.dropout == config.dropout)
      return each;
  fail("{} is not compiled for the host", attentionEntry(AttentionKernel::Forward, config));
}

class HostAttention final : public Device {
public:
  HostAttention(AttentionStorage storage, const HostAttentionOptions &options)
      : storage(storage), options(options) {}

  std::string name() const override { return "CUDA text on the host"; }
  void loadKernels(const program::Program &) override { fail("no row kernels here"); }
  void *allocate(size_t bytes) override { return std::aligned_alloc(64, (bytes + 63) / 64 * 64); }
  void release(void *memory) override { std::free(memory); }
  void copyToDevice(void *to, const void *from, size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void copyToHost(void *to, const void *from, size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void zero(void *memory, size_t bytes) override { std::memset(memory, 0, bytes); }
  void gemm(const GemmArgs &) override { fail("no products here"); }
  void rowKernel(const RowKernelArgs &) override { fail("no row kernels here"); }
  void synchronize() override {}

  void attentionForward(const AttentionForwardArgs &args) override {
    checkAttention(args.shape, args.dropout);
    AttentionParameters p = parameters(args.shape, args.q, args.k, args.v, args.mask, args.dropout);
    auto *result = static_cast<float *>(args.out);
    p.accumulator = result;
    p.out = result;
    p.lse = args.lse;
    p.sum = args.sum;
    p.initialize = args.initialize;
    p.finish = args.finish;
    bool narrow = storage != AttentionStorage::F32 && !options.floatOut;
    // With one block there is no state.
    if (args.initialize && args.finish)
      p.sum = nullptr;
    if (args.initialize && args.finish && !options.floatOut)
      p.accumulator = nullptr;
    std::vector<uint16_t> out(narrow ? queryElements(args.shape) : 0);
    if (storage != AttentionStorage::F32)
      p.out = narrow ? out.data() : nullptr;
    launch(AttentionKernel::Forward, args.shape, args.dropout, p);
    if (args.finish)
      for (size_t i = 0; i < out.size(); ++i)
        result[i] = fromBits(storage, out[i]);
  }

  void attentionBackward(const AttentionBackwardArgs &args) override {
    checkAttention(args.shape, args.dropout);
    AttentionParameters p = parameters(args.shape, args.q, args.k, args.v, args.mask, args.dropout);
    p.out = const_cast<void *>(operand(3, args.out, queryElements(args.shape)));
    p.dout = operand(4, args.dout, queryElements(args.shape));
    p.lse = const_cast<float *>(args.lse);
    p.delta = args.delta;
    p.dq = args.dq;
    p.dk = args.dk;
    p.dv = args.dv;
    p.initialize = args.initialize;
    p.accumulateKV = args.accumulateKV;
    if (args.initialize)
      launch(AttentionKernel::Delta, args.shape, args.dropout, p);
    launch(AttentionKernel::BackwardKeys, args.shape, args.dropout, p);
    launch(AttentionKernel::BackwardQueries, args.shape, args.dropout, p);
  }

private:
  static size_t queryElements(const AttentionShape &s) {
    return size_t(s.batch * s.queries * s.heads * s.headDim);
  }

  /// An operand in the storage type.
  const void *operand(int number, const void *fp32, size_t count) {
    if (storage == AttentionStorage::F32)
      return fp32;
    auto *values = static_cast<const float *>(fp32);
    // Of exactly this size: reading past the end is seen by the address sanitizer.
    rounded[number] = std::vector<uint16_t>(count);
    for (size_t i = 0; i < count; ++i)
      rounded[number][i] = toBits(storage, values[i]);
    return rounded[number].data();
  }

  AttentionParameters parameters(const AttentionShape &s, const void *q, const void *k,
                                 const void *v, const int32_t *mask, const AttentionDropout &d) {
    AttentionParameters p = {};
    size_t keyElements = size_t(s.batch * s.keys * s.heads * s.headDim);
    p.q = operand(0, q, queryElements(s));
    p.k = operand(1, k, keyElements);
    p.v = operand(2, v, keyElements);
    p.mask = mask;
    p.batch = int(s.batch);
    p.heads = int(s.heads);
    p.queries = int(s.queries);
    p.keys = int(s.keys);
    p.maskLength = int(s.maskLength);
    p.maskOffset = int(s.maskOffset);
    p.scale = s.scale;
    seed = d.seed;
    step = d.step;
    p.samples = d.samples;
    p.seed = &seed;
    p.step = &step;
    p.site = d.site;
    p.threshold = dropoutThreshold(d.rate);
    p.keptScale = 1.0f / (1.0f - d.rate);
    p.queryOffset = unsigned(d.queryOffset);
    p.keyOffset = unsigned(d.keyOffset);
    return p;
  }

  void launch(AttentionKernel kernel, const AttentionShape &s, const AttentionDropout &d,
              const AttentionParameters &p) {
    AttentionConfig config = {storage, int(s.headDim), d.rate > 0};
    if (options.warpgroup)
      kernel = attentionWarpgroup(kernel);
    AttentionTiling tiling = attentionTiling(kernel, config);
    AttentionGrid grid = attentionGrid(kernel, config, p);
    hostcuda::order = options.order;
    cuda::host::reset();
    cuda::host::copiesAreEarly = options.order % 2 == 1;
    hostcuda::launch(findKernels(config).kernels[int(kernel)], {grid.x, grid.y, grid.z},
                     {unsigned(tiling.threads())}, size_t(tiling.sharedBytes), p);
    if (size_t pending = cuda::host::pendingCopies())
      fail("{} left {} copies running", attentionEntry(kernel, config), pending);
  }

  AttentionStorage storage;
  HostAttentionOptions options;
  std::vector<uint16_t> rounded[5];
  unsigned seed = 0, step = 0;
};

} // namespace

float roundTo(AttentionStorage storage, float value) {
  return storage == AttentionStorage::F32 ? value : fromBits(storage, toBits(storage, value));
}

std::unique_ptr<Device> createHostAttention(AttentionStorage storage,
                                            const HostAttentionOptions &options) {
  return std::make_unique<HostAttention>(storage, options);
}

} // namespace seqpar::rt::test
