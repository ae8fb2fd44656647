//===- InitAll.h - Registration of all dialects and passes ------------------------------------===//

#ifndef SEQPAR_INITALL_H
#define SEQPAR_INITALL_H

#include "seqpar/Dialect/NN/NN.h"
#include "seqpar/Dialect/Plan/Plan.h"
#include "seqpar/Dialect/SP/SP.h"
#include "seqpar/Transforms/Passes.h"

namespace seqpar {

inline void registerAllDialects(mlir::DialectRegistry &registry) {
  registry.insert<nn::NNDialect, plan::PlanDialect, sp::SPDialect>();
}

inline void registerAllPasses() { registerSeqparPasses(); }

} // namespace seqpar

#endif
