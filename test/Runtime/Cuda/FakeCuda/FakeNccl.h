//===- FakeNccl.h - a stand-in for NCCL -------------------------*- C++ -*-===//
//
// Ranks of one process; each operation runs on its fake stream and waits there for the others, as
// on a GPU: a send ends when it has been received, a collective when all have come. What is in a
// group starts together. Messages of a pair of ranks are matched in order.
//
// Unlike NCCL it finds out sizes and collectives that differ, and reports them as asynchronous
// errors.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <nccl.h>

#include <string>

namespace fakenccl {

/// The next call of ncclCommInitRank of any rank fails so.
void failInit(ncclResult_t error);
/// From now on every communicator reports this, until `reset`.
void failAsync(ncclResult_t error, const std::string &text);
void reset();
/// Communicators that were neither destroyed nor aborted.
int live();

} // namespace fakenccl
