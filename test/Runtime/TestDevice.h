//===- TestDevice.h - a plain device for tests of the executor --*- C++ -*-===//
#pragma once

#include "seqpar/rt/Device.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace seqpar::rt::test {

/// What a row kernel does with its operands on rows [0, rows).
using TestKernel = std::function<void(void *const *operands, int64_t rows)>;
using TestKernels = std::map<std::string, TestKernel>;

/// Plain loops; row kernels are functions found by their symbol. Outputs summed over rows are
/// zeroed first unless the launch accumulates. `attentions` keeps the arguments of every attention
/// call. `hostMemory` is what hasHostMemory() answers: with it, ranks that are threads and share
/// the update have one copy of the parameters; without it, one each, as on GPUs.
class TestDevice : public Device {
public:
  explicit TestDevice(TestKernels kernels, bool hostMemory = true)
      : kernels(std::move(kernels)), hostMemory(hostMemory) {
    attentions.reserve(256);
  }

  std::string name() const override { return "test"; }
  void loadKernels(const program::Program &program) override;
  void *allocate(size_t bytes) override;
  void release(void *memory) override;
  bool hasHostMemory() const override { return hostMemory; }
  void copyToDevice(void *to, const void *from, size_t bytes) override;
  void copyToHost(void *to, const void *from, size_t bytes) override;
  void zero(void *memory, size_t bytes) override;
  void gemm(const GemmArgs &args) override;
  void rowKernel(const RowKernelArgs &args) override;
  void attentionForward(const AttentionForwardArgs &args) override;
  void attentionBackward(const AttentionBackwardArgs &args) override;
  void synchronize() override {}

  struct Attention {
    bool backward;
    int64_t maskOffset;
    bool initialize, finish, accumulateKV;
    AttentionDropout dropout;
  };
  std::vector<Attention> attentions;

private:
  void keep(const Attention &attention) {
    if (attentions.size() < attentions.capacity())
      attentions.push_back(attention);
  }
  struct Loaded {
    TestKernel run;
    std::vector<std::pair<size_t, int64_t>> sums; ///< operand, columns
  };
  TestKernels kernels;
  bool hostMemory;
  std::vector<Loaded> loaded;
};

} // namespace seqpar::rt::test
