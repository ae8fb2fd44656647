//===- SlotPlanner.cpp - memory of several live micro-batches -------------===//
#include "seqpar/Transforms/SlotPlanner.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <limits>

using namespace seqpar;
using llvm::ArrayRef;
using llvm::SmallVector;

static SmallVector<unsigned> select(ArrayRef<Lifetime> lifetimes, Lifetime wanted) {
  SmallVector<unsigned> chosen;
  for (unsigned i = 0; i < lifetimes.size(); ++i)
    if (lifetimes[i] == wanted)
      chosen.push_back(i);
  return chosen;
}

static SmallVector<ArenaItem> itemsOf(ArrayRef<ArenaItem> items, ArrayRef<unsigned> chosen) {
  SmallVector<ArenaItem> result;
  for (unsigned i : chosen)
    result.push_back(items[i]);
  return result;
}

/// The smallest hole below `size` that fits `items[item]` beside the `placed` ones that live at a
/// common time; -1 when there is none.
static int64_t findHole(ArrayRef<ArenaItem> items, unsigned item, ArrayRef<unsigned> placed,
                        const SlotPlan &plan, int64_t size) {
  SmallVector<std::pair<int64_t, int64_t>> taken;
  for (unsigned other : placed)
    if (items[item].start <= items[other].end && items[other].start <= items[item].end)
      taken.push_back({plan.places[other].offset, plan.places[other].offset + items[other].bytes});
  llvm::sort(taken);
  taken.push_back({size, size});
  int64_t end = 0, best = -1, bestHole = std::numeric_limits<int64_t>::max();
  for (auto [from, to] : taken) {
    if (int64_t hole = from - end; hole >= items[item].bytes && hole < bestHole) {
      best = end;
      bestHole = hole;
    }
    end = std::max(end, to);
  }
  return best;
}

SlotPlan seqpar::planSlots(ArrayRef<ArenaItem> items, ArrayRef<Lifetime> lifetimes, int64_t slots) {
  SlotPlan plan;
  plan.places.resize(items.size());
  SmallVector<unsigned> placed = select(lifetimes, Lifetime::Stash);
  llvm::stable_sort(placed,
                    [&](unsigned a, unsigned b) { return items[a].start < items[b].start; });
  for (unsigned item : placed) {
    plan.places[item] = {plan.slotBytes, true};
    plan.slotBytes += items[item].bytes;
  }

  SmallVector<unsigned> part = select(lifetimes, Lifetime::Part), shared;
  llvm::stable_sort(part, [&](unsigned a, unsigned b) { return items[a].bytes > items[b].bytes; });
  for (unsigned item : part) {
    int64_t offset = findHole(items, item, placed, plan, plan.slotBytes);
    if (offset < 0) {
      shared.push_back(item);
      continue;
    }
    plan.places[item] = {offset, true};
    placed.push_back(item);
  }

  auto place = [&](ArrayRef<unsigned> chosen, int64_t base) {
    ArenaPlan arena = planArena(itemsOf(items, chosen));
    for (auto [item, offset] : llvm::zip(chosen, arena.offsets))
      plan.places[item].offset = base + offset;
    return base + arena.bytes;
  };
  int64_t end = place(shared, slots * plan.slotBytes);
  end = std::max(end, place(select(lifetimes, Lifetime::Update), 0));
  plan.bytes = place(select(lifetimes, Lifetime::Step), end);
  return plan;
}

int64_t seqpar::computeSlotLowerBound(ArrayRef<ArenaItem> items, ArrayRef<Lifetime> lifetimes,
                                      int64_t slots) {
  int64_t stash = 0, step = 0;
  SmallVector<ArenaItem> microBatch, update;
  for (auto [item, lifetime] : llvm::zip(items, lifetimes)) {
    stash += lifetime == Lifetime::Stash ? item.bytes : 0;
    step += lifetime == Lifetime::Step ? item.bytes : 0;
    if (lifetime == Lifetime::Part || lifetime == Lifetime::Stash)
      microBatch.push_back(item);
    if (lifetime == Lifetime::Update)
      update.push_back(item);
  }
  int64_t live = (slots - 1) * stash + computeArenaLowerBound(microBatch);
  return step + std::max(live, computeArenaLowerBound(update));
}
