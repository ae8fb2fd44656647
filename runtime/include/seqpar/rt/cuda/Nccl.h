//===- Nccl.h - NCCL, loaded at run time ------------------------*- C++ -*-===//
#pragma once

#include "seqpar/rt/Communicator.h"
#include "seqpar/rt/cuda/Recordings.h"

#include <nccl.h>

#include <memory>
#include <string>

#define SEQPAR_NCCL_FUNCTIONS(F)                                                                   \
  F(ncclGetVersion)                                                                                \
  F(ncclGetUniqueId)                                                                               \
  F(ncclCommInitRankConfig)                                                                        \
  F(ncclCommDestroy)                                                                               \
  F(ncclCommAbort)                                                                                 \
  F(ncclCommGetAsyncError)                                                                         \
  F(ncclGetErrorString)                                                                            \
  F(ncclGetLastError)                                                                              \
  F(ncclGroupStart)                                                                                \
  F(ncclGroupEnd)                                                                                  \
  F(ncclSend)                                                                                      \
  F(ncclRecv)                                                                                      \
  F(ncclAllReduce)                                                                                 \
  F(ncclAllGather)                                                                                 \
  F(ncclReduceScatter)

namespace seqpar::rt::cuda {

/// A table of its functions, named as in nccl.h.
class Nccl {
public:
  /// Loads libnccl.so.2, or the library at `path`. Throws Error.
  explicit Nccl(const std::string &path = "");

#define SEQPAR_DECLARE(name) decltype(&::name) name = nullptr;
  SEQPAR_NCCL_FUNCTIONS(SEQPAR_DECLARE)
#undef SEQPAR_DECLARE

  /// Throws Error with NCCL's words when a call has failed; `what` says what was tried.
  void check(ncclResult_t result, const char *what) const;
  /// "remote error: connection closed": NCCL's words for a result, and for what it has met last,
  /// with that communicator or at all.
  std::string describe(ncclResult_t result, ncclComm_t communicator = nullptr) const;

private:
  Library library;
};

/// Exchange of GPUs' memory through NCCL, one GPU per rank, ranks in any number of processes.
/// Memory of the host, barriers, aborts and NCCL's own ids go through `host`, which this owns.
///
/// Exchanges follow the device: they run on streams of their own, after what has been issued to
/// `compute`, and `wait` makes `compute` go on after them; the calling thread never waits. Shifts
/// of a ring, exchanges with the next and with the previous stage, and reductions have a stream
/// each, so that they overlap with compute and with each other.
///
/// Exchanges can be recorded, on their streams, with what is recorded of `compute`. The end of this
/// clears `recordings`, for which NCCL would wait.
///
/// Unlike with other communicators:
/// - messages between two ranks are matched in the order in which both start them, tags or not.
///   Those that are started outside of a group are held back until one of them is waited for, and
///   then started in the order of their tags;
/// - sums have the same bits on every rank, but are added in the order that NCCL likes;
/// - sizes that differ are not found out, they hang.
///
/// A thread watches: when NCCL reports an error, when another rank has aborted, or when an exchange
/// lasts longer than the timeout, it aborts NCCL's communicators, so that work on the GPU ends, and
/// every rank ends with the first message. The time of an exchange begins when the GPU comes to it;
/// a replay that has exchanges is watched as a whole, with its compute. NCCL's communicators do not
/// block (see "blocking" in nccl.h): what they do in threads of their own, such as connecting to
/// the others, has the timeout too.
std::unique_ptr<Communicator> createNcclCommunicator(std::unique_ptr<Communicator> host,
                                                     const Context &context, const Stream &compute,
                                                     Recordings &recordings,
                                                     std::shared_ptr<Nccl> library);

} // namespace seqpar::rt::cuda
