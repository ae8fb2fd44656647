//===- Model.cpp - Models, inputs, parameters, repeated layers --------------------------------===//

#include "seqpar/Dialect/NN/NN.h"

#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

//===- Model and loss -------------------------------------------------------------------------===//

/// Reports a name that two parameters of `block` have. The names of a repeated layer get its
/// prefix.
static LogicalResult checkNames(Block &block, const Twine &prefix,
                                llvm::StringMap<Operation *> &names) {
  for (Operation &op : block) {
    if (auto parameter = dyn_cast<ParameterOp>(op)) {
      auto [entry, isNew] =
          names.try_emplace((prefix + parameter.getParameterName()).str(), parameter);
      if (isNew)
        continue;
      InFlightDiagnostic error = parameter.emitOpError()
                                 << "has the name '" << entry->first() << "' of another parameter";
      error.attachNote(entry->second->getLoc()) << "the other parameter";
      return error;
    }
    if (auto repeat = dyn_cast<RepeatOp>(op))
      if (failed(checkNames(repeat.getBody().front(), prefix + repeat.getPrefix() + "*.", names)))
        return failure();
  }
  return success();
}

LogicalResult ModelOp::verifyRegions() {
  if (!isa<LossOp>(getBody().front().back()))
    return emitOpError("must end in nn.loss");
  llvm::StringMap<Operation *> names;
  return checkNames(getBody().front(), "", names);
}

//===- Inputs ---------------------------------------------------------------------------------===//

/// Dimensions of an input of this kind; scalars are f32, the others i32.
static int64_t inputRank(InputKind kind) {
  switch (kind) {
  case InputKind::InverseLossTokens:
  case InputKind::InverseSamples:
    return 0;
  case InputKind::SentenceOrder:
    return 1;
  default:
    return 2;
  }
}

LogicalResult InputOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  int64_t rank = inputRank(getKind());
  bool isScalar = rank == 0;
  if (type.getRank() != rank || type.getElementType().isF32() != isScalar)
    return emitOpError() << "of kind " << stringifyInputKind(getKind()) << " must be "
                         << (isScalar    ? "tensor<f32>"
                             : rank == 1 ? "tensor<?xi32>"
                                         : "tensor<?x?xi32>")
                         << " (the dimensions may be bound), but is " << type;
  return success();
}

std::string InputOp::getLayoutRule() {
  switch (inputRank(getKind())) {
  case 0:
    return "->[]";
  case 1:
    return "->[b]";
  default: // attention reads the mask of all keys, so it is not split over positions
    return getKind() == InputKind::PaddingMask ? "->[b,u]" : "->[b,s]";
  }
}

bool seqpar::nn::hasSaneSize(ShapedType type) {
  int64_t elements = 1;
  for (int64_t extent : type.getShape()) {
    if (extent < 1 || extent > maxElements / elements)
      return false;
    elements *= extent;
  }
  return true;
}

//===- Parameters -----------------------------------------------------------------------------===//

LogicalResult ParameterOp::verify() {
  if (getParameterName().empty())
    return emitOpError("has an empty name");
  if (!cast<RankedTensorType>(getType()).hasStaticShape())
    return emitOpError() << "'" << getParameterName() << "' must have a static shape, but is "
                         << getType();
  if (!hasSaneSize(cast<ShapedType>(getType())))
    return emitOpError() << "'" << getParameterName()
                         << "' must have at least 1 and at most 2^40 elements, but is "
                         << getType();
  bool isNormal = getInitializer() == InitializerKind::Normal;
  if (isNormal != getDeviation().has_value())
    return emitOpError() << "'" << getParameterName() << "' "
                         << (isNormal ? "needs a deviation: normal(0.02)"
                                      : "has a deviation, which only normal takes");
  if (isNormal && !(getDeviation()->isFinite() && !getDeviation()->isNegative()))
    return emitOpError() << "'" << getParameterName()
                         << "' must have a finite deviation of at least 0";
  return success();
}

std::string ParameterOp::getLayoutRule() { return "->" + parameterFactors(getType()); }

//===- Repeated layers ------------------------------------------------------------------------===//

void RepeatOp::print(OpAsmPrinter &p) {
  p << " " << getCount() << " as " << getPrefixAttr() << " (";
  llvm::interleaveComma(llvm::zip_equal(getBody().getArguments(), getInitial()), p,
                        [&](auto pair) { p << std::get<0>(pair) << " = " << std::get<1>(pair); });
  p << ") : ";
  llvm::interleaveComma(getResultTypes(), p);
  p.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {"count", "prefix"});
  p << " ";
  p.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

ParseResult RepeatOp::parse(OpAsmParser &p, OperationState &result) {
  int64_t count;
  StringAttr prefix;
  SmallVector<OpAsmParser::Argument> arguments;
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  SMLoc loc = p.getCurrentLocation();
  if (p.parseInteger(count) || p.parseKeyword("as") || p.parseAttribute(prefix) ||
      p.parseAssignmentList(arguments, operands) || p.parseColonTypeList(result.types) ||
      p.resolveOperands(operands, result.types, loc, result.operands) ||
      p.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  for (auto [argument, type] : llvm::zip_equal(arguments, result.types))
    argument.type = type;
  result.addAttribute(getCountAttrName(result.name), p.getBuilder().getI64IntegerAttr(count));
  result.addAttribute(getPrefixAttrName(result.name), prefix);
  return p.parseRegion(*result.addRegion(), arguments);
}

LogicalResult RepeatOp::verifyRegions() {
  constexpr int64_t maxCount = 10000; // unrolling stays small and quick
  if (int64_t count = getCount(); count < 1 || count > maxCount)
    return emitOpError() << "count must be from 1 to " << maxCount << ", but is " << count;
  auto yield = dyn_cast<YieldOp>(getBody().front().back());
  if (!yield)
    return emitOpError("must end in nn.yield");
  auto check = [&](StringRef what, TypeRange types) -> LogicalResult {
    if (types.size() != getNumResults())
      return emitOpError() << "has " << getNumResults() << " results, but " << types.size() << " "
                           << what;
    for (auto [i, type, result] : llvm::enumerate(types, getResultTypes()))
      if (failed(verifyCompatibleShape(type, result)))
        return emitOpError() << "result " << i << " is " << result << ", but in its " << what << " "
                             << type;
    return success();
  };
  return failure(failed(check("initial values", getInitial().getTypes())) ||
                 failed(check("region arguments", getBody().getArgumentTypes())) ||
                 failed(check("yielded values", yield.getOperandTypes())));
}

//===- Lowering -------------------------------------------------------------------------------===//

/// The declared input that holds an input of the model.
static plan::InputKind getPlanKind(InputKind kind) {
  switch (kind) {
  case InputKind::Tokens:
    return plan::InputKind::Tokens;
  case InputKind::Types:
    return plan::InputKind::Types;
  case InputKind::Positions:
    return plan::InputKind::Positions;
  case InputKind::PaddingMask:
    return plan::InputKind::PaddingMask;
  case InputKind::LossMask:
    return plan::InputKind::MaskedRows;
  case InputKind::Labels:
    return plan::InputKind::MaskedLabels;
  case InputKind::SentenceOrder:
    return plan::InputKind::SentenceOrder;
  case InputKind::InverseLossTokens:
    return plan::InputKind::InverseLossTokens;
  case InputKind::InverseSamples:
    return plan::InputKind::InverseSamples;
  }
  llvm_unreachable("all kinds are listed");
}

LogicalResult InputOp::lowerToPlan(PlanLowering &lowering) {
  RankedTensorType type = lowering.getLocalType(getType());
  SmallVector<int64_t> shape(type.getShape());
  switch (getKind()) {
  case InputKind::LossMask: // the feed gives the masked positions as a list
  case InputKind::Labels:
    shape = {type.getNumElements()};
    break;
  case InputKind::PaddingMask: // of all chunks
    shape[1] = llvm::divideCeil(shape[1], lowering.getGrid().getSp()) * lowering.getGrid().getSp();
    break;
  default:
    break;
  }
  lowering.set(getResult(),
               lowering.getInput(getPlanKind(getKind()), shape, type.getElementType()));
  return success();
}

LogicalResult ParameterOp::lowerToPlan(PlanLowering &lowering) {
  plan::Initializer init = plan::Initializer::Zeros;
  if (getInitializer() == InitializerKind::Ones)
    init = plan::Initializer::Ones;
  else if (getInitializer() == InitializerKind::Normal)
    init = plan::Initializer::Normal;
  double deviation = getDeviation() ? getDeviation()->convertToDouble() : 0.0;
  lowering.set(getResult(),
               lowering.declareParameter(getLoc(), getParameterName(), init, deviation, getDecay(),
                                         lowering.getLocalType(getType())));
  return success();
}
