//===- CudaTest.h - tests on the fake driver --------------------*- C++ -*-===//
#pragma once

#include "FakeCuda/FakeCublasLt.h"
#include "FakeCuda/FakeCuda.h"
#include "FakeKernels.h"

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
