//===- Recordings.h - what a device has recorded ----------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/cuda/Context.h"

#include <vector>

namespace seqpar::rt::cuda {

/// CUDA graphs of work on a stream, and on streams that come after it and that it comes after
/// again. NCCL's communicators wait for the end of the graphs that have work of theirs: these end
/// with clear().
class Recordings {
public:
  Recordings(const Context &context, const Stream &stream) : context(context), stream(stream) {}
  ~Recordings();
  Recordings(const Recordings &) = delete;
  Recordings &operator=(const Recordings &) = delete;

  /// Between begin() and end() what is issued is recorded and does not run. Throw Error.
  void begin();
  int end();
  /// Ends what has begun, if anything has, and forgets it.
  void cancel() noexcept;
  bool active() const { return recording; }
  /// Throws Error when there is none of that number.
  void replay(int number) const;
  /// Forgets all; what is running ends as it would.
  void clear() noexcept;

private:
  const Context &context;
  const Stream &stream;
  bool recording = false;
  std::vector<CUgraphExec> graphs;
};

} // namespace seqpar::rt::cuda
