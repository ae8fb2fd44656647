#include "Targets.h"

#include "Rendezvous.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/ProgramFile.h"
#include "seqpar/rt/Safetensors.h"

#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

namespace seqpar::test {

using namespace seqpar::rt;

void fuzzProgram(const uint8_t *data, size_t size) {
  try {
    ProgramFile file = ProgramFile::fromBytes({data, size}, "fuzz.program");
    uint64_t total = 0;
    for (int pp = 0; pp < file.grid().pp; ++pp)
      total += ProgramFile::memoryBytes(file.stage(pp));
    if (file.globalBatch() < 1 || total > uint64_t(1) << 60)
      std::abort();
  } catch (const Error &error) {
    if (!error.what()[0])
      std::abort();
  }
}

void fuzzSafetensors(const uint8_t *data, size_t size) {
  int file = memfd_create("fuzz", MFD_CLOEXEC);
  if (file < 0 || write(file, data, size) != static_cast<ssize_t>(size))
    std::abort();
  try {
    SafetensorsFile tensors("/proc/self/fd/" + std::to_string(file));
    unsigned sum = 0;
    for (const auto &[name, tensor] : tensors.tensors())
      for (size_t i = 0; i < tensor.bytes; ++i)
        sum += tensor.data[i];
    if (sum == 0x7fffffff)
      std::abort();
  } catch (const Error &error) {
    if (!error.what()[0])
      std::abort();
  }
  close(file);
}

void fuzzGreeting(const uint8_t *data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char *>(data), size);
  auto greeting = Greeting::parse(bytes);
  if (!greeting)
    return;
  Launch launch;
  launch.count = 4;
  if (greeting->bytes() != bytes)
    std::abort();
  // Who is taken in has a place.
  if (greeting->refusal(launch).empty() && (greeting->index < 1 || greeting->index > 3))
    std::abort();
}

} // namespace seqpar::test
