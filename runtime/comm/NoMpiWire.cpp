#include "Wire.h"

#include "seqpar/rt/Error.h"

namespace seqpar::rt {

std::unique_ptr<Wire> createMpiWire() {
  fail("this build has no MPI: install libopenmpi-dev and configure again, or start the processes "
       "with torchrun");
}

} // namespace seqpar::rt
