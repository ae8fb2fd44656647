#include "RankMessages.h"

#include "seqpar/rt/Profiler.h"

#include <cstdlib>
#include <limits>

namespace seqpar::rt {

namespace {

constexpr int kRounds = 8;
// Clocks that are closer are taken for one: the clocks of two machines begin when these start.
constexpr int64_t kSameClock = 10'000'000;

int64_t now() { return static_cast<int64_t>(Profiler::now()); }

} // namespace

// Cristian's algorithm: the answer of the quickest round was given in the middle of it.
int64_t clockOffset(Communicator &communicator) {
  int64_t time = 0, best = std::numeric_limits<int64_t>::max(), offset = 0;
  auto send = [&](int rank) {
    time = now();
    communicator.wait(
        communicator.send(&time, sizeof(time), rank, kClockTag, Traffic::PointToPoint));
  };
  auto receive = [&](int rank) {
    communicator.wait(communicator.receive(&time, sizeof(time), rank, kClockTag));
  };
  for (int rank = 1; rank < communicator.size(); ++rank)
    for (int round = 0; round < kRounds; ++round) {
      if (communicator.rank() == 0) {
        receive(rank);
        send(rank);
      } else if (communicator.rank() == rank) {
        int64_t begin = now();
        send(0);
        receive(0);
        int64_t end = now();
        if (end - begin < best) {
          best = end - begin;
          offset = time - (begin + (end - begin) / 2);
        }
      }
    }
  return std::abs(offset) < kSameClock ? 0 : offset;
}

std::vector<std::string> gatherTexts(Communicator &communicator, const std::string &text) {
  uint64_t bytes = text.size();
  if (communicator.rank() != 0) {
    auto size = communicator.send(&bytes, sizeof(bytes), 0, kTextTag, Traffic::PointToPoint);
    auto body = communicator.send(text.data(), bytes, 0, kTextTag, Traffic::PointToPoint);
    communicator.wait(size);
    communicator.wait(body);
    return {};
  }
  std::vector<std::string> texts(static_cast<size_t>(communicator.size()));
  texts[0] = text;
  for (int rank = 1; rank < communicator.size(); ++rank) {
    communicator.wait(communicator.receive(&bytes, sizeof(bytes), rank, kTextTag));
    std::string &to = texts[static_cast<size_t>(rank)];
    to.resize(bytes);
    communicator.wait(communicator.receive(to.data(), bytes, rank, kTextTag));
  }
  return texts;
}

} // namespace seqpar::rt
