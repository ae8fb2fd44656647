//===- seqpar-kernels.cpp - a program's kernels, each on its own ----------===//
//
// Runs every distinct launch, product and attention block of a program on a device, compares with
// the CPU, and measures. Prints JSON lines. On the CPU the comparison shows no more than that two
// runs agree and that numbers are finite: the last line says with what it was.
//
//===----------------------------------------------------------------------===//

#include "Cases.h"

#include "seqpar/rt/Error.h"
#include "seqpar/rt/Processes.h"
#include "seqpar/rt/RunOptions.h"
#include "seqpar/rt/Trainer.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>

using namespace seqpar;
using namespace seqpar::rt;
using namespace seqpar::tool;

namespace {

/// fp32 sums in another order; a wrong element, row or term is far above.
constexpr double kTolerance = 3e-5;

struct Options {
  std::string path, device;
  double seconds = 0; ///< of measuring each; 0: none
};

/// A case's arrays on a device.
class OnDevice {
public:
  OnDevice(Device &device, const std::vector<Array> &arrays) : device(device) {
    for (const Array &array : arrays) {
      memory.push_back(device.allocate(array.bytes.size()));
      device.copyToDevice(memory.back(), array.bytes.data(), array.bytes.size());
    }
  }
  ~OnDevice() {
    for (void *each : memory)
      device.release(each);
  }
  OnDevice(const OnDevice &) = delete;
  OnDevice &operator=(const OnDevice &) = delete;

  std::vector<Array> read(std::vector<Array> arrays) const {
    for (size_t i = 0; i < arrays.size(); ++i)
      device.copyToHost(arrays[i].bytes.data(), memory[i], arrays[i].bytes.size());
    device.synchronize();
    return arrays;
  }

  Device &device;
  std::vector<void *> memory;
};

/// Best seconds of one run among batches of about a tenth of the time.
double measure(const OnDevice &on, const Case &each, double seconds) {
  auto now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
  auto batch = [&](int count) {
    double begin = now();
    for (int i = 0; i < count; ++i)
      each.run(on.device, on.memory);
    on.device.synchronize();
    return (now() - begin) / count;
  };
  double once = batch(1), best = INFINITY;
  int count = std::clamp(int(seconds / 10 / std::max(once, 1e-7)), 1, 10000);
  for (double begin = now(); now() - begin < seconds || std::isinf(best);)
    best = std::min(best, batch(count));
  return best;
}

bool check(const Case &each, Device &device, Device &reference, double seconds) {
  OnDevice on(device, each.arrays), expected(reference, each.arrays);
  each.run(device, on.memory);
  each.run(reference, expected.memory);
  std::string where;
  double difference = differenceOf(on.read(each.arrays), expected.read(each.arrays), where);
  bool good = difference <= kTolerance;
  nlohmann::ordered_json line = {
      {"check", each.kind}, {"what", each.what}, {"place", each.place}, {"device", device.name()}};
  line["difference"] =
      std::isfinite(difference) ? nlohmann::json(difference) : nlohmann::json("infinite");
  line["tolerance"] = kTolerance;
  line["ok"] = good;
  if (!good)
    line["worst"] = where;
  if (seconds > 0) {
    double time = measure(on, each, seconds);
    line["microseconds"] = time * 1e6;
    if (each.bytes > 0)
      line["gb_per_s"] = each.bytes / time * 1e-9;
    if (each.operations > 0)
      line["tflops"] = each.operations / time * 1e-12;
  }
  fmt::print("{}\n", line.dump());
  std::fflush(stdout);
  return good;
}

int run(const Options &options) {
  ProgramFile file = ProgramFile::fromFile(options.path);
  RunOptions chosen;
  chosen.device = options.device;
  resolveDevice(chosen, file.hasCudaCode());
  std::unique_ptr<Device> device = deviceFactory(chosen)(0, 1);
  std::unique_ptr<Device> reference = createCpuDevice(1, "");
  device->loadKernels(file.program());
  reference->loadKernels(file.program());
  int count = 0, failed = 0;
  for (const Case &each : casesOf(file)) {
    ++count;
    failed += !check(each, *device, *reference, options.seconds);
  }
  fmt::print("{}\n",
             nlohmann::ordered_json({{"check", "all"},
                                     {"device", device->name()},
                                     {"reference", chosen.device == "cpu" ? "itself" : "the CPU"},
                                     {"cases", count},
                                     {"failed", failed}})
                 .dump());
  if (failed)
    fail("{}: {} of {} cases differ from the CPU by more than {:g}", options.path, failed, count,
         kTolerance);
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  return runTool("seqpar-kernels", [&](Processes &) {
    CLI::App app("Checks each kernel, product and attention block of a program on a device against "
                 "the CPU.",
                 "seqpar-kernels");
    Options options;
    app.add_option("PROGRAM", options.path, "program file")->required();
    app.add_option("--device", options.device,
                   "cpu or cuda (default: cuda where there is a GPU for it)");
    app.add_option("--seconds", options.seconds, "of measuring each; 0: none")
        ->check(CLI::Range(0.0, 60.0))
        ->capture_default_str();
    if (int status = parseCommandLine(app, argc, argv); status >= 0)
      return status;
    return run(options);
  });
}
