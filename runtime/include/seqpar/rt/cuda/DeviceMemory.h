//===- DeviceMemory.h - exchange between ranks of one process ---*- C++ -*-===//
#pragma once

#include "seqpar/rt/Communicator.h"
#include "seqpar/rt/cuda/Context.h"

#include <array>

namespace seqpar::rt::cuda {

/// Moves and adds memory of GPUs for ranks that are threads of one process, on a stream of its own.
/// Sums are added on this GPU, piece by piece in the order of the members; memory of other GPUs is
/// copied here first. Used by one thread at a time.
class DeviceMemory final : public ExchangeMemory {
public:
  /// Bytes that are added at a time.
  static constexpr size_t kPieceBytes = size_t(4) << 20;

  explicit DeviceMemory(const Context &context);
  ~DeviceMemory() override;

  void copy(void *to, const void *from, size_t bytes) override;
  void sumInOrder(std::span<const void *const> from, std::span<void *const> to, size_t begin,
                  size_t end, ElementType type) override;

private:
  void move(CUdeviceptr to, CUdeviceptr from, size_t bytes);
  void add(CUdeviceptr to, CUdeviceptr from, size_t elements, ElementType type);

  const Context &context;
  Stream stream;
  CUmodule module = nullptr;
  std::array<CUfunction, 4> adders{}; ///< by ElementType
  CUdeviceptr sum = 0, next = 0;
};

/// PTX of the kernels that add arrays: seqpar_add_{f32,f64,i32,i64}(to, from, elements).
std::string addKernels();

} // namespace seqpar::rt::cuda
