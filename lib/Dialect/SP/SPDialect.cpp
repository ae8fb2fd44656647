//===- SPDialect.cpp - the sp dialect -------------------------------------===//
#include "seqpar/Dialect/SP/SP.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace seqpar::sp;

#include "seqpar/Dialect/SP/SPDialect.cpp.inc"
#include "seqpar/Dialect/SP/SPEnums.cpp.inc"

void SPDialect::initialize() {
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "seqpar/Dialect/SP/SPOps.cpp.inc"
      >();
}
