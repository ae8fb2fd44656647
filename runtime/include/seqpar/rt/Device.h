//===- Device.h - memory and compute of one rank ----------------*- C++ -*-===//
//
// A Device executes the compute instructions of a program for one rank. Each back end implements
// this interface; test/Runtime/DeviceConformance runs the same cases on all of them. The executor
// resolves operands to addresses, so a Device knows nothing of buffers, loops or ranks.
//
// Calls are issued in program order by one thread per rank. On an asynchronous device they return
// before the work is done; `synchronize` waits. Sizes are in elements unless called bytes. All
// tensors are row-major fp32 unless said otherwise.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Communicator.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace seqpar::program {
struct Program;
}

namespace seqpar::rt {

/// How a tensor's numbers are stored. All arithmetic is in fp32; what is stored in 16 bits is
/// rounded to the nearest, ties to even.
enum class FloatType : int { F32, BF16, F16 };
constexpr size_t bytesOf(FloatType type) { return type == FloatType::F32 ? 4 : 2; }

/// c[m, n] = (accumulate ? c : 0) + alpha * op(a) * op(b). op(a) is [m, k]: stored [k, m] when
/// transposeA; op(b) is [k, n]: stored [n, k] when transposeB. Leading dimensions in elements.
/// c's type is that of a and b, or F32. With a bias, c = op(a) * op(b) + bias in each row; with
/// `saved` too, that sum is stored there and c is its GeLU in the tanh form. Both are computed before
/// anything is rounded, and accumulate is false.
struct GemmArgs {
  const void *a; ///< of `type`, as b
  const void *b;
  void *c; ///< of `resultType`
  int64_t m, n, k;
  bool transposeA, transposeB;
  int64_t lda, ldb, ldc;
  float alpha;
  bool accumulate;
  FloatType type = FloatType::F32, resultType = FloatType::F32;
  const void *bias = nullptr; ///< [n] of `resultType`
  void *saved = nullptr;      ///< like c, ldc a multiple of 8
};

/// Runs kernel number `kernel` of the loaded program on rows [0, rows). `operands[i]` is the
/// address of the kernel's i-th operand. Operands with access SumRows are overwritten with the
/// sum, or added to when `accumulate`.
struct RowKernelArgs {
  int kernel;
  std::span<void *const> operands;
  int64_t rows;
  bool accumulate;
};

/// Dropout of attention probabilities; rate 0 is off. Whether an element is kept depends on (seed,
/// step, site; sample, head, query position, key position) alone, in the way that Philox.h says.
struct AttentionDropout {
  float rate = 0;
  uint32_t seed = 0, step = 0, site = 0;
  const int32_t *samples = nullptr; ///< [batch] sample numbers, on the device
  int64_t queryOffset = 0;          ///< position of query 0 in the sequence
  int64_t keyOffset = 0;            ///< position of key 0 in the sequence
  /// Where the device has seed and step too; null: nowhere. What is recorded reads them there.
  const uint32_t *seedAddress = nullptr, *stepAddress = nullptr;
};

/// Shapes of one attention block. q-like tensors are [batch, queries, heads * headDim], k-like
/// [batch, keys, heads * headDim]; statistics [batch, heads, queries]; the mask is int32
/// [batch, maskLength] with the block's keys starting at column maskOffset, 1 = real token.
struct AttentionShape {
  int64_t batch, heads, headDim, queries, keys;
  int64_t maskLength, maskOffset;
  float scale;
};

/// Online softmax (Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022, algorithm 1):
/// folds one block of keys into the running state (out: unnormalised accumulator, lse: running
/// maximum, sum: running sum). `initialize`: the state is set, not read. `finish`: afterwards out
/// is normalised and lse holds maximum + log(sum). A query all of whose keys are masked ends with
/// out = 0 and lse = +infinity, so that the backward pass gives it zero gradients. out's type is
/// that of q, k and v, or F32; with 16 bits it cannot hold an accumulator, so the block must be the
/// only one: `initialize` and `finish`.
struct AttentionForwardArgs {
  AttentionShape shape;
  const void *q, *k, *v; ///< of `type`
  const int32_t *mask;
  void *out; ///< of `outType`
  float *lse, *sum;
  bool initialize, finish;
  AttentionDropout dropout;
  FloatType type = FloatType::F32, outType = FloatType::F32;
};

/// Gradients of one block (FlashAttention, algorithm 4; delta = row sum of dout * out).
/// `initialize`: delta is computed and dq is set, else both are read and dq is added to. dk and dv
/// are overwritten, or added to when accumulateKV.
struct AttentionBackwardArgs {
  AttentionShape shape;
  const void *q, *k, *v; ///< of `type`
  const int32_t *mask;
  const void *out; ///< of `type`
  const float *lse;
  const void *dout; ///< of `type`
  float *delta;
  float *dq, *dk, *dv;
  bool initialize, accumulateKV;
  AttentionDropout dropout;
  FloatType type = FloatType::F32;
};

class Device {
public:
  virtual ~Device() = default;

  virtual std::string name() const = 0;

  /// Prepares the kernels of a program. Throws Error when none of its images fits this device.
  virtual void loadKernels(const program::Program &program) = 0;

  /// Memory aligned to 64 bytes, owned by the caller through release(). Throws Error naming the
  /// size when there is not enough.
  virtual void *allocate(size_t bytes) = 0;
  virtual void release(void *memory) = 0;
  /// Whether every thread of the process may read and write what it allocates.
  virtual bool hasHostMemory() const { return false; }

  /// `from` is free again on return.
  virtual void copyToDevice(void *to, const void *from, size_t bytes) = 0;
  /// `to` is valid after the next synchronize.
  virtual void copyToHost(void *to, const void *from, size_t bytes) = 0;
  virtual void zero(void *memory, size_t bytes) = 0;

  virtual void gemm(const GemmArgs &args) = 0;
  virtual void rowKernel(const RowKernelArgs &args) = 0;
  virtual void attentionForward(const AttentionForwardArgs &args) = 0;
  virtual void attentionBackward(const AttentionBackwardArgs &args) = 0;

  virtual void synchronize() = 0;

  /// The communicator for memory of this device, given one for memory of the host that it may own.
  /// Collective: all ranks call it. Throws Error when their devices cannot exchange anything.
  virtual std::unique_ptr<Communicator> exchange(std::unique_ptr<Communicator> host) {
    return host;
  }

  /// Work that is recorded once, with its addresses and scalars, and replayed at the price of one
  /// launch. Between beginRecording and endRecording only the compute calls and zero are allowed,
  /// and exchanges where Communicator::canRecord; they do not run. A device without this runs
  /// everything as it is called.
  using Recording = int;
  virtual bool canRecord() const { return false; }
  virtual void beginRecording() {}
  /// Until the device ends.
  virtual Recording endRecording() { return -1; }
  virtual void replay(Recording) {}
  /// Forgets what beginRecording has begun, after an error.
  virtual void cancelRecording() noexcept {}
};

/// The host's cores as a device. `threads`: how many threads one rank may use (at least 1).
/// `target` picks the kernels' instruction set ("x86-64-v4", "x86-64-v3"); empty: the best the
/// host has.
std::unique_ptr<Device> createCpuDevice(int threads, const std::string &target = "");

} // namespace seqpar::rt
