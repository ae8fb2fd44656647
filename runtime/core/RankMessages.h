//===- RankMessages.h - what ranks tell rank 0 ------------------*- C++ -*-===//
//
// Messages of the runtime itself. Their tags are below zero; those of a program are not.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Communicator.h"

#include <string>
#include <vector>

namespace seqpar::rt {

inline constexpr int kTensorTag = -1, kRecordTag = -2, kTextTag = -3, kPieceTag = -4,
                     kClockTag = -5;

/// While it lives, this rank waits for others without a limit: they may be writing or reading
/// files.
class NoTimeout {
public:
  explicit NoTimeout(Communicator &communicator)
      : communicator(communicator), before(communicator.timeout()) {
    communicator.setTimeout(0);
  }
  ~NoTimeout() { communicator.setTimeout(before); }
  NoTimeout(const NoTimeout &) = delete;
  NoTimeout &operator=(const NoTimeout &) = delete;

private:
  Communicator &communicator;
  double before;
};

/// Collective. Nanoseconds to add to this rank's steady clock for that of rank 0: 0 where they are
/// of one machine.
int64_t clockOffset(Communicator &communicator);

/// Collective. Returns the texts of all ranks, by rank, on rank 0, and nothing on the others.
std::vector<std::string> gatherTexts(Communicator &communicator, const std::string &text);

} // namespace seqpar::rt
