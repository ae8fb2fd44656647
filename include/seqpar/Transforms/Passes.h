//===- Passes.h - The passes, from a model to its plan ----------------------------------------===//

#ifndef SEQPAR_TRANSFORMS_PASSES_H
#define SEQPAR_TRANSFORMS_PASSES_H

#include "seqpar/Dialect/NN/NN.h"
#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Dialect/SP/SP.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace seqpar {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "seqpar/Transforms/Passes.h.inc"

} // namespace seqpar

#endif
