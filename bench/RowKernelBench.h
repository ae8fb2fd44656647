//===- RowKernelBench.h - the row kernels of a program ----------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Device.h"

#include <string>

namespace seqpar::bench {

/// Runs each kernel of the program file at its largest number of rows and prints a line per kernel:
/// bytes moved per second against memcpy of as many bytes. Throws rt::Error on a bad file.
void benchRowKernels(rt::Device &device, const std::string &programFile);

} // namespace seqpar::bench
