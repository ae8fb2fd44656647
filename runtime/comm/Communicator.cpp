#include "seqpar/rt/Communicator.h"

namespace seqpar::rt {

size_t elementBytes(ElementType type) {
  return type == ElementType::F64 || type == ElementType::I64 ? 8 : 4;
}

} // namespace seqpar::rt
