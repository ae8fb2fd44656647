#include "Mesh.h"

#include "seqpar/rt/Error.h"

#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <random>
#include <sstream>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace seqpar::rt {

namespace {

using std::chrono::milliseconds;

constexpr auto kHeartbeatInterval = milliseconds(500);
constexpr int kConnectMilliseconds = 5000; // for one address
constexpr auto kJoinTime = std::chrono::seconds(30);

std::string hostName() {
  char name[256] = {};
  gethostname(name, sizeof(name) - 1);
  return name;
}

// The same for processes that reach each other over the loopback interface.
std::string networkOf() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  struct stat status = {};
  stat("/proc/self/ns/net", &status);
  return fmt::format("{}:{}", boot, status.st_ino);
}

std::string addressesOfHost() {
  std::string text;
  ifaddrs *list = nullptr;
  if (getifaddrs(&list) != 0)
    return text;
  for (ifaddrs *entry = list; entry; entry = entry->ifa_next) {
    if (!entry->ifa_addr || entry->ifa_addr->sa_family != AF_INET || !(entry->ifa_flags & IFF_UP) ||
        (entry->ifa_flags & IFF_LOOPBACK))
      continue;
    char buffer[INET_ADDRSTRLEN];
    auto *address = reinterpret_cast<sockaddr_in *>(entry->ifa_addr);
    text += fmt::format(" {}", inet_ntop(AF_INET, &address->sin_addr, buffer, sizeof(buffer)));
  }
  freeifaddrs(list);
  return text;
}

bool waitFor(int socket, short events, int timeoutMilliseconds) {
  pollfd entry{socket, events, 0};
  return poll(&entry, 1, timeoutMilliseconds) == 1;
}

// All of it, within seconds; false when the other side does not.
bool readAll(int socket, void *data, size_t bytes) {
  for (size_t at = 0; at < bytes;) {
    if (!waitFor(socket, POLLIN, kConnectMilliseconds))
      return false;
    ssize_t got = recv(socket, static_cast<char *>(data) + at, bytes - at, 0);
    if (got <= 0)
      return false;
    at += static_cast<size_t>(got);
  }
  return true;
}

/// The first bytes on a connection.
struct Hello {
  char secret[16];
  int32_t index;
};

} // namespace

Mesh::Mesh() {
  listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  socklen_t size = sizeof(any);
  if (listening < 0 || bind(listening, reinterpret_cast<sockaddr *>(&any), sizeof(any)) != 0 ||
      listen(listening, SOMAXCONN) != 0 ||
      getsockname(listening, reinterpret_cast<sockaddr *>(&any), &size) != 0)
    fail("cannot listen for the other processes: {}", std::strerror(errno));
  std::random_device random;
  secret = fmt::format("{:08x}{:08x}", random(), random());
  theAddress = fmt::format("{} {} {} {} {}{}", hostName(), getpid(), networkOf(), secret,
                           ntohs(any.sin_port), addressesOfHost());
}

void Mesh::hangUp() {
  if (!thread.joinable())
    return;
  stop = true;
  eventfd_write(waking, 1);
  thread.join();
}

Mesh::~Mesh() {
  hangUp();
  for (Peer &peer : peers)
    if (peer.socket >= 0)
      ::close(peer.socket);
  for (int descriptor : {listening, waking, signals})
    if (descriptor >= 0)
      ::close(descriptor);
}

int Mesh::connectTo(int process, const std::string &address) const {
  std::istringstream words(address);
  std::string host, pid, network, itsSecret, ip;
  int port = 0;
  words >> host >> pid >> network >> itsSecret >> port;
  std::vector<std::string> candidates;
  if (network == networkOf())
    candidates.push_back("127.0.0.1");
  else
    while (words >> ip)
      candidates.push_back(ip);
  Hello hello{};
  std::memcpy(hello.secret, itsSecret.data(), std::min(sizeof(hello.secret), itsSecret.size()));
  hello.index = index;
  for (const std::string &candidate : candidates) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    inet_pton(AF_INET, candidate.c_str(), &to.sin_addr);
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int status = ::connect(made, reinterpret_cast<sockaddr *>(&to), sizeof(to));
    int error = status == 0 ? 0 : errno;
    socklen_t size = sizeof(error);
    if (error == EINPROGRESS && waitFor(made, POLLOUT, kConnectMilliseconds))
      getsockopt(made, SOL_SOCKET, SO_ERROR, &error, &size);
    // It answers when the secret is right: another service may listen at this address.
    char answer = 0;
    if (error == 0 && ::send(made, &hello, sizeof(hello), MSG_NOSIGNAL) == sizeof(hello) &&
        readAll(made, &answer, 1) && answer == 'y')
      return made;
    ::close(made);
  }
  fail("process {} cannot be reached at {} port {}", process, fmt::join(candidates, ", "), port);
}

void Mesh::accept(int expected) {
  auto until = Clock::now() + kJoinTime;
  while (expected > 0) {
    auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now()).count();
    if (left <= 0 || !waitFor(listening, POLLIN, static_cast<int>(left)))
      fail("{} processes have not connected to process {} within {} s", expected, index,
           kJoinTime.count());
    int made = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    Hello hello{};
    bool good = made >= 0 && readAll(made, &hello, sizeof(hello)) &&
                secret == std::string(hello.secret, sizeof(hello.secret)) && hello.index > index &&
                hello.index < static_cast<int>(peers.size()) &&
                peers[static_cast<size_t>(hello.index)].socket < 0 &&
                ::send(made, "y", 1, MSG_NOSIGNAL) == 1;
    if (!good) {
      ::close(made);
      continue;
    }
    peers[static_cast<size_t>(hello.index)].socket = made;
    --expected;
  }
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
  // Connections are made to processes before this one and accepted from those behind it.
  std::exception_ptr connectFailure, acceptFailure; // one for each thread
  std::thread connecting([&] {
    try {
      for (int process = 0; process < index; ++process)
        peers[static_cast<size_t>(process)].socket =
            connectTo(process, addresses[static_cast<size_t>(process)]);
    } catch (...) {
      connectFailure = std::current_exception();
    }
  });
  try {
    accept(static_cast<int>(peers.size()) - index - 1);
  } catch (...) {
    acceptFailure = std::current_exception();
  }
  connecting.join();
  if (connectFailure)
    std::rethrow_exception(connectFailure);
  if (acceptFailure)
    std::rethrow_exception(acceptFailure);
  for (Peer &peer : peers) {
    int on = 1;
    peer.heard = Clock::now();
    if (peer.socket >= 0)
      setsockopt(peer.socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
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
        entries.push_back(
            {peer.socket, static_cast<short>(POLLIN | (peer.outgoing.empty() ? 0 : POLLOUT)), 0});
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
  if (peer.socket < 0)
    return;
  {
    std::lock_guard lock(mutex);
    write(peer);
  }
  if (!readable)
    return;
  char buffer[4096];
  ssize_t got;
  while ((got = recv(peer.socket, buffer, sizeof(buffer), 0)) > 0)
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
    ::close(peers[process].socket);
    peers[process].socket = -1;
    peers[process].gone = true;
    peers[process].outgoing.clear();
    written.notify_all();
  }
  listener->gone(static_cast<int>(process));
}

void Mesh::write(Peer &peer) {
  while (!peer.outgoing.empty()) {
    ssize_t sent = ::send(peer.socket, peer.outgoing.data(), peer.outgoing.size(),
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
  if (peer.socket < 0 || (kind == kHeartbeat && !peer.outgoing.empty()))
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
