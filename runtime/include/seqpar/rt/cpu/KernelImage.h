//===- KernelImage.h - native code of a program's row kernels ---*- C++ -*-===//
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace seqpar::program {
struct Program;
}

namespace seqpar::rt {

/// "x86-64-v4" (AVX-512 F, BW, CD, DQ, VL) or "x86-64-v3" (AVX2, FMA): the best this processor has.
/// Throws Error when it has neither.
std::string hostTarget();

/// Whether this processor runs code for `target`; false for unknown names.
bool hostSupports(const std::string &target);

/// A shared object loaded from memory, and its kernels' entry points. Unloaded on destruction.
class KernelImage {
public:
  using Function = void (*)(void *const *operands, int64_t rowBegin, int64_t rowEnd);

  /// Loads the program's image for `target`, or for the best target that this processor supports
  /// and the program has when `target` is empty. A program without kernels needs no image. Throws
  /// Error when there is no fitting image, the image is damaged, or a kernel is missing in it.
  KernelImage(const program::Program &program, const std::string &target);

  Function function(int kernel) const { return functions[kernel]; }

private:
  struct File {
    int descriptor = -1;
    File() = default;
    File(const File &) = delete;
    ~File();
  };
  struct Unload {
    void operator()(void *handle) const;
  };

  void load(std::span<const uint8_t> object);

  File file; // outlives the handle
  std::unique_ptr<void, Unload> handle;
  std::vector<Function> functions;
};

} // namespace seqpar::rt
