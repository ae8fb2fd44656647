#include "seqpar/rt/cuda/Driver.h"

#include <map>
#include <mutex>

namespace seqpar::rt::cuda {

namespace {

// Images of a toolkit's major version need a driver of the same one.
constexpr int kLeastVersion = CUDA_VERSION / 1000 * 1000;

std::string versionText(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

} // namespace

// The argument is expanded first: cuda.h maps names to versions.
#define SEQPAR_TEXT_OF(name) #name
#define SEQPAR_LOAD(function)                                                                      \
  function = reinterpret_cast<decltype(function)>(library.symbol(SEQPAR_TEXT_OF(function)));

Driver::Driver(const std::string &path) : library(path, {"libcuda.so.1"}, "the CUDA device") {
  // Before anything else: an old driver may lack functions.
  SEQPAR_LOAD(cuDriverGetVersion)
  CUresult result = cuDriverGetVersion(&theVersion);
  if (result != CUDA_SUCCESS)
    fail("the driver {} does not tell its version: error {}", library.path(), int(result));
  if (theVersion < kLeastVersion)
    fail("expected an NVIDIA driver for CUDA {} or later, found one for {}; update the driver",
         versionText(kLeastVersion), versionText(theVersion));
  SEQPAR_CUDA_FUNCTIONS(SEQPAR_LOAD)
  check(cuInit(0), "cannot initialise the CUDA driver");
  check(cuDeviceGetCount(&deviceCount), "cannot count the CUDA devices");
  if (deviceCount == 0)
    fail("the NVIDIA driver finds no device; see nvidia-smi and CUDA_VISIBLE_DEVICES");
}

#undef SEQPAR_LOAD
#undef SEQPAR_TEXT_OF

std::string Driver::describe(CUresult result) const {
  const char *name = nullptr, *text = nullptr;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &text);
  return fmt::format("{} ({})", name ? name : std::to_string(int(result)).c_str(),
                     text ? text : "no text");
}

void Driver::raise(CUresult result, const char *what) const {
  fail("{}: {}", what, describe(result));
}

std::shared_ptr<Driver> loadDriver(const std::string &path) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Driver>> loaded;
  std::lock_guard lock(mutex);
  std::shared_ptr<Driver> driver = loaded[path].lock();
  if (!driver) {
    driver = std::make_shared<Driver>(path);
    loaded[path] = driver;
  }
  return driver;
}

} // namespace seqpar::rt::cuda
