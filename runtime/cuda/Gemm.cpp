//===- Gemm.cpp - matrix products on a GPU --------------------------------===//
//
// cuBLASLt is column-major: a row-major [m, n] is a column-major [n, m] at the same place, so the
// product is computed as c^T = op(b)^T * op(a)^T, and what runs along n (bias) is what its
// epilogues add along rows.
//
//===----------------------------------------------------------------------===//

#include "seqpar/rt/cuda/Gemm.h"

#include <algorithm>
#include <bit>

namespace seqpar::rt::cuda {

namespace {

cudaDataType_t dataType(FloatType type) {
  return type == FloatType::F32 ? CUDA_R_32F : type == FloatType::BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

cublasLtEpilogue_t epilogueOf(GemmEpilogue epilogue) {
  switch (epilogue) {
  case GemmEpilogue::None:
    return CUBLASLT_EPILOGUE_DEFAULT;
  case GemmEpilogue::Bias:
    return CUBLASLT_EPILOGUE_BIAS;
  case GemmEpilogue::Gelu:
    return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
  case GemmEpilogue::GeluGradient:
    return CUBLASLT_EPILOGUE_DGELU;
  case GemmEpilogue::BiasGradient:
    return CUBLASLT_EPILOGUE_BGRADA; // b is cuBLASLt's first operand
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

bool usesBias(GemmEpilogue epilogue) {
  return epilogue == GemmEpilogue::Bias || epilogue == GemmEpilogue::Gelu ||
         epilogue == GemmEpilogue::BiasGradient;
}

bool usesSaved(GemmEpilogue epilogue) {
  return epilogue == GemmEpilogue::Gelu || epilogue == GemmEpilogue::GeluGradient;
}

/// Largest power of two, at most 16, that divides all addresses.
int64_t alignmentOf(const GemmCall &call) {
  auto bits = reinterpret_cast<uintptr_t>(call.a) | reinterpret_cast<uintptr_t>(call.b) |
              reinterpret_cast<uintptr_t>(call.c) | 16;
  return int64_t(1) << std::countr_zero(bits);
}

void checkCall(const GemmCall &call) {
  if (call.m < 0 || call.n < 0 || call.k < 0)
    fail("gemm: expected extents of at least 0, found m = {}, n = {}, k = {}", call.m, call.n,
         call.k);
  auto leading = [](const char *name, int64_t found, int64_t least) {
    if (found < least)
      fail("gemm: expected a leading dimension of at least {} for {}, found {}", least, name,
           found);
  };
  if (call.resultType != call.type && call.resultType != FloatType::F32)
    fail("gemm: expected a result of the operands' type or fp32");
  if (call.m == 0 || call.n == 0)
    return;
  leading("c", call.ldc, call.n);
  if (call.k == 0)
    return;
  leading("a", call.lda, call.transposeA ? call.m : call.k);
  leading("b", call.ldb, call.transposeB ? call.k : call.n);
  if (usesBias(call.epilogue) && !call.bias)
    fail("gemm: the epilogue needs a bias");
  if (usesSaved(call.epilogue) && (!call.saved || call.ldSaved < call.n || call.ldSaved % 8))
    fail("gemm: the epilogue needs a saved input with a leading dimension of at least {} that 8 "
         "divides, found {}",
         call.n, call.ldSaved);
}

} // namespace

Gemm::Gemm(const Context &context, std::shared_ptr<CublasLt> library,
           std::shared_ptr<AlgorithmCache> cache, bool tf32)
    : context(context), library(std::move(library)), cache(std::move(cache)), tf32(tf32) {
  context.use();
  this->library->check(this->library->cublasLtCreate(&handle), "cannot initialise cuBLASLt");
  workspace = context.allocate(kWorkspaceBytes);
}

Gemm::~Gemm() {
  for (auto &[key, plan] : plans)
    destroy(plan);
  if (context.tryUse())
    library->cublasLtDestroy(handle);
  context.release(workspace);
}

void Gemm::destroy(Plan &plan) const {
  if (plan.operation)
    library->cublasLtMatmulDescDestroy(plan.operation);
  for (cublasLtMatrixLayout_t layout : plan.layouts)
    if (layout)
      library->cublasLtMatrixLayoutDestroy(layout);
  plan = {};
}

Gemm::Key Gemm::keyOf(const GemmCall &call) {
  return {.extents = {call.m, call.n, call.k, call.lda, call.ldb, call.ldc,
                      usesSaved(call.epilogue) ? call.ldSaved : 0, alignmentOf(call)},
          .transposes = int(call.transposeA) + 2 * int(call.transposeB),
          .type = int(call.type),
          .resultType = int(call.resultType),
          .epilogue = int(call.epilogue),
          .accumulate = call.accumulate};
}

std::string Gemm::nameOf(const Key &key) const {
  constexpr const char *types[] = {"f32", "bf16", "f16"};
  constexpr const char *forms[] = {"nn", "tn", "nt", "tt"};
  constexpr const char *epilogues[] = {"", " bias", " gelu", " gelu-gradient", " bias-gradient"};
  const auto &e = key.extents;
  std::string saved =
      usesSaved(GemmEpilogue(key.epilogue)) ? fmt::format(" ld {}", e[6]) : std::string();
  return fmt::format("{} | cuBLASLt {} | {}{}{}{} {} {}x{}x{} ld {},{},{} align {}{}{}{}",
                     context.name(), library->cublasLtGetVersion(), types[key.type],
                     key.resultType == key.type ? "" : " to ",
                     key.resultType == key.type ? "" : types[key.resultType],
                     tf32 && key.type == int(FloatType::F32) ? " tf32" : "", forms[key.transposes],
                     e[0], e[1], e[2], e[3], e[4], e[5], e[7], epilogues[key.epilogue], saved,
                     key.accumulate ? " accumulate" : "");
}

void Gemm::describe(Plan &plan, const GemmCall &call) const {
  const CublasLt &lt = *library;
  bool fast = tf32 && call.type == FloatType::F32;
  lt.check(lt.cublasLtMatmulDescCreate(&plan.operation,
                                       fast ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                                       CUDA_R_32F),
           "cannot describe a product");
  auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto &value) {
    lt.check(lt.cublasLtMatmulDescSetAttribute(plan.operation, attribute, &value, sizeof(value)),
             "cannot describe a product");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, call.transposeB ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(CUBLASLT_MATMUL_DESC_TRANSB, call.transposeA ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogueOf(call.epilogue));
  if (usesSaved(call.epilogue))
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, call.ldSaved);
  auto layout = [&](size_t i, FloatType type, int64_t rows, int64_t columns, int64_t leading) {
    lt.check(lt.cublasLtMatrixLayoutCreate(&plan.layouts[i], dataType(type), uint64_t(rows),
                                           uint64_t(columns), leading),
             "cannot describe a matrix");
  };
  layout(0, call.type, call.transposeB ? call.k : call.n, call.transposeB ? call.n : call.k,
         call.ldb);
  layout(1, call.type, call.transposeA ? call.m : call.k, call.transposeA ? call.k : call.m,
         call.lda);
  layout(2, call.resultType, call.n, call.m, call.ldc);
  setPointers(plan, call);
}

// Some kernels are chosen by the alignment of these, so they are set before the search too.
void Gemm::setPointers(const Plan &plan, const GemmCall &call) const {
  auto set = [&](cublasLtMatmulDescAttributes_t attribute, void *value) {
    library->check(
        library->cublasLtMatmulDescSetAttribute(plan.operation, attribute, &value, sizeof(value)),
        "cannot describe a product");
  };
  if (usesBias(call.epilogue))
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.bias);
  if (usesSaved(call.epilogue))
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, call.saved);
}

cublasStatus_t Gemm::launch(const Plan &plan, const cublasLtMatmulAlgo_t &algorithm,
                            const GemmCall &call, void *c, const Stream &stream) const {
  float beta = call.accumulate ? 1.0f : 0.0f;
  return library->cublasLtMatmul(handle, plan.operation, &call.alpha, call.b, plan.layouts[0],
                                 call.a, plan.layouts[1], &beta, c, plan.layouts[2], c,
                                 plan.layouts[2], &algorithm, reinterpret_cast<void *>(workspace),
                                 kWorkspaceBytes, stream);
}

// Results go to memory of its own, so that c is computed once. Without room for it nothing is
// measured. Returns the fastest candidate.
int Gemm::measure(Plan &plan, const GemmCall &call, const Stream &stream,
                  const cublasLtMatmulHeuristicResult_t *candidates, int count,
                  std::array<double, kCandidates> &microseconds) {
  size_t bytes = size_t((call.m - 1) * call.ldc + call.n) * bytesOf(call.resultType);
  CUdeviceptr scratch = 0;
  if (context->cuMemAlloc(&scratch, bytes) != CUDA_SUCCESS)
    return -1;
  context->cuMemsetD8Async(scratch, 0, bytes, stream);
  Event begin(context, true), end(context, true);
  int best = -1;
  for (int i = 0; i < count; ++i) {
    microseconds[size_t(i)] = 0;
    bool good = true;
    for (int repeat = -1; repeat < kRepeats && good; ++repeat) {
      if (repeat == 0)
        begin.record(stream);
      good = launch(plan, candidates[i].algo, call, reinterpret_cast<void *>(scratch), stream) ==
             CUBLAS_STATUS_SUCCESS;
    }
    if (!good)
      continue;
    end.record(stream);
    end.synchronize();
    microseconds[size_t(i)] = double(end.since(begin)) * 1e3 / kRepeats;
    if (best < 0 || microseconds[size_t(i)] < microseconds[size_t(best)])
      best = i;
  }
  stream.synchronize();
  context.release(scratch);
  return best;
}

void Gemm::choose(Plan &plan, const GemmCall &call, const Stream &stream, bool mayMeasure) {
  const CublasLt &lt = *library;
  std::string name = nameOf(keyOf(call));
  if (std::optional<GemmAlgorithm> known = cache->find(name)) {
    std::copy(known->words.begin(), known->words.end(), plan.algorithm.data);
    cublasLtMatmulHeuristicResult_t result{};
    if (lt.cublasLtMatmulAlgoCheck(handle, plan.operation, plan.layouts[0], plan.layouts[1],
                                   plan.layouts[2], plan.layouts[2], &plan.algorithm,
                                   &result) == CUBLAS_STATUS_SUCCESS &&
        result.workspaceSize <= kWorkspaceBytes) {
      plan.measured = true;
      return;
    }
  }
  cublasLtMatmulPreference_t preference = nullptr;
  lt.check(lt.cublasLtMatmulPreferenceCreate(&preference), "cannot ask for an algorithm");
  auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto &value) {
    lt.cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value));
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t(kWorkspaceBytes));
  uint32_t alignment = uint32_t(alignmentOf(call));
  for (auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    prefer(attribute, alignment);
  std::array<cublasLtMatmulHeuristicResult_t, kCandidates> candidates{};
  int count = 0;
  cublasStatus_t status = lt.cublasLtMatmulAlgoGetHeuristic(
      handle, plan.operation, plan.layouts[0], plan.layouts[1], plan.layouts[2], plan.layouts[2],
      preference, kCandidates, candidates.data(), &count);
  lt.cublasLtMatmulPreferenceDestroy(preference);
  if (status != CUBLAS_STATUS_SUCCESS || count == 0)
    fail("gemm: cuBLASLt has no algorithm for {}: {}", name, lt.cublasLtGetStatusName(status));
  int best = 0;
  if (mayMeasure) {
    std::array<double, kCandidates> microseconds{};
    best = measure(plan, call, stream, candidates.data(), count, microseconds);
    if (best >= 0) {
      GemmAlgorithm found{{}, microseconds[size_t(best)], microseconds[0]};
      std::copy(std::begin(candidates[size_t(best)].algo.data),
                std::end(candidates[size_t(best)].algo.data), found.words.begin());
      cache->add(name, found);
    }
    plan.measured = true; // or there is no room to measure in
    best = std::max(best, 0);
  }
  plan.algorithm = candidates[size_t(best)].algo;
}

Gemm::Plan Gemm::prepare(const GemmCall &call, const Stream &stream, bool mayMeasure) {
  Plan plan;
  try {
    describe(plan, call);
    choose(plan, call, stream, mayMeasure);
  } catch (...) {
    destroy(plan);
    throw;
  }
  return plan;
}

void Gemm::run(const GemmCall &call, const Stream &stream, bool mayMeasure) {
  checkCall(call);
  if (call.m == 0 || call.n == 0)
    return;
  context.use();
  if (call.k == 0) {
    if (!call.accumulate)
      context.driver().check(context->cuMemsetD2D8Async(
                                 reinterpret_cast<CUdeviceptr>(call.c),
                                 size_t(call.ldc) * bytesOf(call.resultType), 0,
                                 size_t(call.n) * bytesOf(call.resultType), size_t(call.m), stream),
                             "cannot set memory");
    return;
  }
  Key key = keyOf(call);
  auto found = plans.find(key);
  if (found == plans.end())
    found = plans.emplace(key, prepare(call, stream, mayMeasure)).first;
  else if (!found->second.measured && mayMeasure)
    choose(found->second, call, stream, mayMeasure);
  setPointers(found->second, call);
  cublasStatus_t status = launch(found->second, found->second.algorithm, call, call.c, stream);
  if (status != CUBLAS_STATUS_SUCCESS)
    fail("gemm: cuBLASLt returned {} for {}", library->cublasLtGetStatusName(status), nameOf(key));
}

} // namespace seqpar::rt::cuda
