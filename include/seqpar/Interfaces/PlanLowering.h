//===- PlanLowering.h - from ops on global tensors to one rank's ops -*- C++ -*-===//
//
// PlanLowering is what pass `localize` hands to each op (PlanLoweringOpInterface): the map from
// global values to this rank's values, the declarations of the stage, and the builder. RowKernel
// builds a plan.rows: an op that works on each row alone writes its arithmetic once, with RowExpr.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/Dialect/Plan/Plan.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"

#include <map>

namespace seqpar {

class PlanLowering {
public:
  PlanLowering(plan::StageOp stage, sp::GridAttr grid, mlir::OpBuilder &builder)
      : builder(builder), stage(stage), grid(grid) {}

  mlir::OpBuilder &builder;

  sp::GridAttr getGrid() const { return grid; }
  plan::StageOp getStage() const { return stage; }

  /// This rank's value for a global one: a tensor, or a memref for parameters and inputs.
  mlir::Value get(mlir::Value global) const;
  void set(mlir::Value global, mlir::Value local) { locals[global] = local; }
  bool has(mlir::Value global) const { return locals.contains(global); }

  /// The shape of one rank's chunk: ceil(n / P) along each split dimension; no layout.
  mlir::RankedTensorType getLocalType(mlir::Type global) const;

  /// The declaration of an input, made when first asked for.
  mlir::Value getInput(plan::InputKind kind, llvm::ArrayRef<int64_t> shape, mlir::Type elementType);
  /// An i32 scalar that is an operand of kernels, so that kernels which differ in it are one.
  mlir::Value getConstant(int32_t value);

  /// Declares a parameter: its value, gradient and moments, and returns the value.
  mlir::Value declareParameter(mlir::Location loc, llvm::StringRef name, plan::Initializer init, double deviation,
                               bool decay, mlir::RankedTensorType type);
  plan::ParameterOp getParameter(llvm::StringRef name) const { return parameters.lookup(name).value; }
  mlir::Value getGradient(llvm::StringRef name) const { return parameters.lookup(name).gradient; }
  llvm::SmallVector<plan::ParameterOp> getParameters() const;

  plan::MetricOp declareMetric(mlir::Location loc, plan::MetricKind kind, mlir::Type elementType);

  /// Where a metric (numbered as the model's dialect does) is accumulated.
  void setMetric(int kind, mlir::Value memory) { metrics[kind] = memory; }
  mlir::Value getMetric(int kind) const { return metrics.lookup(kind); }

  /// Lowers one op: by its interface, or through what the pass knows about the sp dialect.
  std::function<llvm::LogicalResult(mlir::Operation *)> lowerOp;

  /// Whether values now have the chunk of masked rows as their first extent (see plan.rows_loop).
  bool inRowsLoop = false;

private:
  struct Declarations {
    plan::ParameterOp value;
    mlir::Value gradient;
  };

  mlir::OpBuilder declarationBuilder() const;

  plan::StageOp stage;
  sp::GridAttr grid;
  llvm::DenseMap<mlir::Value, mlir::Value> locals;
  llvm::DenseMap<int, mlir::Value> inputs, metrics;
  std::map<int32_t, mlir::Value> constants;
  llvm::MapVector<mlir::StringRef, Declarations, llvm::StringMap<unsigned>> parameters;
};

class RowKernel;

/// A value of a row kernel's body, a row or an element, with the arithmetic of both: an element
/// beside a row stands for a row of that element.
class RowExpr {
public:
  RowExpr(RowKernel &kernel, mlir::Value value) : kernel(&kernel), value(value) {}
  mlir::Value getValue() const { return value; }
  bool isRow() const { return mlir::isa<mlir::RankedTensorType>(value.getType()); }

  RowKernel *kernel;
  mlir::Value value;
};

RowExpr operator+(RowExpr a, RowExpr b);
RowExpr operator-(RowExpr a, RowExpr b);
RowExpr operator*(RowExpr a, RowExpr b);
RowExpr operator/(RowExpr a, RowExpr b);
RowExpr operator+(RowExpr a, double b);
RowExpr operator+(double a, RowExpr b);
RowExpr operator-(double a, RowExpr b);
RowExpr operator*(double a, RowExpr b);
RowExpr operator/(double a, RowExpr b);
RowExpr exp(RowExpr x);
RowExpr log(RowExpr x);
RowExpr tanh(RowExpr x);
RowExpr erf(RowExpr x);
RowExpr sqrt(RowExpr x);
RowExpr min(RowExpr a, RowExpr b);
/// 32-bit integers.
RowExpr multiply(RowExpr a, RowExpr b);
/// 32-bit integer comparisons, and a choice by their result.
RowExpr equal(RowExpr a, RowExpr b);
RowExpr isBelow(RowExpr a, RowExpr b); ///< unsigned
RowExpr notNegative(RowExpr a);
RowExpr greater(RowExpr a, RowExpr b); ///< of floats
RowExpr select(RowExpr condition, RowExpr a, RowExpr b);
/// Sum, mean and maximum of a row.
RowExpr sum(RowExpr row);
RowExpr mean(RowExpr row);
RowExpr maximum(RowExpr row);
/// Between f32 and f64.
RowExpr toDouble(RowExpr x);
RowExpr toFloat(RowExpr x);

/// Builds one plan.rows. Operands are this rank's values. `finish` makes the op and maps results.
class RowKernel {
public:
  RowKernel(PlanLowering &lowering, mlir::Operation *source, llvm::StringRef name, int64_t rows, int64_t columns);
  ~RowKernel();

  RowExpr row(mlir::Value operand) { return addInput(operand, plan::AccessKind::Row); }
  RowExpr broadcast(mlir::Value operand) { return addInput(operand, plan::AccessKind::Broadcast); }
  RowExpr rowScalar(mlir::Value operand) { return addInput(operand, plan::AccessKind::RowScalar); }
  RowExpr scalar(mlir::Value operand) { return addInput(operand, plan::AccessKind::Scalar); }
  /// The row of `table` that `index`, made by rowScalar, names.
  RowExpr gather(mlir::Value table, RowExpr index);
  RowExpr constant(double value);
  RowExpr integer(uint32_t value);
  RowExpr iota();
  /// A random word for each column by coordinates, all of them elements; see plan.row_random.
  RowExpr random(RowExpr seed, RowExpr step, RowExpr site, RowExpr sample, RowExpr position);

  /// Outputs in value form; the result of the op becomes the rank's value of `global`.
  void yieldRow(RowExpr value, mlir::Value global);
  void yieldSum(RowExpr value, mlir::Value global);
  /// `into` with the row that `index` names overwritten, or added to.
  void yieldScatter(RowExpr value, mlir::Value into, RowExpr index, mlir::Value global, bool add);
  /// Outputs in buffer form.
  void store(RowExpr value, mlir::Value memory, plan::AccessKind kind);
  void setCombine(plan::Combine value) { combine = value; }

  plan::RowsOp finish();

  mlir::OpBuilder &getBuilder() { return bodyBuilder; }
  mlir::Location getLoc() const { return loc; }
  int64_t getColumns() const { return columns; }

private:
  struct Output {
    RowExpr value;
    plan::AccessAttr access;
    mlir::Value out;            ///< memory or updated value, or null
    mlir::RankedTensorType type; ///< of the result, or null
    mlir::Value global;
  };

  RowExpr addInput(mlir::Value operand, plan::AccessKind kind, int64_t index = -1);
  int64_t getInputNumber(RowExpr input) const;

  PlanLowering &lowering;
  mlir::Location loc;
  std::string name;
  int64_t rows, columns;
  std::unique_ptr<mlir::Region> region;
  mlir::OpBuilder bodyBuilder;
  llvm::SmallVector<mlir::Value> inputs;
  llvm::SmallVector<mlir::Attribute> inputAccess;
  llvm::SmallVector<Output> outputs;
  plan::Combine combine = plan::Combine::Overwrite;
};

/// Rows and columns of a value seen as a matrix: product of leading extents, last extent.
int64_t getRows(mlir::Value value);
int64_t getColumns(mlir::Value value);

} // namespace seqpar

#include "seqpar/Interfaces/PlanLoweringOpInterface.h.inc"
