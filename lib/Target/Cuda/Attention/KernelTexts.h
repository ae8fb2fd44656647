//===- KernelTexts.h - files of kernels/ as text ----------------*- C++ -*-===//
#pragma once

namespace seqpar {

// Defined in a file that the build writes. The contract is seqpar/program/CudaAttention.h.
extern const char *const kKernelTextContract,
    *const kKernelTextTypes, *const kKernelTextPtx,
                                 *const kKernelTextPtxWarpgroup,
                                     *const kKernelTextCommon,
                                         *const kKernelTextSimt,
                                             *const kKernelTextTiles,
                                                 *const kKernelTextProducts,
                                                     *const kKernelTextForward,
                                                         *const kKernelTextBackward;

} // namespace seqpar
