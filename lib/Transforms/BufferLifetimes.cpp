//===- BufferLifetimes.cpp - when the buffers of a stage live -------------===//
#include "seqpar/Transforms/BufferLifetimes.h"

#include "BufferAccess.h"
#include "seqpar/Dialect/Plan/Memory.h"
#include "seqpar/Transforms/SegmentLayout.h"

#include "llvm/ADT/DenseMap.h"

using namespace mlir;
using namespace seqpar;

namespace {
struct Times {
  DenseMap<Operation *, std::pair<int64_t, int64_t>> of; ///< an op's own time and that of its end
  int64_t count = 0;
};
} // namespace

static void number(Block &block, Times &times) {
  for (Operation &op : block) {
    int64_t start = times.count++;
    if (!isa<plan::RowsOp>(op))
      for (Region &region : op.getRegions())
        for (Block &inner : region)
          number(inner, times);
    times.of[&op] = {start, times.count - 1};
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
    if (getStartedTag(user))
      if (sp::WaitOp wait = findWaitOf(user))
        touch(wait);
  }
}

/// Where the time goes over from one part to the next.
static Lifetime getKind(const ArenaItem &item, bool wholeStep, int64_t backward, int64_t update) {
  if (wholeStep)
    return Lifetime::Step;
  if (item.start >= update)
    return Lifetime::Update;
  return item.start < backward && item.end > backward ? Lifetime::Stash : Lifetime::Part;
}

BufferLifetimes seqpar::computeBufferLifetimes(plan::StageOp stage) {
  BufferLifetimes lifetimes;
  Times times;
  number(stage.getBody().front(), times);
  int64_t last = times.count, backward = last, update = last;
  for (Operation &part : stage.getBody().front()) {
    if (isa<plan::UpdateOp>(part))
      update = times.of.lookup(&part).first;
    if (auto microBatch = dyn_cast<plan::MicroBatchOp>(part))
      if (plan::BackwardOp marker = findBackward(microBatch.getBody().front()))
        backward = times.of.lookup(marker).first;
  }
  stage.walk([&](plan::BufferOp buffer) {
    int64_t own = times.of.lookup(buffer).first;
    ArenaItem item = {alignBuffer(plan::getByteCount(buffer)), std::numeric_limits<int64_t>::max(),
                      own};
    addUses(buffer.getResult(), buffer->getBlock(), times, item);
    item.start = std::min(item.start, item.end);
    if (buffer.getWholeStep())
      item = {item.bytes, 0, last};
    lifetimes.buffers.push_back(buffer);
    lifetimes.items.push_back(item);
    lifetimes.kinds.push_back(getKind(item, buffer.getWholeStep(), backward, update));
  });
  return lifetimes;
}

int64_t BufferLifetimes::getLowerBound(int64_t slots) const {
  return slots == 1 ? computeArenaLowerBound(items) : computeSlotLowerBound(items, kinds, slots);
}
