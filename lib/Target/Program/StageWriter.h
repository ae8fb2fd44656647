//===- StageWriter.h - one stage of a program -------------------*- C++ -*-===//
#pragma once

#include "seqpar/Target/KernelTable.h"
#include "seqpar/program/program_generated.h"

#include "llvm/ADT/StringMap.h"

namespace seqpar {

/// The schema's name of a type of elements; nothing for a type that it lacks.
std::optional<program::DataType> getDataType(mlir::Type element);

/// That of the elements of a memref, which must have one, and their number.
program::DataType getDataTypeOf(mlir::Value memory);
int64_t getElementCount(mlir::Value memory);

/// Axes of the grid as the schema's bit set.
int getAxisBits(llvm::ArrayRef<int32_t> axes);

/// The buffers of a stage, each written once.
class BufferTable {
public:
  explicit BufferTable(flatbuffers::FlatBufferBuilder &builder) : builder(builder) {}

  /// Enters what a declaration, plan.range or plan.buffer makes. An error at the op when it has no
  /// offset or its elements have no type in the schema.
  mlir::LogicalResult add(mlir::Operation *op);

  int getIndex(mlir::Value memory) const { return indices.at(memory); }

  /// A buffer, or the two of an sp.alternate.
  program::Operand getOperand(mlir::Value memory) const;

  llvm::ArrayRef<flatbuffers::Offset<program::Buffer>> getBuffers() const { return buffers; }

private:
  flatbuffers::FlatBufferBuilder &builder;
  llvm::DenseMap<mlir::Value, int> indices;
  llvm::StringMap<int> known; ///< by everything that is written
  llvm::SmallVector<flatbuffers::Offset<program::Buffer>> buffers;
};

/// Writes blocks of ops in buffer form as lists of instructions.
class InstructionWriter {
public:
  using List = flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<program::Instruction>>>;

  InstructionWriter(flatbuffers::FlatBufferBuilder &builder, const BufferTable &buffers,
                    const KernelTable &kernels)
      : builder(builder), buffers(buffers), kernels(kernels) {}

  /// `forward`, when given, gets the number of instructions before plan.backward (all without one).
  mlir::FailureOr<List> write(mlir::Block &block, size_t *forward = nullptr);

private:
  using Written = std::pair<program::Operation, flatbuffers::Offset<void>>;
  using Result = mlir::FailureOr<Written>;

  Result write(mlir::Operation *op);
  Result writeGemm(plan::GemmOp op);
  Result writeRows(plan::RowsOp op);
  Result writeAttention(sp::AttentionBlockOp op);
  Result writeAttentionGrad(sp::AttentionBlockGradOp op);
  Result writeStart(sp::RingShiftStartOp op);
  Result writeAllReduce(sp::AllReduceOp op);
  Result writeAllGather(sp::AllGatherOp op);
  Result writeReduceScatter(sp::ReduceScatterOp op);
  Result writeFill(plan::FillOp op);
  Result writeRingLoop(sp::RingLoopOp op);
  Result writeRowsLoop(plan::RowsLoopOp op);

  program::Operand operand(mlir::Value memory) const;
  std::vector<program::Operand> operands(mlir::ValueRange memory) const;

  flatbuffers::FlatBufferBuilder &builder;
  const BufferTable &buffers;
  const KernelTable &kernels;
};

/// The stage as a table of the program.
mlir::FailureOr<flatbuffers::Offset<program::Stage>>
writeStage(plan::StageOp stage, const KernelTable &kernels,
           flatbuffers::FlatBufferBuilder &builder);

} // namespace seqpar
