//===- SumStages.cpp - gradients that several pipeline stages hold --------===//
//
// Each holder sends what it has to all others and adds up in the order of the stages: the same
// operations on the same numbers everywhere, so the parameter stays equal to the bit.
//
//===----------------------------------------------------------------------===//
#include "SumStages.h"

using namespace mlir;
using namespace seqpar;

nn::GradientOp seqpar::findGradient(Value value) {
  while (auto reduce = value.getDefiningOp<sp::AllReduceOp>())
    value = reduce.getInput();
  return value.getDefiningOp<nn::GradientOp>();
}

/// That of the first parameter that these stages hold; groups that share it take turns.
static int64_t findTag(nn::StepOp step, ArrayRef<int32_t> stages) {
  for (auto sum : step.getUpdate().getOps<sp::SumStagesOp>())
    if (sum.getStages() == stages)
      return sum.getTag();
  llvm_unreachable("localize takes the stages of a parameter from such an op");
}

namespace {

/// Builds the exchange and sum of one range of gradients.
class SumLowering {
public:
  SumLowering(nn::StepOp step, ArrayRef<int32_t> stages, PlanLowering &lowering)
      : step(step), stages(stages), lowering(lowering), builder(lowering.builder),
        loc(step.getLoc()), base(findTag(step, stages)), own(step.getStage().value_or(0)),
        ownNumber(llvm::find(stages, own) - stages.begin()) {}

  void run(Value range) {
    SmallVector<Value> summands;
    SmallVector<int64_t> tags;
    auto getTag = [&](int64_t from, int64_t to) { return base + from * stages.size() + to; };
    for (auto [number, stage] : llvm::enumerate(stages)) {
      if (stage == own) {
        summands.push_back(range);
        continue;
      }
      Value buffer = createBuffer(range.getType(), stage);
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
      sp::WaitOp::create(builder, loc, tag);
    sum(summands, range);
  }

private:
  Value createBuffer(Type type, int32_t stage) {
    return plan::BufferOp::create(builder, loc, cast<MemRefType>(type), /*offset=*/IntegerAttr(),
                                  /*slot_bytes=*/IntegerAttr(), builder.getUnitAttr(),
                                  /*whole_step=*/UnitAttr(),
                                  builder.getStringAttr("gradient of stage " + Twine(stage)));
  }

  void sum(ArrayRef<Value> summands, Value range) {
    RowKernel kernel(lowering, step, "sum_stages", getRows(range), getColumns(range));
    RowExpr sum = kernel.row(summands[0]);
    for (Value summand : summands.drop_front())
      sum = sum + kernel.row(summand);
    kernel.store(sum, range, plan::AccessKind::Row);
    kernel.finish();
  }

  nn::StepOp step;
  ArrayRef<int32_t> stages;
  PlanLowering &lowering;
  OpBuilder &builder;
  Location loc;
  int64_t base;
  int32_t own;
  int64_t ownNumber;
};

} // namespace

/// Rows exchanged at a time: what arrives needs memory.
static constexpr int64_t kRowsAtATime = 256;

void seqpar::lowerSumStages(nn::StepOp step, const SegmentLayout &layout, const SegmentGroup &group,
                            PlanLowering &lowering) {
  OpBuilder &builder = lowering.builder;
  bool sharded = layout.members > 1;
  int64_t rows = group.rows / layout.members, atATime = sharded ? rows : kRowsAtATime;
  for (int64_t row = 0; row < rows; row += atATime) {
    auto type =
        MemRefType::get({std::min(atATime, rows - row), layout.columns}, builder.getF32Type());
    Value range = plan::RangeOp::create(builder, step.getLoc(), type, plan::Segment::Gradient,
                                        (group.offset + row * layout.columns) * 4, sharded);
    SumLowering(step, group.stages, lowering).run(range);
  }
}
