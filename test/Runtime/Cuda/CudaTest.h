//===- CudaTest.h - tests on the fake driver --------------------*- C++ -*-===//
#pragma once

#include "FakeCuda/FakeCublasLt.h"
#include "FakeCuda/FakeCuda.h"
#include "FakeKernels.h"
#include "TestPaths.h"

#include "seqpar/rt/Error.h"
#include "seqpar/rt/cuda/CudaDevice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace seqpar::rt::test {

/// The fakes in the libraries' places; nothing is kept in files.
inline CudaOptions fakeOptions(int device = 0) {
  CudaOptions options;
  options.device = device;
  options.driver = SEQPAR_FAKE_CUDA;
  options.cublasLt = SEQPAR_FAKE_CUBLASLT;
  options.nccl = SEQPAR_FAKE_NCCL;
  return options;
}

/// Starts with a fresh fake and ends with the check that nothing was wrong with it.
class CudaTest : public testing::Test {
protected:
  void SetUp() override {
    fakecuda::reset();
    fakecublaslt::configure({});
  }
  void TearDown() override {
    EXPECT_THAT(fakecuda::takeProblems(), testing::IsEmpty());
    EXPECT_EQ(fakecuda::allocatedBytes(), 0u);
    fakecuda::reset();
  }
};

/// Does what another device does.
class ForwardingDevice : public Device {
public:
  explicit ForwardingDevice(std::unique_ptr<Device> device) : device(std::move(device)) {}

  std::string name() const override { return device->name(); }
  void loadKernels(const program::Program &program) override { device->loadKernels(program); }
  void *allocate(size_t bytes) override { return device->allocate(bytes); }
  void release(void *memory) override { device->release(memory); }
  bool hasHostMemory() const override { return device->hasHostMemory(); }
  void copyToDevice(void *to, const void *from, size_t bytes) override {
    device->copyToDevice(to, from, bytes);
  }
  void copyToHost(void *to, const void *from, size_t bytes) override {
    device->copyToHost(to, from, bytes);
  }
  void zero(void *memory, size_t bytes) override { device->zero(memory, bytes); }
  void gemm(const GemmArgs &args) override { device->gemm(args); }
  void rowKernel(const RowKernelArgs &args) override { device->rowKernel(args); }
  void attentionForward(const AttentionForwardArgs &args) override {
    device->attentionForward(args);
  }
  void attentionBackward(const AttentionBackwardArgs &args) override {
    device->attentionBackward(args);
  }
  void synchronize() override { device->synchronize(); }
  bool canRecord() const override { return device->canRecord(); }
  void beginRecording() override { device->beginRecording(); }
  Recording endRecording() override { return device->endRecording(); }
  void replay(Recording recording) override { device->replay(recording); }
  void cancelRecording() noexcept override { device->cancelRecording(); }
  std::unique_ptr<Communicator> exchange(std::unique_ptr<Communicator> host) override {
    return device->exchange(std::move(host));
  }

protected:
  std::unique_ptr<Device> device;
};

/// What a function throws; empty when it returns.
template <typename Body> std::string errorOf(const Body &body) {
  try {
    body();
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

} // namespace seqpar::rt::test
