#include "ProcessState.h"
#include "ThreadState.h"

#include <chrono>

namespace seqpar::rt {

ThreadGroup::State::State(Grid grid, Processes *processes)
    : grid(grid), processes(processes), ranks(static_cast<size_t>(grid.size())) {
  int64_t index = processes ? processes->index() : 0, count = processes ? processes->count() : 1;
  firstRank = static_cast<int>(index * grid.size() / count);
  localRanks = static_cast<int>((index + 1) * grid.size() / count) - firstRank;
  auto makeMeeting = [](Meeting &meeting, int members) {
    meeting.parts.resize(static_cast<size_t>(members));
    meeting.here.resize(meeting.parts.size());
    meeting.sends.resize(meeting.parts.size());
    meeting.receives.resize(meeting.parts.size());
  };
  makeMeeting(localMeeting, localRanks);
  for (int axes = 0; axes <= kAllAxes; ++axes)
    for (int rank = 0; rank < grid.size(); ++rank) {
      Meeting &meeting = meetings[static_cast<size_t>(axes)].emplace_back();
      // A group meets at its first rank's place.
      if (grid.groupIndex(rank, axes) == 0 && isLocal(rank) && isLocal(rank, axes))
        makeMeeting(meeting, grid.groupSize(axes));
    }
  if (processes)
    processes->state().open(*this);
}

ThreadGroup::State::~State() {
  if (processes)
    processes->state().close(*this);
}

bool ThreadGroup::State::isLocal(int rank, int axes) const {
  for (int i = 0; i < grid.groupSize(axes); ++i)
    if (!isLocal(grid.groupMember(rank, axes, i)))
      return false;
  return true;
}

int ThreadGroup::State::processOf(int rank) const {
  // The inverse of the division of ranks in the constructor.
  return static_cast<int>(((rank + int64_t(1)) * processes->count() - 1) / grid.size());
}

Meeting &ThreadGroup::State::meeting(int rank, int axes) {
  if (axes == kLocalRanks)
    return localMeeting;
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
  setAborted(why);
  if (processes)
    processes->state().tellAbort(number, why);
}

void ThreadGroup::State::abortedElsewhere(const std::string &why) {
  std::lock_guard lock(mutex);
  if (!aborted)
    setAborted(why);
}

void ThreadGroup::State::setAborted(const std::string &why) {
  aborted = true;
  message = why;
  for (RankState &rank : ranks)
    rank.wake.notify_all();
}

void ThreadGroup::State::finished(Message &done) {
  std::lock_guard lock(mutex);
  done.setDone();
  ranks[static_cast<size_t>(done.owner())].wake.notify_all();
}

uint64_t nowNanoseconds() {
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

void Message::setDone() {
  state = Done;
  doneAt = nowNanoseconds();
}

std::string disagreement(const Message &from, const Message &to) {
  if (from.kind != to.kind)
    return fmt::format("ranks {} and {} meet in different collectives or with different sizes",
                       from.source, from.destination);
  if (from.bytes != to.bytes)
    return fmt::format("rank {} sends {} bytes to rank {} with tag {}, which expects {}",
                       from.source, from.bytes, from.destination, from.tag, to.bytes);
  return "";
}

ThreadGroup::ThreadGroup(Grid grid, Processes *processes)
    : state(std::make_unique<State>(grid,
                                    processes && processes->count() > 1 ? processes : nullptr)) {}
ThreadGroup::~ThreadGroup() = default;

int ThreadGroup::firstRank() const { return state->firstRank; }
int ThreadGroup::localRanks() const { return state->localRanks; }

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
