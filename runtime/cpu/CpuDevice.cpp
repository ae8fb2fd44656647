//===- CpuDevice.cpp - the host's cores as a device -----------------------===//

#include "seqpar/program/program_generated.h"
#include "seqpar/rt/Device.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/cpu/Attention.h"
#include "seqpar/rt/cpu/Gemm.h"
#include "seqpar/rt/cpu/RowKernels.h"
#include "seqpar/rt/cpu/Scratch.h"
#include "seqpar/rt/cpu/ThreadPool.h"

#include <cstring>

namespace seqpar::rt {

namespace {

const AttentionTiles &attentionTiles(const std::string &target) {
  return (target.empty() ? hostTarget() : target) == "x86-64-v4" ? kAttentionTilesAvx512
                                                                 : kAttentionTilesAvx2;
}

class CpuDevice final : public Device {
public:
  CpuDevice(int threads, const std::string &target)
      : target(target), pool(threads), products(pool), attention(pool, attentionTiles(target)) {}

  std::string name() const override {
    return fmt::format("cpu ({} thread{}, {})", pool.threads(), pool.threads() == 1 ? "" : "s",
                       target.empty() ? hostTarget() : target);
  }

  void loadKernels(const program::Program &program) override {
    kernels = std::make_unique<RowKernels>(pool, program, target);
  }

  void *allocate(size_t bytes) override { return allocateAligned(bytes); }
  void release(void *memory) override { freeAligned(memory); }
  bool hasHostMemory() const override { return true; }

  void copyToDevice(void *to, const void *from, size_t bytes) override { copy(to, from, bytes); }
  void copyToHost(void *to, const void *from, size_t bytes) override { copy(to, from, bytes); }

  void zero(void *memory, size_t bytes) override {
    inParts(bytes, [&](size_t begin, size_t size) {
      std::memset(static_cast<char *>(memory) + begin, 0, size);
    });
  }

  void gemm(const GemmArgs &args) override { products.run(args); }

  void rowKernel(const RowKernelArgs &args) override {
    if (!kernels)
      fail("expected loadKernels before the first kernel");
    kernels->run(args);
  }

  void attentionForward(const AttentionForwardArgs &args) override { attention.forward(args); }
  void attentionBackward(const AttentionBackwardArgs &args) override { attention.backward(args); }

  void synchronize() override {}

private:
  /// Large ranges are worth the help of the other threads.
  template <typename Body> void inParts(size_t bytes, Body body) {
    constexpr size_t part = size_t(1) << 20;
    if (bytes <= part)
      return bytes ? body(size_t(0), bytes) : void();
    pool.parallelFor((bytes + part - 1) / part, [&](int64_t begin, int64_t end, int) {
      body(begin * part, std::min(end * part, bytes) - begin * part);
    });
  }

  void copy(void *to, const void *from, size_t bytes) {
    inParts(bytes, [&](size_t begin, size_t size) {
      std::memcpy(static_cast<char *>(to) + begin, static_cast<const char *>(from) + begin, size);
    });
  }

  std::string target;
  ThreadPool pool;
  CpuGemm products;
  CpuAttention attention;
  std::unique_ptr<RowKernels> kernels;
};

} // namespace

std::unique_ptr<Device> createCpuDevice(int threads, const std::string &target) {
  if (!target.empty() && target != "x86-64-v4" && target != "x86-64-v3")
    fail("expected the CPU target x86-64-v4 or x86-64-v3, found {}", target);
  if (!target.empty() && !hostSupports(target))
    fail("this processor does not support the CPU target {}; its best is {}", target, hostTarget());
  hostTarget(); // fails on processors without any target
  return std::make_unique<CpuDevice>(threads, target);
}

} // namespace seqpar::rt
