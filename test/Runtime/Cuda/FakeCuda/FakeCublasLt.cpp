#include "FakeCublasLt.h"

#include "FakeCuda.h"

#include "seqpar/rt/Float16.h"

#include <chrono>
#include <cmath>
#include <mutex>
#include <thread>
#include <utility>

namespace {

struct Layout {
  cudaDataType_t type;
  int64_t rows, columns, leading;
};

struct Operation {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cublasOperation_t transposeA = CUBLAS_OP_N, transposeB = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void *bias = nullptr, *saved = nullptr; // of the result's type
  int64_t ldSaved = 0;
};

std::mutex mutex;
fakecublaslt::Configuration configuration;
std::array<int, 3> counts{};
cublasComputeType_t computeType;

constexpr uint64_t kMark = 0x5e9;

size_t bytesOf(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }

float loadElement(cudaDataType_t type, const void *from, int64_t at) {
  if (type == CUDA_R_32F)
    return static_cast<const float *>(from)[at];
  uint16_t bits = static_cast<const uint16_t *>(from)[at];
  return type == CUDA_R_16BF ? seqpar::rt::fromBf16(bits) : seqpar::rt::fromF16(bits);
}

void storeElement(cudaDataType_t type, void *to, int64_t at, float value) {
  if (type == CUDA_R_32F)
    static_cast<float *>(to)[at] = value;
  else
    static_cast<uint16_t *>(to)[at] =
        type == CUDA_R_16BF ? seqpar::rt::toBf16(value) : seqpar::rt::toF16(value);
}

float gelu(float x) {
  return 0.5f * x * (1 + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x)));
}

float geluGradient(float x) {
  float inner = 0.7978845608f * (x + 0.044715f * x * x * x), t = std::tanh(inner);
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.7978845608f * (1 + 0.134145f * x * x);
}

struct Product {
  Operation operation;
  Layout a, b, d;
  const void *pa, *pb;
  void *pd;
  float alpha, beta;

  int64_t k() const { return operation.transposeA == CUBLAS_OP_N ? a.columns : a.rows; }

  float left(int64_t i, int64_t l) const {
    return loadElement(a.type, pa,
                       operation.transposeA == CUBLAS_OP_N ? l * a.leading + i : i * a.leading + l);
  }
  float right(int64_t l, int64_t j) const {
    return loadElement(b.type, pb,
                       operation.transposeB == CUBLAS_OP_N ? j * b.leading + l : l * b.leading + j);
  }

  void run() const {
    const Operation &o = operation;
    for (int64_t j = 0; j < d.columns; ++j)
      for (int64_t i = 0; i < d.rows; ++i) {
        double sum = 0;
        for (int64_t l = 0; l < k(); ++l)
          sum += double(left(i, l)) * double(right(l, j));
        int64_t at = j * d.leading + i;
        float value = alpha * float(sum) + (beta == 0 ? 0 : beta * loadElement(d.type, pd, at));
        if (o.epilogue == CUBLASLT_EPILOGUE_BIAS || o.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS)
          value += loadElement(d.type, o.bias, i);
        if (o.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS) {
          storeElement(d.type, o.saved, j * o.ldSaved + i, value);
          value = gelu(value);
        }
        if (o.epilogue == CUBLASLT_EPILOGUE_DGELU)
          value *= geluGradient(loadElement(d.type, o.saved, j * o.ldSaved + i));
        storeElement(d.type, pd, at, value);
      }
    for (int64_t i = 0; o.epilogue == CUBLASLT_EPILOGUE_BGRADA && i < d.rows; ++i) {
      float sum = 0;
      for (int64_t l = 0; l < k(); ++l)
        sum += left(i, l);
      storeElement(d.type, o.bias, i, sum);
    }
  }

  std::vector<fakecuda::Access> accesses() const {
    std::vector<fakecuda::Access> result;
    // Of what is only read, the gaps between columns count too.
    auto matrix = [&](const void *memory, const Layout &layout, bool write, bool read = true) {
      if (layout.rows == 0 || layout.columns == 0)
        return;
      int64_t gap = layout.leading - layout.rows;
      int64_t parts = write && gap ? layout.columns : 1;
      int64_t length =
          parts == 1 ? (layout.columns - 1) * layout.leading + layout.rows : layout.rows;
      for (int64_t i = 0; i < parts; ++i) {
        size_t element = bytesOf(layout.type), bytes = size_t(length) * element;
        auto *begin = static_cast<const char *>(memory) + size_t(i * layout.leading) * element;
        if (read)
          result.push_back(fakecuda::reads(begin, bytes));
        if (write)
          result.push_back(fakecuda::writes(begin, bytes));
      }
    };
    matrix(pa, a, false);
    matrix(pb, b, false);
    matrix(pd, d, true, beta != 0);
    const Operation &o = operation;
    size_t rowBytes = size_t(d.rows) * bytesOf(d.type);
    if (o.epilogue == CUBLASLT_EPILOGUE_BIAS || o.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS)
      result.push_back(fakecuda::reads(o.bias, rowBytes));
    if (o.epilogue == CUBLASLT_EPILOGUE_BGRADA)
      result.push_back(fakecuda::writes(o.bias, rowBytes));
    if (o.saved)
      matrix(o.saved, {d.type, d.rows, d.columns, o.ldSaved},
             o.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
             o.epilogue != CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
    return result;
  }
};

/// What cuBLASLt's table of types has and these loops know: a and b of one type, c and d of that
/// type or fp32, sums in fp32.
bool hasTypes(const Operation &o, const Layout &a, const Layout &b, const Layout &c,
              const Layout &d) {
  bool known = a.type == CUDA_R_32F || a.type == CUDA_R_16BF || a.type == CUDA_R_16F;
  return known && a.type == b.type && c.type == d.type &&
         (d.type == a.type || d.type == CUDA_R_32F) &&
         (a.type == CUDA_R_32F || o.compute == CUBLAS_COMPUTE_32F);
}

bool fits(const Operation &o, const Layout &a, const Layout &b, const Layout &d) {
  bool plainA = o.transposeA == CUBLAS_OP_N, plainB = o.transposeB == CUBLAS_OP_N;
  return (plainA ? a.rows : a.columns) == d.rows && (plainB ? b.columns : b.rows) == d.columns &&
         (plainA ? a.columns : a.rows) == (plainB ? b.rows : b.columns) && a.leading >= a.rows &&
         b.leading >= b.rows && d.leading >= d.rows;
}

template <typename T, typename Handle> T &as(Handle handle) {
  return *reinterpret_cast<T *>(handle);
}

} // namespace

namespace fakecublaslt {

void configure(const Configuration &wanted) {
  std::lock_guard lock(mutex);
  configuration = wanted;
  counts = {};
}

std::array<int, 3> takeCounts() {
  std::lock_guard lock(mutex);
  return std::exchange(counts, {});
}

cublasComputeType_t lastComputeType() {
  std::lock_guard lock(mutex);
  return computeType;
}

} // namespace fakecublaslt

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(new int(0));
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<int *>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion() { return CUBLAS_VERSION; }

const char *cublasLtGetStatusName(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS         ? "CUBLAS_STATUS_SUCCESS"
         : status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
                                                 : "CUBLAS_STATUS_OF_THE_FAKE";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *operation,
                                        cublasComputeType_t compute, cudaDataType_t) {
  auto *created = new Operation;
  created->compute = compute;
  *operation = reinterpret_cast<cublasLtMatmulDesc_t>(created);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  delete &as<Operation>(operation);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t size) {
  auto &o = as<Operation>(operation);
  auto set = [&](auto &field) {
    if (size != sizeof(field))
      return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&field, value, size);
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (attribute) {
  case CUBLASLT_MATMUL_DESC_TRANSA:
    return set(o.transposeA);
  case CUBLASLT_MATMUL_DESC_TRANSB:
    return set(o.transposeB);
  case CUBLASLT_MATMUL_DESC_EPILOGUE:
    return set(o.epilogue);
  case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
    return set(o.bias);
  case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
    return set(o.saved);
  case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
    return set(o.ldSaved);
  default:
    return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new int(0));
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete reinterpret_cast<int *>(preference);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t,
                                                    const void *, size_t) {
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType_t type,
                                          uint64_t rows, uint64_t columns, int64_t leading) {
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(
      new Layout{type, int64_t(rows), int64_t(columns), leading});
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete &as<Layout>(layout);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t, int wanted,
                                              cublasLtMatmulHeuristicResult_t *results,
                                              int *found) {
  std::lock_guard lock(mutex);
  *found = 0;
  if (configuration.heuristicStatus != CUBLAS_STATUS_SUCCESS)
    return configuration.heuristicStatus;
  if (!fits(as<Operation>(operation), as<Layout>(a), as<Layout>(b), as<Layout>(d)) ||
      !hasTypes(as<Operation>(operation), as<Layout>(a), as<Layout>(b), as<Layout>(c),
                as<Layout>(d)))
    return CUBLAS_STATUS_INVALID_VALUE;
  for (int i = 0; i < configuration.offered && i < wanted; ++i) {
    results[i] = {};
    results[i].algo.data[0] = uint64_t(i);
    results[i].algo.data[7] = kMark;
    results[i].state = CUBLAS_STATUS_SUCCESS;
    ++*found;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                       const cublasLtMatmulAlgo_t *algorithm,
                                       cublasLtMatmulHeuristicResult_t *result) {
  std::lock_guard lock(mutex);
  *result = {};
  bool good = configuration.acceptsCached && algorithm->data[7] == kMark && algorithm->data[0] < 3;
  return good ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t aLayout, const void *b,
                              cublasLtMatrixLayout_t bLayout, const void *beta, const void *c,
                              cublasLtMatrixLayout_t cLayout, void *d,
                              cublasLtMatrixLayout_t dLayout, const cublasLtMatmulAlgo_t *algorithm,
                              void *, size_t, cudaStream_t stream) {
  Product product{as<Operation>(operation),
                  as<Layout>(aLayout),
                  as<Layout>(bLayout),
                  as<Layout>(dLayout),
                  a,
                  b,
                  d,
                  *static_cast<const float *>(alpha),
                  *static_cast<const float *>(beta)};
  // The runtime has c and d in one place.
  if (c != d || algorithm->data[7] != kMark ||
      !hasTypes(product.operation, product.a, product.b, as<Layout>(cLayout), product.d) ||
      !fits(product.operation, product.a, product.b, product.d))
    return CUBLAS_STATUS_INVALID_VALUE;
  int extra;
  bool computes;
  {
    std::lock_guard lock(mutex);
    ++counts[algorithm->data[0]];
    computeType = product.operation.compute;
    extra = configuration.extraMicroseconds[algorithm->data[0]];
    computes = configuration.computes;
  }
  CUresult result =
      fakecuda::issue(reinterpret_cast<CUstream>(stream), "product", product.accesses(), [=] {
        if (computes)
          product.run();
        if (extra)
          std::this_thread::sleep_for(std::chrono::microseconds(extra));
      });
  return result == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

} // extern "C"
