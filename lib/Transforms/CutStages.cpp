//===- CutStages.cpp - a step for each pipeline stage ---------------------===//
//
// The ops of a micro-batch belong to stages by their order: each nn.cut, forward or backward, moves
// on to its stage `to`. For every stage the ops that belong to it are copied into a step of its
// own; where a cut leaves a stage there is a send, where it enters one a receive. Tags: 2 b for the
// activation over boundary b, 2 b + 1 for its gradient, behind those one for each two holders of
// each parameter that several stages hold.
//
// What is sent forward is waited for at the beginning of the backward part, when it has long been
// received. What is sent backward is the last thing a micro-batch computes: bufferize waits before
// the next one writes it again, the update for the last.
//
//===----------------------------------------------------------------------===//
#include "SumStages.h"
#include "seqpar/Transforms/CutPoints.h"
#include "seqpar/Transforms/LayoutUtils.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/MapVector.h"

namespace seqpar {
#define GEN_PASS_DEF_CUTSTAGES
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

using namespace mlir;
using namespace seqpar;

static bool isDeclaration(Operation *op) {
  return isa_and_nonnull<nn::ParameterOp, nn::InputOp>(op);
}

static int64_t getActivationTag(int64_t boundary) { return 2 * boundary; }
static int64_t getGradientTag(int64_t boundary) { return 2 * boundary + 1; }

namespace {

/// Cuts one step.
class StageCutter {
public:
  StageCutter(nn::StepOp step, int64_t stages)
      : step(step), block(step.getMicroBatch().front()), stages(stages), builder(step) {}

  LogicalResult run() {
    if (failed(assignStages()) || failed(checkClosed()))
      return failure();
    findTies();
    for (stage = 0; stage < stages; ++stage)
      if (failed(buildStage()))
        return failure();
    step.erase();
    return success();
  }

private:
  LogicalResult assignStages();
  LogicalResult checkClosed();
  void findTies();
  bool usesInStage(Value declared, int64_t which);
  int64_t getStage(Value value) const {
    if (auto cut = value.getDefiningOp<nn::CutOp>())
      return cut.getTo();
    return stageOf.lookup(value.getDefiningOp());
  }

  LogicalResult buildStage();
  void buildOp(Operation &op);
  void buildAccumulate(nn::AccumulateOp op);
  void buildCut(nn::CutOp cut);
  LogicalResult buildUpdate(Block &update);
  LogicalResult buildNorm(nn::GlobalNormOp op);
  void waitForSent(int64_t tag);

  nn::StepOp step;
  Block &block;
  int64_t stages, stage = 0;
  OpBuilder builder;
  DenseMap<Operation *, int64_t> stageOf; ///< ops other than declarations, cuts and nn.accumulate
  llvm::MapVector<StringRef, SmallVector<int32_t>> ties; ///< stages of parameters that several have
  IRMapping mapping;
};

} // namespace

LogicalResult StageCutter::assignStages() {
  auto ops = block.getOps<nn::CutOp>();
  if (std::distance(ops.begin(), ops.end()) != 2 * (stages - 1))
    return step.emitOpError("expected ")
           << 2 * (stages - 1) << " cuts for " << stages << " pipeline stages, found "
           << std::distance(ops.begin(), ops.end()) << ": run mark-cuts before differentiate";
  int64_t current = 0, cuts = 0;
  for (Operation &op : block) {
    if (isDeclaration(&op) || isa<nn::AccumulateOp>(op))
      continue;
    auto cut = dyn_cast<nn::CutOp>(op);
    if (!cut) {
      if (isa<nn::BackwardOp>(op) && current != stages - 1)
        return op.emitOpError("expected in the last stage, found in stage ") << current;
      stageOf[&op] = current;
      continue;
    }
    bool forward = cuts < stages - 1;
    if (static_cast<int64_t>(cut.getFrom()) != current ||
        static_cast<int64_t>(cut.getTo()) != current + (forward ? 1 : -1))
      return cut.emitOpError("expected a cut from stage ")
             << current << " to its neighbour in the " << (forward ? "forward" : "backward")
             << " direction";
    current = cut.getTo();
    ++cuts;
  }
  return success();
}

LogicalResult StageCutter::checkClosed() {
  for (Operation &op : block) {
    if (isDeclaration(&op) || isa<nn::AccumulateOp>(op))
      continue;
    auto cut = dyn_cast<nn::CutOp>(op);
    int64_t own = cut ? static_cast<int64_t>(cut.getFrom()) : stageOf.lookup(&op);
    WalkResult result = op.walk([&](Operation *inner) {
      for (Value operand : inner->getOperands()) {
        Operation *definition = operand.getDefiningOp();
        if (!definition || definition->getBlock() != &block || isDeclaration(definition) ||
            getStage(operand) == own)
          continue;
        InFlightDiagnostic error = inner->emitOpError("of stage ")
                                   << own << " uses a value of stage " << getStage(operand)
                                   << "; only what nn.cut hands on crosses stages";
        error.attachNote(operand.getLoc()) << "the value";
        return WalkResult::interrupt();
      }
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return failure();
  }
  return success();
}

bool StageCutter::usesInStage(Value declared, int64_t which) {
  return llvm::any_of(declared.getUsers(), [&](Operation *user) {
    auto found = stageOf.find(block.findAncestorOpInBlock(*user));
    return found != stageOf.end() && found->second == which;
  });
}

void StageCutter::findTies() {
  for (auto parameter : block.getOps<nn::ParameterOp>()) {
    SmallVector<int32_t> users;
    for (int64_t which = 0; which < stages; ++which)
      if (usesInStage(parameter, which))
        users.push_back(which);
    if (users.size() > 1)
      ties[parameter.getParameterName()] = users;
  }
}

//===----------------------------------------------------------------------===//
// One stage
//===----------------------------------------------------------------------===//

LogicalResult StageCutter::buildStage() {
  mapping.clear();
  builder.setInsertionPoint(step);
  std::string name = (step.getSymName() + ".stage" + Twine(stage)).str();
  auto part = nn::StepOp::create(builder, step.getLoc(), name);
  part.setStage(stage);
  part->setAttr(kGridAttrName, step->getAttr(kGridAttrName));
  if (auto costs = step->getAttrOfType<DenseI64ArrayAttr>(kStageCostsAttrName))
    part->setAttr(kStageCostsAttrName, builder.getDenseI64ArrayAttr(costs[stage]));
  builder.setInsertionPointToEnd(&part.getMicroBatch().front());
  for (Operation &op : block)
    if (isDeclaration(&op) && usesInStage(op.getResult(0), stage))
      builder.clone(op, mapping);
  for (Operation &op : block)
    buildOp(op);
  builder.setInsertionPointToEnd(&part.getUpdate().front());
  return buildUpdate(step.getUpdate().front());
}

void StageCutter::buildOp(Operation &op) {
  if (isDeclaration(&op))
    return;
  if (auto accumulate = dyn_cast<nn::AccumulateOp>(op))
    return buildAccumulate(accumulate);
  if (auto cut = dyn_cast<nn::CutOp>(op))
    return buildCut(cut);
  if (stageOf.lookup(&op) == stage)
    builder.clone(op, mapping);
}

void StageCutter::buildAccumulate(nn::AccumulateOp op) {
  SmallVector<Value> contributions;
  for (Value contribution : op.getContributions())
    if (getStage(contribution) == stage)
      contributions.push_back(mapping.lookup(contribution));
  if (!contributions.empty())
    nn::AccumulateOp::create(builder, op.getLoc(), op.getParameterName(), contributions);
}

/// Keeps what the micro-batch has sent with this tag until here.
void StageCutter::waitForSent(int64_t tag) {
  for (auto send : builder.getBlock()->getOps<sp::SendOp>())
    if (static_cast<int64_t>(send.getTag()) == tag)
      sp::WaitOp::create(builder, send.getLoc(), TypeRange(), ValueRange(), send.getInput(), tag,
                         /*skip_last=*/false);
}

void StageCutter::buildCut(nn::CutOp cut) {
  int64_t from = cut.getFrom(), to = cut.getTo(), boundary = std::min(from, to);
  bool forward = from < to;
  int64_t tag = forward ? getActivationTag(boundary) : getGradientTag(boundary);
  if (from == stage) {
    sp::SendOp::create(builder, cut.getLoc(), mapping.lookup(cut.getX()), to, tag);
    if (forward)
      nn::BackwardOp::create(builder, cut.getLoc());
  }
  if (to != stage)
    return;
  Type type = cut.getResult().getType();
  auto received = sp::ReceiveOp::create(builder, cut.getLoc(), type, Value(), from, tag);
  if (!forward)
    waitForSent(getActivationTag(boundary));
  auto arrived = sp::WaitOp::create(builder, cut.getLoc(), TypeRange(type), received.getResult(),
                                    ValueRange(), tag, /*skip_last=*/false);
  mapping.map(cut.getResult(), arrived.getResult(0));
}

//===----------------------------------------------------------------------===//
// The update
//===----------------------------------------------------------------------===//

LogicalResult StageCutter::buildUpdate(Block &update) {
  if (stage > 0)
    sp::WaitOp::create(builder, step.getLoc(), getGradientTag(stage - 1));
  llvm::DenseSet<StringRef> own;
  for (auto parameter : block.getOps<nn::ParameterOp>())
    if (usesInStage(parameter, stage))
      own.insert(parameter.getParameterName());
  for (Operation &op : update) {
    if (auto norm = dyn_cast<nn::GlobalNormOp>(op)) {
      if (failed(buildNorm(norm)))
        return failure();
      continue;
    }
    auto gradient = dyn_cast<nn::GradientOp>(op);
    bool isOwn = gradient ? own.contains(gradient.getParameterName())
                          : llvm::all_of(op.getOperands(),
                                         [&](Value value) { return mapping.contains(value); });
    if (isOwn)
      builder.clone(op, mapping);
  }
  return success();
}

/// Of a parameter that several stages hold, the first has the gradient in its norm.
LogicalResult StageCutter::buildNorm(nn::GlobalNormOp op) {
  SmallVector<Value> gradients;
  for (Value gradient : op.getGradients()) {
    if (!mapping.contains(gradient))
      continue;
    nn::GradientOp definition = findGradient(gradient);
    if (!definition)
      return op.emitOpError(
          "expected the gradients of parameters: nn.gradient, or sp.all_reduce of one");
    auto tie = ties.find(definition.getParameterName());
    if (tie != ties.end()) {
      int64_t tag = getActivationTag(stages - 1);
      for (auto other = ties.begin(); other != tie; ++other)
        tag += static_cast<int64_t>(other->second.size() * other->second.size());
      Value own = mapping.lookup(gradient);
      mapping.map(gradient, sp::SumStagesOp::create(builder, definition->getLoc(), own.getType(),
                                                    own, tie->second, tag)
                                .getResult());
      if (tie->second.front() != stage)
        continue;
    }
    gradients.push_back(mapping.lookup(gradient));
  }
  auto norm = nn::GlobalNormOp::create(builder, op.getLoc(), op.getResult().getType(), gradients,
                                       /*over_stages=*/true);
  mapping.map(op.getResult(), norm.getResult());
  return success();
}

namespace {
struct CutStages : seqpar::impl::CutStagesBase<CutStages> {
  void runOnOperation() override {
    for (nn::StepOp step : llvm::make_early_inc_range(getOperation().getOps<nn::StepOp>())) {
      sp::GridAttr grid = getGrid(step);
      if (!grid)
        return signalPassFailure();
      bool isWhole = grid.getPp() == 1 && step.getMicroBatch().getOps<nn::CutOp>().empty();
      if (step.getStage() || isWhole)
        continue;
      if (failed(StageCutter(step, grid.getPp()).run()))
        return signalPassFailure();
    }
  }
};
} // namespace
