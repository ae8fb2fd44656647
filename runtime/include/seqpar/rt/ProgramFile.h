//===- ProgramFile.h - loads and checks a program ---------------*- C++ -*-===//
//
// The only way a program enters the runtime. After loading, every index, offset and size that the
// executor uses is known to be valid, so a damaged file is an Error here and never a crash later
// (the kernels' native code itself is trusted).
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/program/program_generated.h"
#include "seqpar/rt/Grid.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace seqpar::rt {

/// Of one element. Throws Error for a type that there is not.
size_t bytesOf(program::DataType type);

class ProgramFile {
public:
  /// Reads a file. Throws Error naming it when it cannot be read or is not a valid program.
  static ProgramFile fromFile(const std::string &path);
  /// Takes a copy of the bytes; `name` stands for the file in messages.
  static ProgramFile fromBytes(std::span<const uint8_t> bytes, const std::string &name);

  const program::Program &program() const { return *root; }
  const program::Stage &stage(int pp) const { return *root->stages()->Get(pp); }
  Grid grid() const { return {root->dp(), root->pp(), root->sp()}; }
  const std::string &name() const { return theName; }
  std::span<const uint8_t> bytes() const { return {memory.get(), size}; }

  /// Whether its kernels were compiled for GPUs.
  bool hasCudaCode() const { return root->cuda() && root->cuda()->size() > 0; }

  /// Whether its losses are scaled for the backward (see LossScale.h).
  bool hasLossScale() const;
  /// Samples of a step over all replicas and micro-batches.
  int64_t globalBatch() const;
  /// Of memoryBytes, what ranks of a stage have together when all that share an update are threads
  /// of one process and their devices have host memory: the parameters.
  static uint64_t sharedBytes(const program::Stage &stage);
  /// Bytes of all segments of a stage.
  static uint64_t memoryBytes(const program::Stage &stage);

private:
  ProgramFile(std::string name, size_t bytes);
  void check();

  struct Free {
    void operator()(uint8_t *memory) const;
  };
  std::string theName;
  size_t size;
  std::unique_ptr<uint8_t[], Free> memory; // aligned to 64 bytes, as the code images need
  const program::Program *root = nullptr;
};

} // namespace seqpar::rt
