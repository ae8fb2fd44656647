//===- ExecutorParameters.cpp - whole tensors from their pieces -*- C++ -*-===//

#include "seqpar/rt/Executor.h"

namespace seqpar::rt {

// Every rank of a stage holds whole tensors.
void Executor::gatherParameter(int index, ParameterPart part, std::span<float> to) {
  if (coordinates.dp == 0 && coordinates.sp == 0)
    readParameter(index, part, to);
}

} // namespace seqpar::rt
