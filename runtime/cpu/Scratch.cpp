//===- Scratch.cpp - aligned memory ---------------------------------------===//

#include "seqpar/rt/cpu/Scratch.h"

#include "seqpar/rt/Error.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

namespace seqpar::rt {

void *allocateAligned(size_t bytes) {
  constexpr size_t hugePage = size_t(2) << 20, line = 64;
  size_t alignment = bytes >= 2 * hugePage ? hugePage : line;
  // More than the machine has could be granted and only fail when it is touched.
  size_t machine = size_t(sysconf(_SC_PHYS_PAGES)) * size_t(sysconf(_SC_PAGESIZE));
  void *memory = nullptr;
  if (bytes <= machine) {
    size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
    if (memory && alignment == hugePage)
      (void)madvise(memory, rounded, MADV_HUGEPAGE); // a hint: without it small pages are used
  }
  if (!memory)
    fail("cannot allocate {} bytes of memory on a machine with {}; use a smaller micro-batch or "
         "more ranks",
         bytes, machine);
  return memory;
}

void freeAligned(void *memory) { std::free(memory); }

void *Scratch::atLeast(size_t bytes) {
  if (bytes > size) {
    void *larger = allocateAligned(bytes);
    freeAligned(memory);
    memory = larger;
    size = bytes;
  }
  return memory;
}

} // namespace seqpar::rt
