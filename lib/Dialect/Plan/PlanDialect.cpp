//===- PlanDialect.cpp - the plan dialect ---------------------------------===//
#include "seqpar/Dialect/Plan/Plan.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace seqpar::plan;

#include "seqpar/Dialect/Plan/PlanDialect.cpp.inc"
#include "seqpar/Dialect/Plan/PlanEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "seqpar/Dialect/Plan/PlanAttrs.cpp.inc"

void PlanDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "seqpar/Dialect/Plan/PlanAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "seqpar/Dialect/Plan/PlanOps.cpp.inc"
      >();
}

LogicalResult AccessAttr::verify(function_ref<InFlightDiagnostic()> emitError, AccessKind kind, int64_t index) {
  bool indexed = kind == AccessKind::Gather || kind == AccessKind::ScatterAdd || kind == AccessKind::Scatter;
  if (indexed != (index >= 0))
    return emitError() << "expected " << (indexed ? "the number of the input that holds the row" : "no input number")
                       << " for access '" << stringifyAccessKind(kind) << "'";
  return success();
}

Attribute AccessAttr::parse(AsmParser &parser, Type) {
  StringRef keyword;
  int64_t index = -1;
  if (parser.parseLess())
    return {};
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return {};
  std::optional<AccessKind> kind = symbolizeAccessKind(keyword);
  if (!kind) {
    parser.emitError(loc) << "expected an access, found '" << keyword << "'";
    return {};
  }
  if (OptionalParseResult number = parser.parseOptionalInteger(index); number.has_value() && failed(*number))
    return {};
  if (parser.parseGreater())
    return {};
  return parser.getChecked<AccessAttr>(loc, parser.getContext(), *kind, index);
}

void AccessAttr::print(AsmPrinter &printer) const {
  printer << "<" << stringifyAccessKind(getKind());
  if (getIndex() >= 0)
    printer << " " << getIndex();
  printer << ">";
}
