//===- DeviceKernels.h - a program of the device tests' kernels -*- C++ -*-===//
#pragma once

#include "ProgramBuilder.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace seqpar::rt::test {

/// Numbers of the kernels in DeviceKernels.c, and its extents.
enum TestKernel { ScaleAndBias = 0, SumRows = 1, Gather = 2, ScatterAdd = 3 };
inline constexpr int64_t kColumns = 40, kRowsOfTable = 9;

/// Operands of one of them.
const std::vector<KernelOperandSpec> &kernelOperands(TestKernel kernel);

/// A shared object for one CPU target.
struct CpuImage {
  std::string target;
  std::vector<uint8_t> object;
};

/// A finished program file with the table of those kernels and these images. `missing`: also names
/// a kernel that no image has.
std::vector<uint8_t> buildKernelProgram(const std::vector<CpuImage> &images, bool missing = false,
                                        const CudaWriter *cuda = nullptr);

} // namespace seqpar::rt::test
