//===- FakeCublasLt.h - a stand-in for cuBLASLt -----------------*- C++ -*-===//
//
// Products by plain loops on the fake driver's streams. The heuristic offers three algorithms; what
// each takes on top of the loops is what the test says.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cublasLt.h>

#include <array>

namespace fakecublaslt {

struct Configuration {
  std::array<int, 3> extraMicroseconds{}; ///< of each algorithm, slept
  int offered = 3;                        ///< of the three
  cublasStatus_t heuristicStatus = CUBLAS_STATUS_SUCCESS;
  bool acceptsCached = true; ///< whether an algorithm that the heuristic has not just made is good
  bool computes = true;      ///< else products only tell what they read and write
};

void configure(const Configuration &configuration);
/// Calls of cublasLtMatmul with each algorithm since the last call of this.
std::array<int, 3> takeCounts();
/// Compute type of the last product.
cublasComputeType_t lastComputeType();

} // namespace fakecublaslt
