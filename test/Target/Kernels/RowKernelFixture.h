//===- RowKernelFixture.h - row kernels against the interpreter -*- C++ -*-===//
#pragma once

#include "RowInterpreter.h"

#include "seqpar/Target/CollectKernels.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <functional>
#include <map>
#include <string>

namespace seqpar::test {

/// What replaces the words ROWS, COLUMNS, INVERSE_COLUMNS, TABLE and FUNCTION of a kernel file.
struct Extents {
  int64_t rows = 5, columns = 16, table = 7;
  std::string function = {};
};

/// A file of test/Target/Inputs with its extents set. The kernel's operands get random values:
/// floats from a normal distribution, integers from -1 to below `table`.
class RowKernelCase {
public:
  RowKernelCase(mlir::MLIRContext &context, const std::string &file, Extents extents);
  /// From text instead of a file.
  static RowKernelCase fromText(mlir::MLIRContext &context, std::string text, Extents extents);

  plan::RowsOp rows;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::vector<Elements> operands;

  /// Inputs and outs that are the same buffer in the file share memory; `shareMemory` adds to that.
  void shareMemory(unsigned output, unsigned input) { sharedInput[output] = input; }

  /// Of operands that need another one than check() is given.
  std::map<size_t, double> tolerances;

  using Run = std::function<void(void *const *operands, int64_t rows)>;
  /// Compares what `run` writes with the interpreter: within `tolerance` of an operand's largest
  /// magnitude, and 0 where the interpreter has exactly 0.
  void check(const Run &run, double tolerance = 1e-5);

private:
  RowKernelCase() = default;
  void parse(mlir::MLIRContext &context, std::string text, Extents extents);
  void fill(int64_t table);
  std::vector<unsigned> memoryOfOperands() const;

  std::vector<int> sharedInput; ///< [output] or -1
};

/// All the context's dialects that kernel files use.
void loadKernelDialects(mlir::MLIRContext &context);

} // namespace seqpar::test
