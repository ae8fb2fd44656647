//===- EmitRows.h - one row kernel as a function of vectors -----*- C++ -*-===//
#pragma once

#include "seqpar/Target/KernelTable.h"
#include "seqpar/Target/RowPhases.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace seqpar::cpu {

/// Columns of one vector; the last columns % 16 of a row use a shorter one.
inline constexpr int64_t kVectorColumns = 16;

/// The coordinates of a plan.row_random, i32.
struct RandomCoordinates {
  mlir::Value seed, step, site, sample, position;
};

/// The words of columns `column` (i64, a multiple of kVectorColumns) to column + width - 1, where
/// width is at most kVectorColumns: a vector of i32.
mlir::Value emitRandom(mlir::ImplicitLocOpBuilder &b, mlir::Value column, int64_t width,
                       const RandomCoordinates &coordinates);

/// Emits the function of one kernel: a loop over rows, in it a loop over columns for each phase.
class RowEmitter {
public:
  RowEmitter(mlir::OpBuilder &builder, const Kernel &kernel, plan::RowsOp rows);
  void emit();

private:
  /// Vectors of the body's row values for some columns.
  struct Vectors {
    mlir::Value column; ///< i64, the first
    int64_t width;
    llvm::DenseMap<mlir::Value, mlir::Value> values{};
  };
  using Accumulators = llvm::SmallVector<mlir::Value>; // [copy * reductions + reduction]

  void loadOperands();
  void allocateScratch();
  void emitRow(mlir::Value row);
  void locateRows(mlir::Value row);
  void emitScalars(unsigned level);
  void storeScalars();

  void emitPhase(unsigned phase);
  Accumulators emitVectorLoop(unsigned phase, int64_t vectors, unsigned copies,
                              mlir::ValueRange accumulators);
  void emitColumns(unsigned phase, mlir::Value column, int64_t width,
                   llvm::MutableArrayRef<mlir::Value> accumulators);
  mlir::Value computeRowValue(mlir::Value value, unsigned phase, Vectors &vectors);
  mlir::Value loadArgument(mlir::BlockArgument argument, Vectors &vectors);
  void storeOutput(unsigned output, Vectors &vectors);

  mlir::Value combine(plan::ReduceKind kind, mlir::Value a, mlir::Value b);
  mlir::Value makeNeutral(plan::RowReduceOp reduce, int64_t width);
  mlir::Value reduceVector(plan::ReduceKind kind, mlir::Value vector);
  mlir::Value add(mlir::Value a, mlir::Value b);

  mlir::Value getOperand(mlir::Value bodyValue, Vectors &vectors);
  mlir::Value getScalar(mlir::Value bodyValue);
  mlir::Value makeInteger(int64_t value);
  mlir::Value makePointer(mlir::Type element, mlir::Value base, mlir::Value index);
  mlir::Value castBits(mlir::Type type, mlir::Value value);
  mlir::Value load(mlir::Type type, mlir::Value pointer);
  void store(mlir::Value value, mlir::Value pointer);
  mlir::Value getOutputPointer(unsigned output) {
    return rowPointers[rows.getInputs().size() + output];
  }
  mlir::Value getSlotPointer(const RowPhases::Slot &slot);

  mlir::ImplicitLocOpBuilder b;
  const Kernel &kernel;
  plan::RowsOp rows;
  RowPhases phases;
  int64_t columns;
  mlir::Type pointerType;

  llvm::SmallVector<mlir::Value> pointers;         ///< [operand]
  llvm::SmallVector<mlir::Value> rowPointers;      ///< [operand] of the present row's first element
  llvm::DenseMap<unsigned, mlir::Value> isPresent; ///< [operand] whether an indexed row exists
  llvm::DenseMap<mlir::Value, mlir::Value> scratch; ///< of values kept between phases
  llvm::DenseMap<mlir::Value, mlir::Value> uniform; ///< scalars of all rows
  llvm::DenseMap<mlir::Value, mlir::Value> scalars; ///< scalars of the present row
};

} // namespace seqpar::cpu
