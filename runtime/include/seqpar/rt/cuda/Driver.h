//===- Driver.h - NVIDIA's driver, loaded at run time -----------*- C++ -*-===//
//
// The functions of libcuda that the runtime uses, as a table of pointers. The header cuda.h gives
// the types, and maps names such as cuMemAlloc to the versions that it declares: members of the
// table are spelled in the same way.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Error.h"
#include "seqpar/rt/cuda/Library.h"

#include <cuda.h>

#include <memory>
#include <string>

#define SEQPAR_CUDA_FUNCTIONS(F)                                                                   \
  F(cuInit)                                                                                        \
  F(cuDriverGetVersion)                                                                            \
  F(cuGetErrorName)                                                                                \
  F(cuGetErrorString)                                                                              \
  F(cuDeviceGetCount)                                                                              \
  F(cuDeviceGet)                                                                                   \
  F(cuDeviceGetName)                                                                               \
  F(cuDeviceGetAttribute)                                                                          \
  F(cuDeviceGetUuid)                                                                               \
  F(cuDevicePrimaryCtxRetain)                                                                      \
  F(cuDevicePrimaryCtxRelease)                                                                     \
  F(cuCtxSetCurrent)                                                                               \
  F(cuMemGetInfo)                                                                                  \
  F(cuMemAlloc)                                                                                    \
  F(cuMemFree)                                                                                     \
  F(cuMemHostAlloc)                                                                                \
  F(cuMemFreeHost)                                                                                 \
  F(cuMemcpyHtoDAsync)                                                                             \
  F(cuMemcpyDtoHAsync)                                                                             \
  F(cuMemcpyDtoDAsync)                                                                             \
  F(cuMemcpyAsync)                                                                                 \
  F(cuPointerGetAttribute)                                                                         \
  F(cuMemsetD8Async)                                                                               \
  F(cuMemsetD2D8Async)                                                                             \
  F(cuStreamCreate)                                                                                \
  F(cuStreamDestroy)                                                                               \
  F(cuStreamSynchronize)                                                                           \
  F(cuStreamWaitEvent)                                                                             \
  F(cuEventCreate)                                                                                 \
  F(cuEventDestroy)                                                                                \
  F(cuEventRecord)                                                                                 \
  F(cuEventQuery)                                                                                  \
  F(cuEventSynchronize)                                                                            \
  F(cuEventElapsedTime)                                                                            \
  F(cuModuleLoadDataEx)                                                                            \
  F(cuModuleUnload)                                                                                \
  F(cuModuleGetFunction)                                                                           \
  F(cuFuncSetAttribute)                                                                            \
  F(cuLaunchKernel)                                                                                \
  F(cuStreamBeginCapture)                                                                          \
  F(cuStreamEndCapture)                                                                            \
  F(cuGraphInstantiate)                                                                            \
  F(cuGraphLaunch)                                                                                 \
  F(cuGraphExecDestroy)                                                                            \
  F(cuGraphDestroy)

namespace seqpar::rt::cuda {

class Driver {
public:
  /// Loads libcuda.so.1, or the library at `path`, and initialises it. Throws Error when it is not
  /// there, finds no device, or is older than the toolkit this was built with.
  explicit Driver(const std::string &path = "");

#define SEQPAR_DECLARE(name) decltype(&::name) name = nullptr;
  SEQPAR_CUDA_FUNCTIONS(SEQPAR_DECLARE)
#undef SEQPAR_DECLARE

  int devices() const { return deviceCount; }
  /// Version that the driver supports, as CUDA writes it: 13000 is 13.0.
  int version() const { return theVersion; }

  /// Throws Error with the driver's words when a call has failed; `what` says what was tried.
  void check(CUresult result, const char *what) const {
    if (result != CUDA_SUCCESS)
      raise(result, what);
  }
  /// "CUDA_ERROR_OUT_OF_MEMORY (out of memory)".
  std::string describe(CUresult result) const;

private:
  [[noreturn]] void raise(CUresult result, const char *what) const;

  Library library;
  int deviceCount = 0, theVersion = 0;
};

/// The driver of this process: loaded once per path and kept as long as someone uses it.
std::shared_ptr<Driver> loadDriver(const std::string &path = "");

} // namespace seqpar::rt::cuda
