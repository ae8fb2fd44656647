//===- NativeImage.h - row kernels of a shared object in memory -*- C++ -*-===//
#pragma once

#include "seqpar/Target/KernelTable.h"

#include <dlfcn.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

namespace seqpar::test {

using NativeFunction = void (*)(void *const *operands, int64_t rowBegin, int64_t rowEnd);

inline bool hostRuns(llvm::StringRef target) {
  return target == "x86-64-v3"
             ? __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
             : __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/// A shared object in memory. Throws std::runtime_error when it cannot be loaded.
class NativeImage {
public:
  explicit NativeImage(const CpuObject &object) {
    // Stays open: the loader takes images of the same path, and so of the same number, for one.
    descriptor = memfd_create("kernels", MFD_CLOEXEC);
    ssize_t written = write(descriptor, object.object.data(), object.object.size());
    if (written == ssize_t(object.object.size()))
      handle = dlopen(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), RTLD_NOW);
    if (handle)
      return;
    std::string reason = lastError();
    close(descriptor);
    throw std::runtime_error(
        "the kernels for " + object.target + " cannot be loaded: " + std::to_string(written) +
        " of " + std::to_string(object.object.size()) + " bytes are in memory: " + reason);
  }
  NativeImage(const NativeImage &) = delete;
  NativeImage &operator=(const NativeImage &) = delete;
  ~NativeImage() {
    dlclose(handle);
    close(descriptor);
  }

  /// Throws std::runtime_error when there is no such symbol.
  NativeFunction find(const std::string &symbol) const {
    void *function = dlsym(handle, symbol.c_str());
    if (!function)
      throw std::runtime_error("the image lacks " + symbol + ": " + lastError());
    return reinterpret_cast<NativeFunction>(function);
  }

private:
  static std::string lastError() {
    const char *error = dlerror();
    return error ? error : "no reason given";
  }
  int descriptor;
  void *handle = nullptr;
};

} // namespace seqpar::test
