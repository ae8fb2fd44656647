//===- SumStages.cpp - gradients that several pipeline stages hold --------===//
//
// Each holder sends what it has to all others and adds up in the order of the stages: the same
// operations on the same numbers everywhere, so the parameter stays equal to the bit.
//
//===----------------------------------------------------------------------===//
#include "SumStages.h"

using namespace mlir;
using namespace seqpar;

StringRef seqpar::getSummedParameter(sp::SumStagesOp op) {
  Operation *definition = op.getInput().getDefiningOp();
  if (auto reduce = dyn_cast<sp::AllReduceOp>(definition))
    definition = reduce.getInput().getDefiningOp();
  return cast<nn::GradientOp>(definition).getParameterName();
}

/// That of the first parameter that these stages hold; groups that share it take turns.
static int64_t findTag(nn::StepOp step, ArrayRef<int32_t> stages) {
  for (auto sum : step.getUpdate().getOps<sp::SumStagesOp>())
    if (sum.getStages() == stages)
      return sum.getTag();
  llvm_unreachable("localize takes the stages of a parameter from such an op");
}

void seqpar::lowerSumStages(nn::StepOp step, Value range, ArrayRef<int32_t> stages,
                            PlanLowering &lowering) {
  OpBuilder &builder = lowering.builder;
  int32_t own = step.getStage().value_or(0);
  int64_t base = findTag(step, stages), count = stages.size();
  int64_t ownNumber = llvm::find(stages, own) - stages.begin();
  auto getTag = [&](int64_t from, int64_t to) { return base + from * count + to; };
  Location loc = step.getLoc();
  SmallVector<Value> summands;
  SmallVector<int64_t> tags;
  for (auto [number, stage] : llvm::enumerate(stages)) {
    if (stage == own) {
      summands.push_back(range);
      continue;
    }
    auto buffer = plan::BufferOp::create(
        builder, loc, cast<MemRefType>(range.getType()), /*offset=*/IntegerAttr(),
        /*slot_bytes=*/IntegerAttr(), builder.getUnitAttr(), /*whole_step=*/UnitAttr(),
        builder.getStringAttr("gradient of stage " + Twine(stage)));
    tags.push_back(getTag(number, ownNumber));
    sp::ReceiveOp::create(builder, loc, Type(), buffer, stage, tags.back());
    summands.push_back(buffer);
  }
  for (auto [number, stage] : llvm::enumerate(stages)) {
    if (stage == own)
      continue;
    tags.push_back(getTag(ownNumber, number));
    sp::SendOp::create(builder, loc, range, stage, tags.back());
  }
  for (int64_t tag : tags)
    sp::WaitOp::create(builder, loc, TypeRange(), ValueRange(), ValueRange(), tag,
                       /*skip_last=*/false);
  RowKernel kernel(lowering, step, "sum_stages", getRows(range), getColumns(range));
  RowExpr sum = kernel.row(summands[0]);
  for (Value summand : ArrayRef(summands).drop_front())
    sum = sum + kernel.row(summand);
  kernel.store(sum, range, plan::AccessKind::Row);
  kernel.finish();
}
