//===- WriteProgram.h - a plan as a program file ----------------*- C++ -*-===//
#pragma once

#include "seqpar/Target/KernelTable.h"

#include "mlir/IR/BuiltinOps.h"

#include <cstdint>
#include <vector>

namespace seqpar {

/// The bytes of the program (program.fbs) for the plan.program in `module`, which must be in buffer
/// form with all offsets assigned. `kernels` knows each of its plan.rows. `microBatches`: of one
/// step and replica. The bytes pass the schema's verifier.
mlir::FailureOr<std::vector<uint8_t>>
writeProgram(mlir::ModuleOp module, const KernelTable &kernels, int64_t microBatches);

} // namespace seqpar
