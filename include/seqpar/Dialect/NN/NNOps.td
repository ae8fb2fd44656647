//===- NNOps.td - Dialect nn: the ops ---------------------------------------------------------===//
//
// NNModelOps.td: models, steps, parameters and inputs. NNForwardOps.td: what a model computes.
// NNGradOps.td: the backward.
//
//===------------------------------------------------------------------------------------------===//

#ifndef SEQPAR_DIALECT_NN_NNOPS_TD
#define SEQPAR_DIALECT_NN_NNOPS_TD

include "seqpar/Dialect/NN/NNModelOps.td"
include "seqpar/Dialect/NN/NNForwardOps.td"
include "seqpar/Dialect/NN/NNGradOps.td"

#endif
