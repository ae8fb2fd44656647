//===- NativeImage.h - row kernels of a shared object in memory -*- C++ -*-===//
#pragma once

#include "seqpar/Target/KernelTable.h"

#include <gtest/gtest.h>

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

namespace seqpar::test {

using NativeFunction = void (*)(void *const *operands, int64_t rowBegin, int64_t rowEnd);

inline bool hostRuns(llvm::StringRef target) {
  return target == "x86-64-v3"
             ? __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
             : __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/// A shared object in memory.
class NativeImage {
public:
  explicit NativeImage(const CpuObject &object) {
    descriptor = memfd_create("kernels", MFD_CLOEXEC);
    EXPECT_EQ(write(descriptor, object.object.data(), object.object.size()),
              ssize_t(object.object.size()));
    handle = dlopen(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), RTLD_NOW);
    EXPECT_NE(handle, nullptr) << dlerror();
  }
  NativeImage(const NativeImage &) = delete;
  NativeImage &operator=(const NativeImage &) = delete;
  ~NativeImage() {
    if (handle)
      dlclose(handle);
    close(descriptor);
  }
  NativeFunction find(const std::string &symbol) const {
    return reinterpret_cast<NativeFunction>(dlsym(handle, symbol.c_str()));
  }

private:
  int descriptor;
  void *handle;
};

} // namespace seqpar::test
