//===- Context.h - a GPU, its streams and events ----------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/cuda/Driver.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace seqpar::rt::cuda {

/// One GPU as one rank uses it: its primary context, which all ranks of the process on that GPU
/// share. Calls that follow use() in the same thread work on this GPU.
class Context {
public:
  /// Throws Error when the driver has no device of that number.
  Context(std::shared_ptr<Driver> driver, int ordinal);
  ~Context();
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;

  const Driver &driver() const { return *theDriver; }
  const Driver *operator->() const { return theDriver.get(); }
  /// Makes this GPU the calling thread's. Throws Error.
  void use() const;
  /// The same where nothing can be thrown, as when objects end: false when the driver refuses.
  bool tryUse() const noexcept;

  int ordinal() const { return theOrdinal; }
  /// The same for all processes that use this GPU, and for no other GPU.
  std::array<int64_t, 2> uuid() const;
  const std::string &name() const { return theName; }
  /// Compute capability: 90 is 9.0.
  int capability() const { return theCapability; }

  size_t availableMemory() const;
  size_t totalMemory() const;
  /// Throws Error that names the size and what is free.
  CUdeviceptr allocate(size_t bytes) const;
  void release(CUdeviceptr memory) const noexcept;
  /// Whether this is memory of a GPU. Memory of the host that CUDA has not made is none.
  bool ownsMemory(const void *memory) const;

private:
  int attribute(CUdevice_attribute which) const;

  std::shared_ptr<Driver> theDriver;
  int theOrdinal;
  CUdevice device = 0;
  CUcontext context = nullptr;
  std::string theName;
  int theCapability = 0;
};

/// Work on a stream runs in the order it was issued. Streams do not wait for each other.
class Stream {
public:
  explicit Stream(const Context &context);
  ~Stream();
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;

  operator CUstream() const { return stream; }
  /// Sleeps until all that was issued is done. Throws Error when some of it failed.
  void synchronize() const;

private:
  const Context &context;
  CUstream stream = nullptr;
};

/// A point in the work of a stream. Waiting for it sleeps.
class Event {
public:
  explicit Event(const Context &context, bool timed = false);
  ~Event();
  Event(const Event &) = delete;
  Event &operator=(const Event &) = delete;

  void record(CUstream stream);
  /// What is issued on `stream` from now on runs after the point.
  void block(CUstream stream) const;
  void synchronize() const;
  /// Whether the work before it is over, or has failed.
  bool over() const;
  /// Milliseconds from `begin` to this; both timed and over.
  float since(const Event &begin) const;

private:
  const Context &context;
  CUevent event = nullptr;
};

} // namespace seqpar::rt::cuda
