// The entry point that libFuzzer calls, for the target that the build names.

#include "Targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  seqpar::test::SEQPAR_FUZZ_TARGET(data, size);
  return 0;
}
