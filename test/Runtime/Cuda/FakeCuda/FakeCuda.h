//===- FakeCuda.h - a stand-in for libcuda ----------------------*- C++ -*-===//
//
// A shared library with the driver functions that the runtime uses, on host memory: tests load it
// in libcuda's place, through the same path. Device memory is host memory; a stream is a thread
// that runs its operations in order, so what is not ordered does run at the same time. Kernels are
// functions of the host that tests register by name.
//
// Every operation tells what memory it reads and writes. Two operations that touch the same bytes,
// one of them writing, must be ordered by a stream, by events, or by the host waiting for the first
// before it issues the second; where they are not, that is a problem, found with vector clocks
// whatever order the threads took. What one thread of the host has waited for counts for all of its
// threads: the fake does not see how they synchronise.
//
// A graph runs as its edges allow: operations that were captured on other streams than the first
// run on threads of their own, and the check holds for every launch.
//
// Problems are also: memory that was never allocated, was freed or is too small, unknown kernels,
// streams and events, the default stream, more shared memory or threads than a device has, host
// waits for streams that capture, allocations that a capture forbids this thread, captures that do
// not come back to their stream or their thread, waits for events of captures that are over.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace fakecuda {

struct Configuration {
  int driverVersion = 13000, devices = 1;
  int major = 9, minor = 0; ///< compute capability
  size_t memory = size_t(1) << 32;
  std::string name = "Fake GPU";
};

/// Bytes that an operation reads or writes.
struct Access {
  const void *memory;
  size_t bytes;
  bool write;
};
inline Access reads(const void *memory, size_t bytes) { return {memory, bytes, false}; }
inline Access writes(const void *memory, size_t bytes) { return {memory, bytes, true}; }

struct Launch {
  std::string kernel;
  unsigned grid[3], block[3], sharedBytes;
  std::vector<std::vector<unsigned char>> arguments;

  template <typename T> T argument(size_t i) const {
    T value{};
    std::memcpy(&value, arguments.at(i).data(), sizeof(T));
    return value;
  }
};

struct Kernel {
  std::vector<size_t> argumentBytes;
  std::function<void(const Launch &)> run;
  std::function<std::vector<Access>(const Launch &)> accesses;
};

/// Forgets everything but live memory, waits for what is running, and starts afresh. Problems that
/// were not looked at are lost.
void reset(const Configuration &configuration = {});

/// What runs for the kernels of this name in any module; "name*" stands for all that begin so.
void registerKernel(const std::string &name, Kernel kernel);

/// The kernels registered under this very name only tell what they touch from now on.
void silence(const std::string &name);

/// An image that holds the named kernels for an architecture ("sm_90"), in a format that only the
/// fake reads. It also reads PTX and true cubins.
std::vector<unsigned char> image(const std::string &architecture,
                                 const std::vector<std::string> &kernels);

/// The next call of this function returns the error instead of doing anything.
void failNext(const std::string &function, CUresult error);

/// Problems since the last reset, and forgets them.
std::vector<std::string> takeProblems();
void addProblem(const std::string &text);

/// Labels of what was issued, in order: "launch NAME", "copy", "record", "wait", "graph", ...
std::vector<std::string> takeOperations();

/// Device memory that is allocated now.
size_t allocatedBytes();

/// For stand-ins of other libraries: issues an operation on a stream, as a launch does.
CUresult issue(CUstream stream, const std::string &label, const std::vector<Access> &accesses,
               std::function<void()> run);

/// The same for an operation that is another one each time: `prepare` makes what runs, in the order
/// of the launches, now or with each launch of the graph that captures it.
using Prepare = std::function<std::function<void()>()>;
CUresult issueEach(CUstream stream, const std::string &label, const std::vector<Access> &accesses,
                   Prepare prepare);

/// Whether the stream is being captured: operations are kept, not run.
bool capturing(CUstream stream);

} // namespace fakecuda
