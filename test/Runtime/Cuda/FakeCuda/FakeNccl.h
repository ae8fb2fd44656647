//===- FakeNccl.h - a stand-in for NCCL -------------------------*- C++ -*-===//
//
// Ranks of one process; each operation runs on its fake stream and waits there for the others, as
// on a GPU: a send ends when it has been received, a collective when all have come. What is in a
// group starts together. Messages of a pair of ranks are matched in order.
//
// Using a communicator that has been destroyed or aborted, or is not ready, is a problem of the
// fake driver's, and so is one that blocks.
//
// Work may be captured. As with NCCL, groups of calls of a communicator do not overlap, captured or
// not, and its end waits for that of the graphs with its work.
//
// Unlike NCCL it finds out sizes and collectives that differ, and reports them as asynchronous
// errors.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <nccl.h>

#include <string>

namespace fakenccl {

/// The next call of ncclCommInitRankConfig of any rank fails so.
void failInit(ncclResult_t error);
/// The next rank that joins does not come to the others, as one that has died.
void loseNextInit();
/// The next group of calls stays in progress, as with a peer that cannot be reached.
void hangNextCall();
/// From now on every communicator reports this, until `reset`.
void failAsync(ncclResult_t error, const std::string &text);
void reset();
/// Communicators that were neither destroyed nor aborted.
int live();

} // namespace fakenccl
