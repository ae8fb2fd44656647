//===- LayoutOpInterface.cpp - Layout rules: parsing and verification -------------------------===//

#include "seqpar/Interfaces/LayoutOpInterface.h"

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace seqpar;

#include "seqpar/Interfaces/LayoutOpInterface.cpp.inc"

/// Parses "[a,b],[c]" into `lists`; the empty text is no list.
static LogicalResult parseLists(StringRef text, SmallVectorImpl<LayoutRule::Factors> &lists) {
  while (!text.empty()) {
    if (!text.consume_front("["))
      return failure();
    auto [list, rest] = text.split(']');
    if (list.size() + rest.size() + 1 != text.size())
      return failure();
    LayoutRule::Factors &factors = lists.emplace_back();
    while (!list.empty()) {
      auto [factor, others] = list.split(',');
      if (factor.empty() || !llvm::all_of(factor, llvm::isAlnum))
        return failure();
      factors.push_back(factor.str());
      list = others;
    }
    if (!rest.empty() && !rest.consume_front(","))
      return failure();
    text = rest;
  }
  return success();
}

FailureOr<LayoutRule> seqpar::parseLayoutRule(StringRef text) {
  size_t arrow = text.find("->");
  LayoutRule rule;
  if (arrow == StringRef::npos || failed(parseLists(text.take_front(arrow), rule.operands)) ||
      failed(parseLists(text.drop_front(arrow + 2), rule.results)))
    return failure();
  return rule;
}

std::string seqpar::activationFactors(Type type) {
  switch (cast<ShapedType>(type).getRank()) {
  case 0:
    return "[]";
  case 1:
    return "[b]";
  case 2:
    return "[b,h]";
  default:
    return "[b,s,h]";
  }
}

std::string seqpar::parameterFactors(Type type) {
  static constexpr StringRef names[] = {"i", "j", "k"};
  size_t rank = std::min<size_t>(cast<ShapedType>(type).getRank(), std::size(names));
  return "[" + llvm::join(ArrayRef(names).take_front(rank), ",") + "]";
}

namespace {
/// Where a factor got its extent.
struct Extent {
  int64_t size;
  std::string where;
};
} // namespace

/// Checks one tensor against its factors and records the extents it fixes.
static LogicalResult checkTensor(Operation *op, StringRef rule, const std::string &where, Type type,
                                 const LayoutRule::Factors &factors,
                                 llvm::StringMap<Extent> &extents) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return op->emitOpError() << where << " must be a ranked tensor, but is " << type;
  if (tensor.getRank() != static_cast<int64_t>(factors.size()))
    return op->emitOpError() << where << " must have rank " << factors.size() << " (" << rule
                             << "), but is " << type;
  for (auto [factor, size] : llvm::zip_equal(factors, tensor.getShape())) {
    if (ShapedType::isDynamic(size))
      continue;
    auto [entry, isNew] = extents.try_emplace(factor, Extent{size, where});
    if (!isNew && entry->second.size != size)
      return op->emitOpError() << "extent " << factor << " of " << rule << " is "
                               << entry->second.size << " in " << entry->second.where << ", but "
                               << size << " in " << where;
  }
  return success();
}

LogicalResult seqpar::verifyLayoutRule(Operation *op) {
  std::string text = cast<LayoutOpInterface>(op).getLayoutRule();
  FailureOr<LayoutRule> rule = parseLayoutRule(text);
  if (failed(rule) || rule->operands.size() != op->getNumOperands() ||
      rule->results.size() != op->getNumResults())
    return op->emitOpError() << "has " << op->getNumOperands() << " operands and "
                             << op->getNumResults() << " results, which its layout rule " << text
                             << " does not fit";
  llvm::StringMap<Extent> extents;
  for (auto [i, type] : llvm::enumerate(op->getOperandTypes()))
    if (failed(checkTensor(op, text, "operand " + std::to_string(i), type, rule->operands[i],
                           extents)))
      return failure();
  for (auto [i, type] : llvm::enumerate(op->getResultTypes()))
    if (failed(
            checkTensor(op, text, "result " + std::to_string(i), type, rule->results[i], extents)))
      return failure();
  return success();
}
