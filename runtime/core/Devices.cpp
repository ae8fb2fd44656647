//===- Devices.cpp - the back ends of this build ----------------*- C++ -*-===//

#include "seqpar/rt/Error.h"
#include "seqpar/rt/Trainer.h"

namespace seqpar::rt {

DeviceFactory deviceFactory(const RunOptions &options) {
  if (options.device != "cpu")
    throw UsageError(fmt::format("--device: this build has cpu, not {}", options.device));
  return
      [target = options.cpuTarget](int, int threads) { return createCpuDevice(threads, target); };
}

} // namespace seqpar::rt
