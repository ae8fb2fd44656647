//===- DifferentiableOpInterface.h - Ops that know their backward -----------------------------===//

#ifndef SEQPAR_INTERFACES_DIFFERENTIABLEOPINTERFACE_H
#define SEQPAR_INTERFACES_DIFFERENTIABLEOPINTERFACE_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/OpDefinition.h"

#include "seqpar/Interfaces/DifferentiableOpInterface.h.inc"

#endif
