//===- KernelTexts.h - files of kernels/ as text ----------------*- C++ -*-===//
#pragma once

namespace seqpar {

// Defined in a file that the build writes. The contract is seqpar/program/CudaAttention.h.
using KernelText = const char *const;
extern KernelText kKernelTextContract;
extern KernelText kKernelTextTypes;
extern KernelText kKernelTextPtx;
extern KernelText kKernelTextPtxWarpgroup;
extern KernelText kKernelTextCommon;
extern KernelText kKernelTextSimt;
extern KernelText kKernelTextTiles;
extern KernelText kKernelTextProducts;
extern KernelText kKernelTextForward;
extern KernelText kKernelTextBackward;

} // namespace seqpar
