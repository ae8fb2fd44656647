//===- Devices.cpp - the back ends of this build ----------------*- C++ -*-===//

#include "Memory.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/Trainer.h"
#ifdef SEQPAR_HAVE_CUDA
#include "seqpar/rt/cuda/CudaDevice.h"
#endif

#include <map>

namespace seqpar::rt {

namespace {

#ifdef SEQPAR_HAVE_CUDA

/// GPUs are dealt out to the ranks of a machine in turn.
struct Placement {
  int devices = 1;
  int first = 0, before = 0; ///< first rank of this process, ranks of those before it here
  int deviceOf(int rank) const { return (before + rank - first) % devices; }
};

DeviceFactory cudaFactory() {
  CudaOptions options = cudaOptionsFromEnvironment();
  CudaProbe probe = probeCuda(options);
  if (probe.devices == 0)
    throw UsageError("--device=cuda: " + probe.reason);
  auto placement = std::make_shared<Placement>();
  placement->devices = probe.devices;
  DeviceFactory factory([=](int rank, int) mutable {
    CudaOptions own = options;
    own.device = placement->deviceOf(rank);
    return createCudaDevice(own);
  });
  factory.place = [=](const ProgramFile &file, int first, int count, int before) {
    placement->first = first;
    placement->before = before;
    std::map<int, std::vector<int>> ranksOf;
    for (int rank = first; rank < first + count; ++rank)
      ranksOf[placement->deviceOf(rank)].push_back(rank);
    for (auto &[device, ranks] : ranksOf) {
      CudaOptions own = options;
      own.device = device;
      CudaMemory memory = cudaMemory(own);
      checkDeviceMemory(file, ranks, memory.available, kCudaOverheadBytes,
                        fmt::format("{} (device {})", memory.device, device));
    }
  };
  return factory;
}

bool hasGpu() { return probeCuda(cudaOptionsFromEnvironment()).devices > 0; }

#else

DeviceFactory cudaFactory() {
  throw UsageError("--device: this build has cpu, not cuda: the CUDA toolkit's headers were not "
                   "there when it was built");
}

bool hasGpu() { return false; }

#endif

} // namespace

void resolveDevice(RunOptions &options, bool hasCudaCode) {
  if (options.device.empty())
    options.device = hasCudaCode && hasGpu() ? "cuda" : "cpu";
  if (options.device != "cpu" && options.device != "cuda")
    throw UsageError(fmt::format("--device: expected cpu or cuda, found {}", options.device));
}

DeviceFactory deviceFactory(const RunOptions &options) {
  if (options.device == "cuda" && options.steps > 0)
    return cudaFactory();
  return
      [target = options.cpuTarget](int, int threads) { return createCpuDevice(threads, target); };
}

} // namespace seqpar::rt
