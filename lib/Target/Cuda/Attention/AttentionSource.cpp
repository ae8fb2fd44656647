//===- AttentionSource.cpp - text of the CUDA attention kernels -----------===//

#include "seqpar/Target/Cuda/AttentionSource.h"

#include "KernelTexts.h"

#include <algorithm>
#include <cassert>
#include <set>
#include <utility>

namespace seqpar {

using namespace cuda;

namespace {

/// The function template of a kernel, with its arguments.
std::string instance(AttentionKernel kernel, const AttentionConfig &config) {
  bool simt = config.storage == AttentionStorage::F32;
  const char *names[] = {"forward", "delta",        "backwardKeys",   "backwardQueries",
                         "forward", "backwardKeys", "backwardQueries"};
  const char *simtNames[] = {"simtForward", "delta", "simtBackwardKeys", "simtBackwardQueries"};
  const char *types[] = {"float", "BFloat16", "Float16"};
  bool delta = kernel == AttentionKernel::Delta;
  std::string result = (simt ? simtNames : names)[int(kernel)];
  result += "<";
  if (!simt || delta)
    result += types[int(config.storage)] + std::string(", ");
  result += std::to_string(config.headDim);
  if (!delta)
    result += config.dropout ? ", true" : ", false";
  if (kernel >= AttentionKernel::ForwardWarpgroup)
    result += ", true";
  return result + ">";
}

std::string entry(AttentionKernel kernel, const AttentionConfig &config) {
  AttentionTiling tiling = attentionTiling(kernel, config);
  // Asked for one block a multiprocessor, the assembler does not spill to fit two.
  const char *blocks = config.storage == AttentionStorage::F32 ? ", 1" : "";
  return "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(tiling.threads()) +
         blocks + ")\n" + attentionEntry(kernel, config) + "(const AttentionParameters p) {\n  " +
         instance(kernel, config) + "(p);\n}\n";
}

/// What all kernels of a set need.
std::string commonText(bool anySimt, bool any16) {
  std::string text = kKernelTextContract;
  text += kKernelTextTypes;
  text += kKernelTextPtx;
  if (any16)
    text += kKernelTextPtxWarpgroup;
  text += kKernelTextCommon;
  if (anySimt)
    text += kKernelTextSimt;
  if (any16) {
    text += kKernelTextTiles;
    text += kKernelTextProducts;
    text += kKernelTextForward;
    text += kKernelTextBackward;
  }
  return text + "\nusing namespace seqpar::cuda;\n";
}

} // namespace

std::string attentionSource(std::span<const AttentionConfig> configs) {
  auto isSimt = [](const AttentionConfig &c) { return c.storage == AttentionStorage::F32; };
  std::string text = commonText(std::any_of(configs.begin(), configs.end(), isSimt),
                                !std::all_of(configs.begin(), configs.end(), isSimt));
  std::set<std::string> entries;
  for (const AttentionConfig &config : configs) {
    assert(attentionSupports(config.storage, config.headDim) && "no such kernel");
    for (auto kernel : {AttentionKernel::Forward, AttentionKernel::Delta,
                        AttentionKernel::BackwardKeys, AttentionKernel::BackwardQueries})
      if (entries.insert(attentionEntry(kernel, config)).second)
        text += "\n" + entry(kernel, config);
  }
  return text;
}

std::string attentionWarpgroupSource(std::span<const AttentionConfig> configs) {
  std::string text = commonText(false, true);
  std::set<std::string> entries;
  for (const AttentionConfig &config : configs) {
    assert(attentionSupportsWarpgroup(config.storage, config.headDim) && "no such kernel");
    for (auto kernel : {AttentionKernel::ForwardWarpgroup, AttentionKernel::BackwardKeysWarpgroup,
                        AttentionKernel::BackwardQueriesWarpgroup})
      if (entries.insert(attentionEntry(kernel, config)).second)
        text += "\n" + entry(kernel, config);
  }
  return text;
}

} // namespace seqpar
