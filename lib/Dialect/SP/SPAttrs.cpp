//===- SPAttrs.cpp - layouts and grids ------------------------------------===//
#include "seqpar/Dialect/SP/SP.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace seqpar::sp;

#define GET_ATTRDEF_CLASSES
#include "seqpar/Dialect/SP/SPAttrs.cpp.inc"

void SPDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "seqpar/Dialect/SP/SPAttrs.cpp.inc"
      >();
}

LayoutAttr seqpar::sp::getLayout(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? dyn_cast_or_null<LayoutAttr>(tensor.getEncoding()) : LayoutAttr();
}

RankedTensorType seqpar::sp::withLayout(RankedTensorType type, LayoutAttr layout) {
  return RankedTensorType::get(type.getShape(), type.getElementType(), layout);
}

StringRef seqpar::sp::getAxisName(Axis axis) { return stringifyAxis(axis); }

LogicalResult GridAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t dp, int64_t pp, int64_t sp) {
  if (dp < 1 || pp < 1 || sp < 1)
    return emitError() << "a grid needs at least one rank along each axis, found dp = " << dp << ", pp = " << pp
                       << ", sp = " << sp;
  if (sp > 64)
    return emitError() << "expected at most 64 ranks along sp, found " << sp;
  return success();
}

static std::optional<Axis> parseAxisKeyword(AsmParser &parser) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return std::nullopt;
  std::optional<Axis> axis = symbolizeAxis(keyword);
  if (!axis)
    parser.emitError(loc) << "expected an axis (dp, pp or sp), found '" << keyword << "'";
  return axis;
}

Attribute LayoutAttr::parse(AsmParser &parser, Type) {
  SmallVector<int32_t> splits;
  SmallVector<Axis> partial;
  auto parseSplit = [&]() -> ParseResult {
    if (succeeded(parser.parseOptionalMinus())) {
      splits.push_back(kNone);
      return success();
    }
    std::optional<Axis> axis = parseAxisKeyword(parser);
    if (!axis)
      return failure();
    splits.push_back(static_cast<int32_t>(*axis));
    return success();
  };
  auto parsePartial = [&]() -> ParseResult {
    std::optional<Axis> axis = parseAxisKeyword(parser);
    if (!axis)
      return failure();
    partial.push_back(*axis);
    return success();
  };
  if (parser.parseLess() || parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseSplit))
    return {};
  if (succeeded(parser.parseOptionalComma()))
    if (parser.parseKeyword("partial") || parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parsePartial))
      return {};
  if (parser.parseGreater())
    return {};
  return parser.getChecked<LayoutAttr>(parser.getCurrentLocation(), parser.getContext(), splits, partial);
}

void LayoutAttr::print(AsmPrinter &printer) const {
  printer << "<[";
  llvm::interleaveComma(getSplits(), printer, [&](int32_t split) {
    if (split == kNone)
      printer << "-";
    else
      printer << getAxisName(static_cast<Axis>(split));
  });
  printer << "]";
  if (isPartial()) {
    printer << ", partial [";
    llvm::interleaveComma(getPartial(), printer, [&](Axis axis) { printer << getAxisName(axis); });
    printer << "]";
  }
  printer << ">";
}

LogicalResult LayoutAttr::verify(function_ref<InFlightDiagnostic()> emitError, ArrayRef<int32_t> splits,
                                 ArrayRef<Axis> partial) {
  unsigned seen = 0;
  auto once = [&](Axis axis) -> LogicalResult {
    unsigned bit = 1u << static_cast<unsigned>(axis);
    if (seen & bit)
      return emitError() << "axis '" << getAxisName(axis) << "' occurs twice in a layout";
    seen |= bit;
    return success();
  };
  for (int32_t split : splits)
    if (split != kNone && failed(once(static_cast<Axis>(split))))
      return failure();
  for (Axis axis : partial)
    if (failed(once(axis)))
      return failure();
  return success();
}

LogicalResult LayoutAttr::verifyEncoding(ArrayRef<int64_t> shape, Type,
                                         function_ref<InFlightDiagnostic()> emitError) const {
  if (getSplits().size() == shape.size())
    return success();
  return emitError() << "expected a layout with an entry for each of the tensor's " << shape.size()
                     << " dimensions, found " << getSplits().size();
}

std::optional<int64_t> LayoutAttr::getDimSplitOver(Axis axis) const {
  for (auto [dim, split] : llvm::enumerate(getSplits()))
    if (split == static_cast<int32_t>(axis))
      return dim;
  return std::nullopt;
}
