//===- RowPhases.h - passes of a row kernel over its row --------*- C++ -*-===//
#pragma once

#include "seqpar/Dialect/Plan/Plan.h"

#include "llvm/ADT/SetVector.h"

namespace seqpar {

/// How the body of a row kernel becomes passes over the row.
///
/// A row_reduce needs the whole row, so what depends on its result happens in a later phase. A
/// value that several phases need is computed again when that is cheap, and otherwise kept in
/// memory: in the row of an output that is written later anyway, or in scratch memory of one row.
///
/// An output may share its buffer with an input: elements of a `row` output are written only in the
/// last phase that reads rows of inputs, after that phase's reads of the same columns. Scalars are
/// read before and written after all phases.
class RowPhases {
public:
  struct Phase {
    llvm::SetVector<mlir::Value> rows; ///< row values to have, operands before users
    llvm::SmallVector<plan::RowReduceOp> reductions;
    llvm::SmallVector<unsigned> stores; ///< numbers of outputs
    int64_t cost = 0;                   ///< instructions for one vector of columns, roughly
    bool isEmpty() const { return reductions.empty() && stores.empty(); }
  };

  /// Memory of one row that keeps a value between phases.
  struct Slot {
    mlir::Value value;
    unsigned firstPhase = 0, lastPhase = 0; ///< written in the first, read in all later ones
    int output = -1;                        ///< the output whose row it is; -1: scratch memory
    bool isOutput = false;                  ///< the output is this value, written in `firstPhase`
  };

  explicit RowPhases(plan::RowsOp rows);

  llvm::ArrayRef<Phase> getPhases() const { return phases; }
  llvm::ArrayRef<Slot> getSlots() const { return slots; }

  /// The slot of a value, or null.
  const Slot *getSlot(mlir::Value value) const;

  /// The first phase before which a value can be known: for a scalar, it is computed before that
  /// phase starts.
  unsigned getLevel(mlir::Value value) const { return levels.lookup(value); }

  /// Of all scalars and phases.
  unsigned getLastLevel() const { return lastLevel; }

  static bool isRow(mlir::Value value) {
    return mlir::isa<mlir::RankedTensorType>(value.getType());
  }

private:
  void computeLevels();
  void chooseExpensiveValues();
  void demand(mlir::Value value, unsigned phase);
  unsigned distribute();
  void assignOutputSlots(unsigned lastInputPhase);
  void fillPhases();

  plan::RowsOp op;
  llvm::DenseMap<mlir::Value, unsigned> levels;
  llvm::DenseMap<mlir::Value, llvm::SmallVector<bool>> demanded; ///< [phase] a row value is needed
  llvm::DenseSet<mlir::Value> expensive;
  llvm::SmallVector<unsigned> storePhase; ///< [output] of row values
  llvm::SmallVector<Phase> phases;
  llvm::SmallVector<Slot> slots;
  unsigned lastLevel = 0;
};

} // namespace seqpar
