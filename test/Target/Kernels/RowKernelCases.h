//===- RowKernelCases.h - cases that every back end passes ------*- C++ -*-===//
#pragma once

#include "RowKernelFixture.h"

#include "llvm/ADT/STLFunctionalExtras.h"

#include <ostream>
#include <string>
#include <vector>

namespace seqpar::test {

/// Runs a case on the back end and compares it with the interpreter.
using CheckCase = llvm::function_ref<void(RowKernelCase &kernel, double tolerance)>;

/// A kernel of test/Target/Inputs with its operands, also in place where it can be.
struct SharedCase {
  const char *name;
  void (*run)(mlir::MLIRContext &context, int64_t columns, CheckCase check);
};
std::vector<SharedCase> sharedCases();

inline void PrintTo(const SharedCase &shared, std::ostream *to) { *to << shared.name; }

/// Name of a test over columns and shared cases.
template <typename Info> std::string nameOfShared(const Info &info) {
  return std::string(std::get<1>(info.param).name) + "_" + std::to_string(std::get<0>(info.param));
}

} // namespace seqpar::test
