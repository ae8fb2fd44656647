//===- EmitRows.h - one row kernel as CUDA C++ ------------------*- C++ -*-===//
#pragma once

#include "BodyText.h"
#include "RowShape.h"
#include "Text.h"

namespace seqpar::cuda {

/// Writes the functions of one kernel: SYMBOL, and where rows are summed or added to a table
/// SYMBOL_sums and SYMBOL_scatter_OUTPUT, which run after it.
///
/// Names in the text: in0, out0 operands; s0 a scalar input; x0 columns of an input row; y0 columns
/// of an output; sum0 of a sum over rows; v0 results of the body's ops; part0 a thread's share of a
/// reduction. `row` is the present row, `column` the first column of the thread.
class RowEmitter {
public:
  RowEmitter(Text &text, Kernel &kernel, plan::RowsOp rows);

  /// Fails with an error at an op that has no CUDA C++.
  llvm::LogicalResult emit();

private:
  // EmitRows.cpp: functions, rows, scalars
  void nameValues();
  void emitComment();
  void openFunction(const std::string &symbol, int threads, bool hasWorkspace, bool hasAccumulate);
  bool hasRowFunction() const;
  void emitRowFunction();
  void emitBeforeRows();
  void declareSums();
  void emitRow();
  void emitIndices();
  void emitScalars(unsigned level);
  void emitScalarOutputs();
  void emitAfterRows();
  std::string getOperandName(unsigned operand) const;

  // EmitRowPhases.cpp: columns
  /// What a store of a phase takes its elements from, and where they go.
  struct Store {
    mlir::Value value;
    std::string array, address, condition;
  };
  bool isVector(mlir::Value value, unsigned phase) const;
  void emitPhase(unsigned number);
  bool usesColumn(unsigned number);
  void openColumns(bool usesColumn);
  void loadBroadcasts();
  void closeColumns();
  std::string getVector(const std::string &array) const;
  void declareArray(const std::string &type, const std::string &name);
  void declareLocal(const std::string &type, const std::string &name);
  llvm::SmallVector<mlir::Value> declareArrays(unsigned number);
  void emitLoad(mlir::Value value, unsigned number);
  std::string getAddress(unsigned operand) const;
  std::string getSlotAddress(const RowPhases::Slot &slot) const;
  const RowSum *findSum(unsigned output) const;
  const RowScatter *findScatter(unsigned output) const;
  std::string getElement(mlir::Value value) const;
  llvm::SmallVector<Store> listStores(unsigned number);
  llvm::SmallVector<unsigned> listSumsInMemory(unsigned number);
  llvm::SmallVector<std::string> listComputations(unsigned number);
  void emitElements(unsigned number);
  void emitStores(unsigned number);
  std::string getReduction(plan::RowReduceOp reduce) const;
  std::string getNeutral(plan::RowReduceOp reduce);
  void emitReductions(const RowPhases::Phase &phase);

  // EmitSums.cpp: the functions that run after the rows
  void emitSumsFunction();
  void emitScatterFunction(const RowScatter &scatter);
  std::string getPartAddress(int64_t offset, const std::string &type) const;

  mlir::Value getYielded(unsigned output) const {
    return rows.getBody().front().getTerminator()->getOperand(output);
  }
  plan::AccessKind getAccess(unsigned output) const {
    return rows.getOutputAccess(output).getKind();
  }
  const KernelOperand &getOutput(unsigned output) const {
    return kernel.operands[rows.getInputs().size() + output];
  }
  bool usesWorkspace() const { return shape.partBytes > 0 || shape.rowBytes > 0; }
  /// What an op's result is called, or the text of a constant.
  std::string getScalar(mlir::Value value) const;
  std::string getExpressionOf(mlir::Value value, llvm::function_ref<std::string(mlir::Value)> get);

  Text &text;
  Kernel &kernel;
  mutable plan::RowsOp rows; ///< a handle
  RowPhases phases;
  RowShape shape;
  llvm::DenseMap<mlir::Value, std::string> names;
  llvm::DenseMap<mlir::Value, std::string> arrays; ///< row values of the present phase in arrays
  llvm::DenseSet<mlir::Value> kept; ///< row values that registers hold for the rest of the row
  bool failed = false;
};

} // namespace seqpar::cuda
