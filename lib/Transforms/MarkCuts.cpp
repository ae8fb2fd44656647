//===- MarkCuts.cpp - Where a model is cut into pipeline stages -------------------------------===//
//
// A place to cut is one where a single computed activation crosses: in a transformer, behind the
// embeddings and behind each residual sum. Between such places the costs of the ops are added up,
// and the places taken are those that make the costliest stage as cheap as can be.
//
//===------------------------------------------------------------------------------------------===//

#include "seqpar/Transforms/CostModel.h"
#include "seqpar/Transforms/CutPoints.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/Builders.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace seqpar;
using namespace seqpar::nn;

namespace seqpar {
#define GEN_PASS_DEF_MARKCUTS
#include "seqpar/Transforms/Passes.h.inc"
} // namespace seqpar

/// Whether a rank can send its chunk of the value.
static bool isSplitActivation(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() == 3 && type.getElementType().isF32();
}

SmallVector<CutPoint> seqpar::findCutPoints(ModelOp model, double *costBehind) {
  Block &block = model.getBody().front();
  DenseMap<Operation *, SmallVector<Value>> lastUsed; // values by the op that uses them last
  for (Operation &op : block) {
    if (isa<ParameterOp, InputOp>(op))
      continue;
    for (Value result : op.getResults()) {
      Operation *last = &op;
      for (Operation *user : result.getUsers())
        if (Operation *ancestor = block.findAncestorOpInBlock(*user);
            last->isBeforeInBlock(ancestor))
          last = ancestor;
      lastUsed[last].push_back(result);
    }
  }
  SmallVector<CutPoint> points;
  llvm::SetVector<Value> live;
  double cost = 0;
  for (Operation &op : block) {
    if (isa<ParameterOp, InputOp>(op))
      continue;
    cost += getTrainingCost(&op);
    live.insert_range(op.getResults());
    for (Value value : lastUsed.lookup(&op))
      live.remove(value);
    if (live.size() != 1 || !isSplitActivation(live.front()) || live.front().getDefiningOp() != &op)
      continue;
    points.push_back({live.front(), cost});
    cost = 0;
  }
  if (costBehind)
    *costBehind = cost;
  return points;
}

SmallVector<unsigned> seqpar::balance(ArrayRef<double> costs, unsigned parts) {
  size_t n = costs.size();
  SmallVector<double> sums{0};
  for (double cost : costs)
    sums.push_back(sums.back() + cost);
  // best[k][j]: the largest sum when the first j items are split into k + 1 parts.
  std::vector<std::vector<double>> best(parts, std::vector<double>(n + 1));
  std::vector<std::vector<unsigned>> begin(parts, std::vector<unsigned>(n + 1, 0));
  best[0].assign(sums.begin(), sums.end());
  for (unsigned k = 1; k < parts; ++k)
    for (unsigned j = k + 1; j <= n; ++j) {
      best[k][j] = std::numeric_limits<double>::infinity();
      for (unsigned i = k; i < j; ++i) {
        double largest = std::max(best[k - 1][i], sums[j] - sums[i]);
        if (largest < best[k][j]) {
          best[k][j] = largest;
          begin[k][j] = i;
        }
      }
    }
  SmallVector<unsigned> ends(parts - 1);
  for (unsigned k = parts - 1, j = n; k > 0; --k) {
    j = begin[k][j];
    ends[k - 1] = j - 1;
  }
  return ends;
}

namespace {

struct MarkCuts : seqpar::impl::MarkCutsBase<MarkCuts> {
  using MarkCutsBase::MarkCutsBase;

  void runOnOperation() override {
    for (ModelOp model : getOperation().getOps<ModelOp>())
      if (failed(mark(model)))
        return signalPassFailure();
  }

private:
  LogicalResult mark(ModelOp model) {
    if (stages < 1)
      return model.emitOpError("expected at least one pipeline stage, found ") << int64_t(stages);
    if (!model.getBody().getOps<CutOp>().empty())
      return model.emitOpError("has cuts already");
    if (stages == 1)
      return success();
    double costBehind = 0;
    SmallVector<CutPoint> points = findCutPoints(model, &costBehind);
    if (static_cast<int64_t>(points.size()) + 1 < stages)
      return model.emitOpError("cannot be cut into ")
             << int64_t(stages) << " pipeline stages: one activation alone crosses at "
             << points.size() << " places, so at most " << points.size() + 1 << " are possible";
    SmallVector<double> costs;
    for (const CutPoint &point : points)
      costs.push_back(point.costBefore);
    costs.push_back(costBehind);
    SmallVector<unsigned> ends = balance(costs, static_cast<unsigned>(stages));
    for (auto [stage, end] : llvm::enumerate(ends))
      cut(points[end].value, stage);
    setCosts(model, costs, ends);
    return success();
  }

  void cut(Value value, int64_t stage) {
    OpBuilder builder(&getContext());
    builder.setInsertionPointAfterValue(value);
    auto op = CutOp::create(builder, value.getLoc(), value.getType(), value, stage, stage + 1);
    value.replaceAllUsesExcept(op.getResult(), op);
  }

  void setCosts(ModelOp model, ArrayRef<double> costs, ArrayRef<unsigned> ends) {
    SmallVector<int64_t> sums(1, 0);
    for (auto [i, cost] : llvm::enumerate(costs)) {
      sums.back() += std::llround(cost);
      if (sums.size() <= ends.size() && i == ends[sums.size() - 1])
        sums.push_back(0);
    }
    model->setAttr(kStageCostsAttrName, Builder(&getContext()).getDenseI64ArrayAttr(sums));
  }
};

} // namespace
