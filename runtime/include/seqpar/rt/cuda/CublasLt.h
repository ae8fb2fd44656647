//===- CublasLt.h - cuBLASLt, loaded at run time ----------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/cuda/Library.h"

#include <cublasLt.h>

#include <memory>
#include <string>

#define SEQPAR_CUBLASLT_FUNCTIONS(F)                                                               \
  F(cublasLtCreate)                                                                                \
  F(cublasLtDestroy)                                                                               \
  F(cublasLtGetVersion)                                                                            \
  F(cublasLtGetStatusName)                                                                         \
  F(cublasLtMatmul)                                                                                \
  F(cublasLtMatmulAlgoCheck)                                                                       \
  F(cublasLtMatmulAlgoGetHeuristic)                                                                \
  F(cublasLtMatmulDescCreate)                                                                      \
  F(cublasLtMatmulDescDestroy)                                                                     \
  F(cublasLtMatmulDescSetAttribute)                                                                \
  F(cublasLtMatmulPreferenceCreate)                                                                \
  F(cublasLtMatmulPreferenceDestroy)                                                               \
  F(cublasLtMatmulPreferenceSetAttribute)                                                          \
  F(cublasLtMatrixLayoutCreate)                                                                    \
  F(cublasLtMatrixLayoutDestroy)

namespace seqpar::rt::cuda {

/// A table of its functions, named as in cublasLt.h.
class CublasLt {
public:
  /// Loads libcublasLt.so of the toolkit's version that this was built with, or the library at
  /// `path`. Throws Error.
  explicit CublasLt(const std::string &path = "");

#define SEQPAR_DECLARE(name) decltype(&::name) name = nullptr;
  SEQPAR_CUBLASLT_FUNCTIONS(SEQPAR_DECLARE)
#undef SEQPAR_DECLARE

  /// Throws Error when a call has failed; `what` says what was tried.
  void check(cublasStatus_t status, const char *what) const;

private:
  Library library;
};

/// The one of this process: loaded once per path and kept as long as someone uses it.
std::shared_ptr<CublasLt> loadCublasLt(const std::string &path = "");

} // namespace seqpar::rt::cuda
