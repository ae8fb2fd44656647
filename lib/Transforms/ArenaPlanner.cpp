//===- ArenaPlanner.cpp - offsets for values that share memory ------------===//
#include "seqpar/Transforms/ArenaPlanner.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <limits>
#include <numeric>

using namespace seqpar;
using llvm::ArrayRef;
using llvm::SmallVector;

/// Attempts to improve on the fixed orders, an equal share of each.
static constexpr int kRepairs = 64;

int64_t seqpar::computeArenaLowerBound(ArrayRef<ArenaItem> items) {
  // Ends sort behind starts of the same time: both items live then.
  SmallVector<std::pair<int64_t, int64_t>> events;
  for (const ArenaItem &item : items) {
    events.push_back({2 * item.start, item.bytes});
    events.push_back({2 * item.end + 1, -item.bytes});
  }
  llvm::sort(events);
  int64_t live = 0, most = 0;
  for (auto [time, bytes] : events) {
    live += bytes;
    most = std::max(most, live);
  }
  return most;
}

static bool liveTogether(const ArenaItem &a, const ArenaItem &b) {
  return a.start <= b.end && b.start <= a.end;
}

static ArenaPlan placeInOrder(ArrayRef<ArenaItem> items, ArrayRef<unsigned> order) {
  ArenaPlan plan;
  plan.offsets.resize(items.size());
  SmallVector<unsigned> placed; // ascending by offset
  for (unsigned item : order) {
    int64_t bytes = items[item].bytes, end = 0, best = -1;
    int64_t bestHole = std::numeric_limits<int64_t>::max();
    for (unsigned other : placed) {
      if (!liveTogether(items[item], items[other]))
        continue;
      int64_t hole = plan.offsets[other] - end;
      if (hole >= bytes && hole < bestHole) {
        best = end;
        bestHole = hole;
      }
      end = std::max(end, plan.offsets[other] + items[other].bytes);
    }
    plan.offsets[item] = best >= 0 ? best : end;
    plan.bytes = std::max(plan.bytes, plan.offsets[item] + bytes);
    auto position = llvm::upper_bound(
        placed, item, [&](unsigned a, unsigned b) { return plan.offsets[a] < plan.offsets[b]; });
    placed.insert(position, item);
  }
  return plan;
}

/// Moves the items that end behind `limit` to the front: placed first, they find room below.
static void moveForward(llvm::SmallVectorImpl<unsigned> &order, ArrayRef<ArenaItem> items,
                        const ArenaPlan &plan, int64_t limit) {
  std::stable_partition(order.begin(), order.end(), [&](unsigned item) {
    return plan.offsets[item] + items[item].bytes > limit;
  });
}

ArenaPlan seqpar::planArena(ArrayRef<ArenaItem> items) {
  SmallVector<unsigned> identity(items.size());
  std::iota(identity.begin(), identity.end(), 0);
  auto sortedBy = [&](auto key) {
    SmallVector<unsigned> order(identity);
    llvm::stable_sort(order, [&](unsigned a, unsigned b) { return key(items[a]) > key(items[b]); });
    return order;
  };
  auto duration = [](const ArenaItem &item) { return item.end - item.start + 1; };
  SmallVector<SmallVector<unsigned>> orders;
  orders.push_back(sortedBy([](const ArenaItem &item) { return item.bytes; }));
  orders.push_back(sortedBy([&](const ArenaItem &item) { return item.bytes * duration(item); }));
  orders.push_back(sortedBy([&](const ArenaItem &item) { return duration(item); }));
  orders.push_back(sortedBy([](const ArenaItem &item) { return -item.start; }));

  int64_t bound = computeArenaLowerBound(items);
  ArenaPlan best;
  best.bytes = std::numeric_limits<int64_t>::max();
  for (SmallVector<unsigned> &order : orders)
    for (int repair = 0; repair <= kRepairs / static_cast<int>(orders.size()); ++repair) {
      ArenaPlan plan = placeInOrder(items, order);
      if (plan.bytes < best.bytes)
        best = plan;
      if (best.bytes == bound)
        return best;
      moveForward(order, items, plan, bound);
    }
  return best;
}
