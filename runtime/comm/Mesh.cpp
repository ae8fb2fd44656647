#include "Mesh.h"

#include "seqpar/rt/Error.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <sstream>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace seqpar::rt {

namespace {

using std::chrono::milliseconds;

constexpr auto kHeartbeatInterval = milliseconds(500);

} // namespace

void Mesh::hangUp() {
  if (!thread.joinable())
    return;
  stop = true;
  eventfd_write(waking, 1);
  thread.join();
}

Mesh::~Mesh() {
  hangUp();
  for (int descriptor : {waking, signals})
    if (descriptor >= 0)
      ::close(descriptor);
}

void Mesh::connect(int itsIndex, const std::vector<std::string> &addresses,
                   MeshListener &itsListener) {
  index = itsIndex;
  listener = &itsListener;
  peers.resize(addresses.size());
  for (size_t process = 0; process < addresses.size(); ++process) {
    std::istringstream words(addresses[process]);
    std::string host, pid;
    words >> host >> pid;
    names.push_back(fmt::format("pid {} on {}", pid, host));
  }
  std::vector<Socket> sockets = listening.connect(index, addresses);
  for (size_t process = 0; process < peers.size(); ++process) {
    peers[process].socket = std::move(sockets[process]);
    peers[process].heard = Clock::now();
  }
  waking = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  signals = signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK);
  thread = std::thread([this] { run(); });
}

void Mesh::run() {
  auto nextBeat = Clock::now();
  while (!stop) {
    if (Clock::now() >= nextBeat) {
      if (Clock::now() > nextBeat + 4 * kHeartbeatInterval) {
        // This process itself has been stopped: what the others have sent meanwhile is still
        // unread.
        std::lock_guard lock(mutex);
        for (Peer &peer : peers)
          peer.heard = Clock::now();
      }
      nextBeat = Clock::now() + kHeartbeatInterval;
      std::string text = listener->heartbeat();
      for (size_t process = 0; process < peers.size(); ++process)
        send(static_cast<int>(process), kHeartbeat, text);
      listener->tick();
    }
    std::vector<pollfd> entries = {{waking, POLLIN, 0}, {signals, POLLIN, 0}};
    {
      std::lock_guard lock(mutex);
      for (const Peer &peer : peers)
        entries.push_back({peer.socket.get(),
                           static_cast<short>(POLLIN | (peer.outgoing.empty() ? 0 : POLLOUT)), 0});
    }
    auto left = std::chrono::duration_cast<milliseconds>(nextBeat - Clock::now()).count();
    poll(entries.data(), entries.size(), static_cast<int>(std::max<int64_t>(1, left + 1)));
    eventfd_t count;
    eventfd_read(waking, &count);
    signalfd_siginfo info;
    if (read(signals, &info, sizeof(info)) == sizeof(info))
      listener->terminated();
    for (size_t process = 0; process < peers.size(); ++process)
      serve(process, entries[process + 2].revents & (POLLIN | POLLHUP | POLLERR));
  }
}

// Messages on a connection: their bytes, 4; their kind, 1; their body.
void Mesh::serve(size_t process, bool readable) {
  Peer &peer = peers[process];
  if (!peer.socket)
    return;
  {
    std::lock_guard lock(mutex);
    write(peer);
  }
  if (!readable)
    return;
  char buffer[4096];
  ssize_t got;
  while ((got = recv(peer.socket.get(), buffer, sizeof(buffer), 0)) > 0)
    peer.received.append(buffer, static_cast<size_t>(got));
  bool closed = got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
  uint32_t bytes;
  while (peer.received.size() >= sizeof(bytes) + 1) {
    std::memcpy(&bytes, peer.received.data(), sizeof(bytes));
    if (peer.received.size() < sizeof(bytes) + 1 + bytes)
      break;
    char kind = peer.received[sizeof(bytes)];
    std::string body = peer.received.substr(sizeof(bytes) + 1, bytes);
    peer.received.erase(0, sizeof(bytes) + 1 + bytes);
    {
      std::lock_guard lock(mutex);
      peer.heard = Clock::now();
      if (kind == kHeartbeat)
        peer.heartbeat = body;
    }
    if (kind != kHeartbeat)
      listener->received(static_cast<int>(process), kind, body);
  }
  if (closed)
    close(process);
}

void Mesh::close(size_t process) {
  {
    std::lock_guard lock(mutex);
    peers[process].socket.close();
    peers[process].gone = true;
    peers[process].outgoing.clear();
    written.notify_all();
  }
  listener->gone(static_cast<int>(process));
}

void Mesh::write(Peer &peer) {
  while (!peer.outgoing.empty()) {
    ssize_t sent = ::send(peer.socket.get(), peer.outgoing.data(), peer.outgoing.size(),
                          MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0)
      return; // later; when the connection is broken, reading says so
    peer.outgoing.erase(0, static_cast<size_t>(sent));
  }
  written.notify_all();
}

void Mesh::send(int process, char kind, const std::string &body) {
  std::lock_guard lock(mutex);
  Peer &peer = peers[static_cast<size_t>(process)];
  if (!peer.socket || (kind == kHeartbeat && !peer.outgoing.empty()))
    return;
  auto bytes = static_cast<uint32_t>(body.size());
  peer.outgoing.append(reinterpret_cast<const char *>(&bytes), sizeof(bytes));
  peer.outgoing += kind;
  peer.outgoing += body;
  write(peer);
  if (!peer.outgoing.empty())
    eventfd_write(waking, 1);
}

void Mesh::flush(milliseconds longest) {
  std::unique_lock lock(mutex);
  written.wait_for(lock, longest, [&] {
    for (const Peer &peer : peers)
      if (!peer.outgoing.empty())
        return false;
    return true;
  });
}

Mesh::Clock::time_point Mesh::lastHeard(int process) const {
  std::lock_guard lock(mutex);
  return peers[static_cast<size_t>(process)].heard;
}

bool Mesh::isGone(int process) const {
  std::lock_guard lock(mutex);
  return peers[static_cast<size_t>(process)].gone;
}

std::string Mesh::lastHeartbeat(int process) const {
  std::lock_guard lock(mutex);
  return peers[static_cast<size_t>(process)].heartbeat;
}

std::string Mesh::describe(int process) const { return names[static_cast<size_t>(process)]; }

} // namespace seqpar::rt
