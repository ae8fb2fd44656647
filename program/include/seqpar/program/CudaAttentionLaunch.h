//===- CudaAttentionLaunch.h - names and grids of attention kernels -------===//
#ifndef SEQPAR_PROGRAM_CUDAATTENTIONLAUNCH_H
#define SEQPAR_PROGRAM_CUDAATTENTIONLAUNCH_H

#include "seqpar/program/CudaAttention.h"

#include <string>

namespace seqpar::cuda {

/// The kernel of warpgroups that takes a kernel's place; delta has none and is its own.
constexpr AttentionKernel attentionWarpgroup(AttentionKernel kernel) {
  switch (kernel) {
  case AttentionKernel::Forward:
    return AttentionKernel::ForwardWarpgroup;
  case AttentionKernel::BackwardKeys:
    return AttentionKernel::BackwardKeysWarpgroup;
  case AttentionKernel::BackwardQueries:
    return AttentionKernel::BackwardQueriesWarpgroup;
  default:
    return kernel;
  }
}

/// The name of a kernel in its module.
inline std::string attentionEntry(AttentionKernel kernel, const AttentionConfig &config) {
  const char *kernels[] = {"forward",
                           "delta",
                           "backward_keys",
                           "backward_queries",
                           "forward_warpgroup",
                           "backward_keys_warpgroup",
                           "backward_queries_warpgroup"};
  const char *types[] = {"f32", "bf16", "f16"};
  return std::string("seqpar_attention_") + kernels[int(kernel)] + "_" +
         types[int(config.storage)] + "_" + std::to_string(config.headDim) +
         (config.dropout && kernel != AttentionKernel::Delta ? "_dropout" : "");
}

struct AttentionGrid {
  unsigned x, y, z;
};

inline AttentionGrid attentionGrid(AttentionKernel kernel, const AttentionConfig &config,
                                   const AttentionParameters &p) {
  int rows = attentionTiling(kernel, config).rows, extent = p.queries;
  if (kernel == AttentionKernel::BackwardKeys || kernel == AttentionKernel::BackwardKeysWarpgroup)
    extent = p.keys + attentionLead(p, config);
  return {unsigned((extent + rows - 1) / rows), unsigned(p.heads), unsigned(p.batch)};
}

} // namespace seqpar::cuda

#endif // SEQPAR_PROGRAM_CUDAATTENTIONLAUNCH_H
