//===- RowInterpreter.h - row kernels in double precision -------*- C++ -*-===//
//
// The reference for the back ends: evaluates the body of a plan.rows op by op.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/Dialect/Plan/Plan.h"

#include <vector>

namespace seqpar::test {

/// Elements of an operand: floats of any type in `f`, integers in `i`.
struct Elements {
  std::vector<double> f;
  std::vector<int64_t> i;
};

/// Runs all rows. `operands`: of the inputs, then of the outs, each its own memory; sum_rows and
/// scatter_add outputs are added to.
void interpretRows(plan::RowsOp rows, std::vector<Elements> &operands);

} // namespace seqpar::test
