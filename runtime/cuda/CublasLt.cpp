#include "seqpar/rt/cuda/CublasLt.h"

#include "seqpar/rt/Error.h"

#include <map>
#include <mutex>

namespace seqpar::rt::cuda {

CublasLt::CublasLt(const std::string &path)
    : library(path, {fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR), "libcublasLt.so"},
              "the CUDA device") {
#define SEQPAR_LOAD(function)                                                                      \
  function = reinterpret_cast<decltype(function)>(library.symbol(#function));
  SEQPAR_CUBLASLT_FUNCTIONS(SEQPAR_LOAD)
#undef SEQPAR_LOAD
  if (cublasLtGetVersion() / 10000 < CUBLAS_VER_MAJOR)
    fail("expected cuBLASLt {} or later, found version {} in {}", CUBLAS_VER_MAJOR,
         cublasLtGetVersion(), library.path());
}

void CublasLt::check(cublasStatus_t status, const char *what) const {
  if (status != CUBLAS_STATUS_SUCCESS)
    fail("{}: {}", what, cublasLtGetStatusName(status));
}

std::shared_ptr<CublasLt> loadCublasLt(const std::string &path) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<CublasLt>> loaded;
  std::lock_guard lock(mutex);
  std::shared_ptr<CublasLt> library = loaded[path].lock();
  if (!library) {
    library = std::make_shared<CublasLt>(path);
    loaded[path] = library;
  }
  return library;
}

} // namespace seqpar::rt::cuda
