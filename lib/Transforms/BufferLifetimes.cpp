//===- BufferLifetimes.cpp - when the buffers of a stage live -------------===//
#include "seqpar/Transforms/BufferLifetimes.h"

#include "BufferAccess.h"
#include "seqpar/Transforms/Locations.h"
#include "seqpar/Transforms/SegmentLayout.h"

#include "llvm/ADT/DenseMap.h"

using namespace mlir;
using namespace seqpar;

namespace {
struct Times {
  DenseMap<Operation *, std::pair<int64_t, int64_t>> of; ///< an op's own time and that of its end
};
} // namespace

static int64_t getAlignedBytes(plan::BufferOp buffer) {
  auto type = cast<MemRefType>(buffer.getResult().getType());
  return alignBuffer(type.getNumElements() * ((type.getElementTypeBitWidth() + 7) / 8));
}

static void number(Block &block, Times &times, SmallVectorImpl<Operation *> &opAt) {
  for (Operation &op : block) {
    int64_t start = opAt.size();
    opAt.push_back(&op);
    if (!isa<plan::RowsOp>(op))
      for (Region &region : op.getRegions())
        for (Block &inner : region)
          number(inner, times, opAt);
    times.of[&op] = {start, static_cast<int64_t>(opAt.size()) - 1};
  }
}

/// Widens `item` by the uses of `memory`, a buffer made in `block` or a view of it.
static void addUses(Value memory, Block *block, const Times &times, ArenaItem &item) {
  auto touch = [&](Operation *user) {
    auto [start, end] = times.of.lookup(block->findAncestorOpInBlock(*user));
    item.start = std::min(item.start, start);
    item.end = std::max(item.end, end);
  };
  for (Operation *user : memory.getUsers()) {
    if (isa<sp::AlternateOp>(user)) {
      addUses(user->getResult(0), block, times, item);
      continue;
    }
    touch(user);
    if (auto start = dyn_cast<sp::RingShiftStartOp>(user))
      if (sp::WaitOp wait = findWaitOf(start))
        touch(wait);
  }
}

BufferLifetimes seqpar::computeBufferLifetimes(plan::StageOp stage) {
  BufferLifetimes lifetimes;
  Times times;
  number(stage.getBody().front(), times, lifetimes.opAt);
  stage.walk([&](plan::BufferOp buffer) {
    int64_t own = times.of.lookup(buffer).first;
    ArenaItem item = {getAlignedBytes(buffer), std::numeric_limits<int64_t>::max(), own};
    addUses(buffer.getResult(), buffer->getBlock(), times, item);
    item.start = std::min(item.start, item.end);
    lifetimes.buffers.push_back(buffer);
    lifetimes.items.push_back(item);
  });
  return lifetimes;
}

MemoryReport seqpar::computeMemoryReport(plan::StageOp stage) {
  BufferLifetimes lifetimes = computeBufferLifetimes(stage);
  MemoryReport report = {};
  report.arena = stage.getArenaBytes().value_or(0);
  report.parameters = stage.getParameterBytes().value_or(0);
  report.gradients = stage.getGradientBytes().value_or(0);
  report.optimizerState = stage.getOptimizerStateBytes().value_or(0);
  report.inputs = stage.getInputBytes().value_or(0);
  int64_t peak = 0;
  report.arenaLowerBound = computeArenaLowerBound(lifetimes.items, &peak);
  SmallVector<ArenaItem> inTransit;
  for (auto [buffer, item] : llvm::zip(lifetimes.buffers, lifetimes.items)) {
    if (buffer.getCommunication())
      inTransit.push_back(item);
    if (item.start > peak || item.end < peak)
      continue;
    std::string name = buffer.getValue().str(), location = describeLocation(buffer.getLoc());
    report.peakValues.push_back(
        {name + (name.empty() || location.empty() ? "" : " ") + location, item.bytes});
  }
  report.communication = computeArenaLowerBound(inTransit);
  report.activations = report.arena - report.communication;
  llvm::stable_sort(report.peakValues,
                    [](const PeakValue &a, const PeakValue &b) { return a.bytes > b.bytes; });
  if (!lifetimes.opAt.empty())
    report.peakLocation = describeLocation(lifetimes.opAt[peak]->getLoc());
  return report;
}
