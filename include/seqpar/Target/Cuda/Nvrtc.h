//===- Nvrtc.h - CUDA C++ to images -----------------------------*- C++ -*-===//
#pragma once

#include "seqpar/Target/KernelTable.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <string>
#include <vector>

namespace seqpar::cuda {

class ImageCache;

/// What one kernel takes of a multiprocessor, as the assembler reports it.
struct KernelUsage {
  std::string symbol;
  std::string architecture;
  int registers = 0;                       ///< of a thread
  int64_t sharedBytes = 0;                 ///< static, of a block
  int64_t stackBytes = 0;                  ///< of a thread
  int64_t spillStores = 0, spillLoads = 0; ///< bytes
};

/// Whether NVRTC can be loaded. If not, `reason` says what was looked for.
bool hasNvrtc(std::string &reason);

/// "13.0", or empty without NVRTC.
std::string getNvrtcVersion();

/// Compiles the source of each code for its own architectures, or else for each of `architectures`,
/// all at the same time, and appends the images: a cubin for "sm_90", PTX for "compute_90". On
/// failure returns false with NVRTC's first message in `error`. `usages`, when given, gets the
/// kernels of all cubins. With a cache, what is in it is not compiled; the bytes are the same.
bool compileImages(llvm::MutableArrayRef<CudaCode> codes,
                   llvm::ArrayRef<llvm::StringRef> architectures, std::string &error,
                   std::vector<KernelUsage> *usages = nullptr, const ImageCache *cache = nullptr);

} // namespace seqpar::cuda
