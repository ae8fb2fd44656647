//===- RowShape.h - how threads share the rows of a kernel ------*- C++ -*-===//
#pragma once

#include "seqpar/Target/KernelTable.h"
#include "seqpar/Target/RowPhases.h"

namespace seqpar::cuda {

/// A value that several phases need, kept in memory: rows of more columns than registers hold.
struct ScratchRow {
  mlir::Value value;
  int64_t offset; ///< in a part's workspace
};

/// A sum over rows: each part adds its rows, a second launch adds the parts.
struct RowSum {
  unsigned output;
  mlir::Value value;  ///< yielded
  int64_t offset = 0; ///< of the part's sum in a part's workspace
  int rowOutput = -1; ///< output that has the value of each row in memory: no parts are needed
};

/// A scatter_add of rows that are not an operand as they are: they go through the workspace.
struct RowScatter {
  unsigned output;
  int source = -1;    ///< input that holds the rows
  int64_t offset = 0; ///< otherwise, of the row in a row's workspace
};

/// How the threads of a grid share the rows of a kernel and their columns. A row belongs to one
/// warp or to one block; its threads have `width` consecutive columns at a time, `vectors` times.
/// Rows with few enough columns are read once and stay in registers through all phases.
struct RowShape {
  RowShape(plan::RowsOp rows, const Kernel &kernel, const RowPhases &phases);

  int64_t columns = 1;
  int width = 1;           ///< columns of one load
  int threads = 32;        ///< of a row
  int vectors = 1;         ///< loads that a thread needs for its columns, when `inRegisters`
  bool inRegisters = true; ///< otherwise each phase goes over the row again
  int rowsPerBlock = 1;    ///< 1: a block has one row; otherwise each of its warps has one
  int maxBlocks = 1;
  std::vector<RowSum> sums;
  std::vector<RowScatter> scatters;
  std::vector<ScratchRow> scratch;
  int64_t partBytes = 0, rowBytes = 0;

  bool isWarp() const { return rowsPerBlock > 1; }
  int blockThreads() const { return threads * rowsPerBlock; }
  bool isExact() const { return columns == int64_t(threads) * vectors * width; }
  int64_t stride() const { return int64_t(threads) * width; }

private:
  void chooseWidth(const Kernel &kernel, const RowPhases &phases);
  void chooseThreads(const RowPhases &phases);
  void collectOutputs(plan::RowsOp rows, const Kernel &kernel);
  void collectScratch(plan::RowsOp rows, const Kernel &kernel, const RowPhases &phases);
  int64_t reservePart(int64_t elements, mlir::Type element);
};

/// Bytes of an element as threads compute with it: float for all floats of at most 32 bits.
int64_t getComputeBytes(mlir::Type element);

/// Whether memory of this type holds what threads compute without rounding.
bool isStoredExactly(mlir::Type memory, mlir::Type element);

} // namespace seqpar::cuda
