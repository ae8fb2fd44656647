//===- Reproducer.h - phases that fail, as files to run again ---*- C++ -*-===//
#pragma once

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

#include <optional>
#include <string>

namespace seqpar {

/// Where a reproducer goes when nobody named a file: in the working directory.
inline constexpr llvm::StringLiteral kReproducerName = "seqpar-reproducer.mlir";

/// A phase that did not succeed.
struct PhaseFailure {
  enum Kind {
    Refused, ///< a pass reported an error: the model or the options are not what it can handle
    Invalid, ///< the result does not verify, or a pass verify-NAME found a promise broken
    Crashed, ///< a signal; the module must not be used any more, not even destroyed
  };
  Kind kind = Crashed;
  std::string pass;       ///< the last one that began: its argument
  std::string reproducer; ///< file for `seqpar-opt --run-reproducer`; empty: none was written
};

/// Runs the passes of a phase, then verifies the module, once. `manager` must be of modules, the
/// context without threads. Errors have been reported, but for a crash.
///
/// What failed is left as a reproducer, the module before the phase and the passes: in the file
/// `path` if there is one, else in kReproducerName, unless a pass has refused its input, whose
/// error says what to change. An old file of that name goes even if the new one cannot be written.
std::optional<PhaseFailure> runPhase(mlir::PassManager &manager, mlir::ModuleOp module,
                                     llvm::StringRef path);

} // namespace seqpar
