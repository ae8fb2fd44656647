#include "seqpar/rt/cuda/Nccl.h"

namespace seqpar::rt::cuda {

namespace {

constexpr int kLeastVersion = 21800; // 2.18

} // namespace

Nccl::Nccl(const std::string &path)
    : library(path, {"libnccl.so.2", "libnccl.so"}, "exchange between GPUs") {
#define SEQPAR_LOAD(function)                                                                      \
  function = reinterpret_cast<decltype(function)>(library.symbol(#function));
  SEQPAR_NCCL_FUNCTIONS(SEQPAR_LOAD)
#undef SEQPAR_LOAD
  int version = 0;
  check(ncclGetVersion(&version), "cannot read NCCL's version");
  if (version < kLeastVersion)
    fail("expected NCCL {}.{} or later, found {}.{} in {}", kLeastVersion / 10000,
         kLeastVersion / 100 % 100, version / 10000, version / 100 % 100, library.path());
}

void Nccl::check(ncclResult_t result, const char *what) const {
  if (result != ncclSuccess)
    fail("{}: {}", what, describe(result));
}

std::string Nccl::describe(ncclResult_t result, ncclComm_t communicator) const {
  const char *more = ncclGetLastError(communicator);
  return fmt::format("{}{}{}", ncclGetErrorString(result), more && *more ? ": " : "",
                     more ? more : "");
}

} // namespace seqpar::rt::cuda
