//===- Trainer.h - the training run -----------------------------*- C++ -*-===//
//
// Runs a program on all its ranks, as threads of one process or of several: allocates, initialises,
// and repeats feed, forward, backward, update, log. Rank 0 writes what is written.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Device.h"
#include "seqpar/rt/ProgramFile.h"
#include "seqpar/rt/RunOptions.h"

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace seqpar::rt {

class Processes;

/// Where the devices of ranks come from.
struct DeviceFactory {
  using Make = std::function<std::unique_ptr<Device>(int rank, int threads)>;

  template <typename Function>
    requires std::constructible_from<Make, Function>
  DeviceFactory(Function make) : make(std::move(make)) {}

    /// Makes the device of one rank, on that rank's thread. Of several ranks `place` comes first.
    std::unique_ptr<Device> operator()(int rank, int threads) const { return make(rank, threads); }

    Make make;
    /// Deals out the devices of this machine to ranks [first, first + count), all of this process,
    /// after `before` ranks of other processes on it. Throws Error when their memory is not
    /// enough. Null: they use the host's memory.
    std::function<void(const ProgramFile &, int first, int count, int before)> place;
};

/// Sets an empty `device`: "cuda" when this build has the back end, the machine a GPU, and the
/// program, or the compiler at hand, CUDA code; else "cpu". Throws UsageError for names that are
/// neither.
void resolveDevice(RunOptions &options, bool hasCudaCode);

/// The devices that the options name; an empty name is the CPU. Without a step (--steps=0) nothing
/// runs on a device, and it is the CPU whatever the name. Throws UsageError for one that this build
/// or this machine does not have.
DeviceFactory deviceFactory(const RunOptions &options);

/// Numbers of one step, as the log has them.
struct StepRecord {
  int64_t step = 0; ///< 1 is the first
  double loss = 0, mlmLoss = 0, sopLoss = 0, lr = 0;
  double gradNorm = 0;  ///< without the loss scale; not finite when the gradients overflowed
  double lossScale = 1; ///< that this step had
  /// Steps so far whose gradients overflowed, so that they changed no parameter; none when the
  /// program has no loss scale.
  std::optional<int64_t> skipped;
  int64_t samples = 0; ///< of this step, over all replicas
  int64_t tokens = 0;  ///< positions of those samples
  double stepMs = 0;
};

/// Runs the program as the options say, on the ranks of this process; with several processes, all
/// call it. Throws Error with one line when anything fails on any rank;
/// no thread is left then, and every file that was to be written is either whole or untouched.
/// `onStep`, when given, sees each step's record (on the thread of the rank that reports).
void train(const ProgramFile &program, const RunOptions &options, const DeviceFactory &devices,
           const std::function<void(const StepRecord &)> &onStep = {},
           Processes *processes = nullptr);

} // namespace seqpar::rt
