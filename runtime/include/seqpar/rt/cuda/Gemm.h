//===- Gemm.h - matrix products on a GPU ------------------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Device.h"
#include "seqpar/rt/cuda/AlgorithmCache.h"
#include "seqpar/rt/cuda/Context.h"
#include "seqpar/rt/cuda/CublasLt.h"

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>

namespace seqpar::rt::cuda {

/// What is done with a result before it is stored. The GeLU is cuBLASLt's, the tanh form.
enum class GemmEpilogue : int {
  None,
  Bias,         ///< c = product + bias[n]
  Gelu,         ///< saved = product + bias[n]; c = gelu(saved)
  GeluGradient, ///< c = product * gelu'(saved)
  BiasGradient, ///< c = product; bias[n] = sum over k of b: n is b's free extent
};

/// One product, as GemmArgs describe it.
struct GemmCall {
  const void *a, *b;
  void *c;
  int64_t m, n, k;
  bool transposeA, transposeB;
  int64_t lda, ldb, ldc;
  float alpha = 1;
  bool accumulate = false;
  FloatType type = FloatType::F32;       ///< of a and b; sums are fp32
  FloatType resultType = FloatType::F32; ///< of c, bias and saved input
  GemmEpilogue epilogue = GemmEpilogue::None;
  void *bias = nullptr;  ///< [n]
  void *saved = nullptr; ///< [m, n], leading dimension a multiple of 8
  int64_t ldSaved = 0;
};

/// Products through cuBLASLt. The first call of a shape takes an algorithm from the cache, or
/// measures the heuristic's candidates and takes the fastest; later ones find all prepared and
/// allocate nothing. fp32 products do not use TF32 unless asked to.
class Gemm {
public:
  static constexpr size_t kWorkspaceBytes = size_t(32) << 20;
  static constexpr int kCandidates = 8, kRepeats = 5;

  Gemm(const Context &context, std::shared_ptr<CublasLt> library,
       std::shared_ptr<AlgorithmCache> cache, bool tf32);
  ~Gemm();
  Gemm(const Gemm &) = delete;
  Gemm &operator=(const Gemm &) = delete;

  /// `mayMeasure`: the calling thread may wait for the GPU. Throws Error when a leading dimension
  /// is smaller than its row, or cuBLASLt has no algorithm.
  void run(const GemmCall &call, const Stream &stream, bool mayMeasure);

private:
  /// What an algorithm depends on.
  struct Key {
    std::array<int64_t, 8> extents; ///< m, n, k, leading dimensions, of the saved input; alignment
    int transposes, type, resultType, epilogue;
    bool accumulate;
    auto operator<=>(const Key &) const = default;
  };
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    std::array<cublasLtMatrixLayout_t, 3> layouts{}; ///< of b, a and c: column-major, transposed
    cublasLtMatmulAlgo_t algorithm{};
    bool measured = false;
  };

  static Key keyOf(const GemmCall &call);
  std::string nameOf(const Key &key) const;
  Plan prepare(const GemmCall &call, const Stream &stream, bool mayMeasure);
  void describe(Plan &plan, const GemmCall &call) const;
  void setPointers(const Plan &plan, const GemmCall &call) const;
  void choose(Plan &plan, const GemmCall &call, const Stream &stream, bool mayMeasure);
  int measure(Plan &plan, const GemmCall &call, const Stream &stream,
              const cublasLtMatmulHeuristicResult_t *candidates, int count,
              std::array<double, kCandidates> &microseconds);
  cublasStatus_t launch(const Plan &plan, const cublasLtMatmulAlgo_t &algorithm,
                        const GemmCall &call, void *c, const Stream &stream) const;
  void destroy(Plan &plan) const;

  const Context &context;
  std::shared_ptr<CublasLt> library;
  std::shared_ptr<AlgorithmCache> cache;
  const bool tf32;
  cublasLtHandle_t handle = nullptr;
  CUdeviceptr workspace = 0;
  std::map<Key, Plan> plans;
};

} // namespace seqpar::rt::cuda
