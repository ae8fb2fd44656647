//===- SlotPlanner.h - memory of several live micro-batches -----*- C++ -*-===//
#pragma once

#include "seqpar/Transforms/ArenaPlanner.h"

namespace seqpar {

/// How long a buffer must keep its value.
enum class Lifetime {
  Part,   ///< within the forward or the backward part of a micro-batch
  Stash,  ///< from the forward into the backward part
  Step,   ///< over the whole step
  Update, ///< within the update, when no micro-batch lives
};

/// Where an item is: at `offset + slot * SlotPlan::slotBytes` when it has a copy for each slot.
struct SlotPlace {
  int64_t offset = 0;
  bool perSlot = false;
};

struct SlotPlan {
  llvm::SmallVector<SlotPlace> places; ///< of each item
  int64_t slotBytes = 0;               ///< size of one slot
  int64_t bytes = 0;                   ///< of the whole arena
};

/// The arena: `slots` slots, then memory that all micro-batches share, then what lives over the
/// whole step. Times are those of one micro-batch, forward then backward; whatever runs between the
/// two parts of a micro-batch leaves its slot alone, so within a slot these times are all that
/// counts.
///
/// A slot is as large as the stash, all of which lives between the parts. In the order in which
/// they are first written, stashed items lie one behind the other. An item of one part goes into a
/// hole of its micro-batch's slot, where the stash is not written yet or not needed any more; what
/// finds none goes into the shared memory, since only one part runs at a time.
SlotPlan planSlots(llvm::ArrayRef<ArenaItem> items, llvm::ArrayRef<Lifetime> lifetimes,
                   int64_t slots);

/// No arena is smaller: the largest sum of what lives at one time, with the stash of slots - 1
/// other micro-batches.
int64_t computeSlotLowerBound(llvm::ArrayRef<ArenaItem> items, llvm::ArrayRef<Lifetime> lifetimes,
                              int64_t slots);

} // namespace seqpar
