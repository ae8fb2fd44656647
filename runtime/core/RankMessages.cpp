#include "RankMessages.h"

namespace seqpar::rt {

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
