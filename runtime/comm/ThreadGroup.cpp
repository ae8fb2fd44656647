#include "ThreadState.h"

namespace seqpar::rt {

ThreadGroup::State::State(Grid grid) : grid(grid), ranks(static_cast<size_t>(grid.size())) {
  for (int axes = 0; axes <= kAllAxes; ++axes) {
    size_t members = static_cast<size_t>(grid.groupSize(axes));
    for (int rank = 0; rank < grid.size(); ++rank) {
      Meeting &meeting = meetings[static_cast<size_t>(axes)].emplace_back();
      if (grid.groupIndex(rank, axes) != 0)
        continue; // its group meets at its first rank's place
      meeting.parts.resize(members);
      meeting.here.resize(members);
      meeting.sends.resize(members);
      meeting.receives.resize(members);
    }
  }
}

Meeting &ThreadGroup::State::meeting(int rank, int axes) {
  return meetings[static_cast<size_t>(axes)][static_cast<size_t>(grid.groupMember(rank, axes, 0))];
}

void ThreadGroup::State::check() const {
  if (aborted)
    throw Aborted(message);
}

void ThreadGroup::State::abort(const std::string &why) {
  std::lock_guard lock(mutex);
  abortLocked(why);
}

void ThreadGroup::State::abortLocked(const std::string &why) {
  if (aborted)
    return;
  aborted = true;
  message = why;
  for (RankState &rank : ranks)
    rank.wake.notify_all();
  for (std::deque<Meeting> &ofAxes : meetings)
    for (Meeting &meeting : ofAxes)
      meeting.wake.notify_all();
}

ThreadGroup::ThreadGroup(Grid grid) : state(std::make_unique<State>(grid)) {}
ThreadGroup::~ThreadGroup() = default;

int ThreadGroup::firstRank() const { return 0; }
int ThreadGroup::localRanks() const { return state->grid.size(); }

std::unique_ptr<Communicator> ThreadGroup::communicator(int rank) {
  return createThreadCommunicator(*state, rank);
}

void ThreadGroup::abort(const std::string &message) { state->abort(message); }

bool ThreadGroup::aborted() const {
  std::lock_guard lock(state->mutex);
  return state->aborted;
}

std::string ThreadGroup::abortMessage() const {
  std::lock_guard lock(state->mutex);
  return state->message;
}

} // namespace seqpar::rt
