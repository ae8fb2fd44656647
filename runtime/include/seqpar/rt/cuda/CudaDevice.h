//===- CudaDevice.h - a GPU as a device -------------------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Device.h"

#include <memory>
#include <string>

namespace seqpar::rt {

/// How a CUDA device is made. Empty paths: the libraries as the loader finds them.
struct CudaOptions {
  int device = 0;         ///< number of the GPU, as the driver counts
  std::string driver;     ///< libcuda.so.1
  std::string cublasLt;   ///< libcublasLt.so
  std::string nccl;       ///< libnccl.so.2
  std::string algorithms; ///< file of cuBLASLt's algorithms; empty: in memory only
  bool tf32 = false;      ///< fp32 products may use TF32
};

/// Options from SEQPAR_LIBCUDA, SEQPAR_LIBCUBLASLT and SEQPAR_LIBNCCL (paths of the libraries) and
/// SEQPAR_CUDA_CACHE (see defaultAlgorithmCachePath).
CudaOptions cudaOptionsFromEnvironment();

/// GPUs that can be used; 0, with the reason, where there is no driver, a driver that is too old,
/// or no GPU. Never throws.
struct CudaProbe {
  int devices = 0;
  std::string reason; ///< why there is none
};
CudaProbe probeCuda(const CudaOptions &options);

/// Bytes of a GPU's memory.
struct CudaMemory {
  std::string device; ///< its name
  size_t available = 0, total = 0;
};
CudaMemory cudaMemory(const CudaOptions &options);

/// What a rank's device takes besides its segments, about: cuBLASLt's workspace and that of the row
/// kernels, code, and memory for exchanges.
inline constexpr size_t kCudaOverheadBytes = size_t(96) << 20;

/// A GPU for one rank. Several ranks of a process may each have one on the same GPU. Throws Error
/// when the driver, cuBLASLt or the GPU is not there.
std::unique_ptr<Device> createCudaDevice(const CudaOptions &options);

} // namespace seqpar::rt
