#include "Sockets.h"

#include "seqpar/rt/Error.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fmt/ranges.h>
#include <fstream>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <random>
#include <sstream>
#include <sys/socket.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace seqpar::rt {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kConnectTime = seconds(5); // for one address
constexpr auto kGreetingTime = seconds(5);
constexpr auto kJoinTime = seconds(30);
constexpr size_t kMostGuests = 256;

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

int millisecondsUntil(SocketClock::time_point until) {
  auto left = std::chrono::ceil<milliseconds>(until - SocketClock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1'000'000));
}

// A port that only connections have, or had, does not keep a process from listening there.
void shareAddress(const Socket &socket) {
  int on = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

// A socket for a connection from a port other than the one that it goes to.
Socket bindFor(const addrinfo &to) {
  // The port is at the same place in addresses of both families.
  auto portTo = reinterpret_cast<const sockaddr_in *>(to.ai_addr)->sin_port;
  Socket unwanted; // is held, so that the next port is another one
  for (;;) {
    Socket made(socket(to.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!made)
      return made;
    shareAddress(made);
    sockaddr_storage any{};
    any.ss_family = static_cast<sa_family_t>(to.ai_family);
    if (bind(made.get(), reinterpret_cast<sockaddr *>(&any), to.ai_addrlen) != 0)
      return Socket();
    if (portOf(made) != ntohs(portTo))
      return made;
    unwanted = std::move(made);
  }
}

/// The first bytes on a connection between two listeners.
struct Hello {
  char secret[16];
  int32_t index;
};

} // namespace

void Socket::close() {
  if (descriptor >= 0)
    ::close(std::exchange(descriptor, -1));
}

bool waitFor(const Socket &socket, short events, SocketClock::time_point until) {
  pollfd entry{socket.get(), events, 0};
  int ready;
  do
    ready = poll(&entry, 1, millisecondsUntil(until));
  while (ready < 0 && errno == EINTR);
  return ready == 1;
}

bool readAll(const Socket &socket, void *data, size_t bytes, SocketClock::time_point until) {
  for (size_t at = 0; at < bytes;) {
    if (!waitFor(socket, POLLIN, until))
      return false;
    ssize_t got = recv(socket.get(), static_cast<char *>(data) + at, bytes - at, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
      return false;
    at += got > 0 ? static_cast<size_t>(got) : 0;
  }
  return true;
}

bool writeAll(const Socket &socket, const void *data, size_t bytes, SocketClock::time_point until) {
  for (size_t at = 0; at < bytes;) {
    if (!waitFor(socket, POLLOUT, until))
      return false;
    ssize_t put = send(socket.get(), static_cast<const char *>(data) + at, bytes - at,
                       MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && errno != EAGAIN && errno != EINTR)
      return false;
    at += put > 0 ? static_cast<size_t>(put) : 0;
  }
  return true;
}

Socket bindTo(int port) {
  // One that hears both families, or, on a machine without the newer one, the older.
  for (int family : {AF_INET6, AF_INET}) {
    Socket made(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!made)
      continue;
    int off = 0;
    shareAddress(made);
    sockaddr_in6 newer{};
    sockaddr_in older{};
    newer.sin6_family = AF_INET6;
    older.sin_family = AF_INET;
    newer.sin6_port = older.sin_port = htons(static_cast<uint16_t>(port));
    int status;
    if (family == AF_INET6) {
      setsockopt(made.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
      status = bind(made.get(), reinterpret_cast<sockaddr *>(&newer), sizeof(newer));
    } else {
      status = bind(made.get(), reinterpret_cast<sockaddr *>(&older), sizeof(older));
    }
    if (status == 0)
      return made;
    if (errno == EADDRINUSE || errno == EACCES)
      break;
  }
  return Socket();
}

Socket listenOn(int port) {
  Socket made = bindTo(port);
  if (made && listen(made.get(), SOMAXCONN) == 0)
    return made;
  return Socket();
}

int portOf(const Socket &socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  getsockname(socket.get(), reinterpret_cast<sockaddr *>(&address), &size);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6 *>(&address)->sin6_port
                                             : reinterpret_cast<sockaddr_in *>(&address)->sin_port);
}

Socket connectTo(const addrinfo &to, SocketClock::time_point until) {
  Socket made = bindFor(to);
  if (!made)
    return made;
  int error = ::connect(made.get(), to.ai_addr, to.ai_addrlen) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    socklen_t size = sizeof(error);
    error = ETIMEDOUT;
    if (waitFor(made, POLLOUT, until))
      getsockopt(made.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  }
  if (error == 0)
    return made;
  made.close();
  errno = error;
  return made;
}

bool Reception::receive(SocketClock::time_point until, const Greeted &greeted) {
  for (;;) {
    auto now = SocketClock::now();
    std::erase_if(guests, [&](const Guest &guest) { return now >= guest.until; });
    if (now >= until)
      return false;
    bool full = guests.size() >= kMostGuests; // the rest waits
    std::vector<pollfd> entries = {{full ? -1 : listening.get(), POLLIN, 0}};
    auto next = until;
    for (const Guest &guest : guests) {
      entries.push_back({guest.socket.get(), POLLIN, 0});
      next = std::min(next, guest.until);
    }
    poll(entries.data(), entries.size(), millisecondsUntil(next));
    bool any = false;
    for (size_t i = 0; i < guests.size(); ++i) {
      Guest &guest = guests[i];
      if (!entries[i + 1].revents)
        continue;
      char buffer[256];
      size_t room = std::min(sizeof(buffer), greetingBytes - guest.said.size());
      ssize_t got = recv(guest.socket.get(), buffer, room, MSG_DONTWAIT);
      if (got > 0)
        guest.said.append(buffer, static_cast<size_t>(got));
      else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        guest.until = now;
      if (guest.said.size() < greetingBytes)
        continue;
      guest.until = now;
      any = true;
      greeted(std::move(guest.socket), guest.said);
    }
    std::erase_if(guests, [&](const Guest &guest) { return now >= guest.until; });
    if (any)
      return true;
    if (full)
      continue;
    if (Socket made(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)); made)
      guests.push_back({std::move(made), "", now + kGreetingTime});
    else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
      fail("cannot accept another process's connection: {}", std::strerror(errno));
  }
}

Listener::Listener() : listening(listenOn(0)) {
  if (!listening)
    fail("cannot listen for the other processes: {}", std::strerror(errno));
  std::random_device random;
  secret = fmt::format("{:08x}{:08x}", random(), random());
  theAddress = fmt::format("{} {} {} {} {}{}", hostName(), getpid(), networkOf(), secret,
                           portOf(listening), addressesOfHost());
}

Socket Listener::connectTo(int process, const std::string &address, int index) const {
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
    addrinfo info{};
    info.ai_family = AF_INET;
    info.ai_addr = reinterpret_cast<sockaddr *>(&to);
    info.ai_addrlen = sizeof(to);
    Socket made = rt::connectTo(info, SocketClock::now() + kConnectTime);
    // It answers when the secret is right: another service may listen at this address.
    char answer = 0;
    auto until = SocketClock::now() + kConnectTime;
    if (made && writeAll(made, &hello, sizeof(hello), until) && readAll(made, &answer, 1, until) &&
        answer == 'y')
      return made;
  }
  fail("process {} cannot be reached at {} port {}", process, fmt::join(candidates, ", "), port);
}

void Listener::accept(int index, std::vector<Socket> &sockets) {
  auto until = SocketClock::now() + kJoinTime;
  int expected = static_cast<int>(sockets.size()) - index - 1;
  Reception reception(listening, sizeof(Hello));
  while (expected > 0) {
    bool any = reception.receive(until, [&](Socket made, const std::string &greeting) {
      Hello hello;
      std::memcpy(&hello, greeting.data(), sizeof(hello));
      if (secret != std::string(hello.secret, sizeof(hello.secret)) || hello.index <= index ||
          hello.index >= static_cast<int>(sockets.size()))
        return;
      Socket &place = sockets[static_cast<size_t>(hello.index)];
      if (place || !writeAll(made, "y", 1, SocketClock::now() + kConnectTime))
        return;
      place = std::move(made);
      --expected;
    });
    if (!any)
      fail("{} processes have not connected to process {} within {} s", expected, index,
           kJoinTime.count());
  }
}

std::vector<Socket> Listener::connect(int index, const std::vector<std::string> &addresses) {
  std::vector<Socket> sockets(addresses.size());
  // Connections are made to processes before this one and accepted from those behind it.
  std::exception_ptr connectFailure, acceptFailure; // one for each thread
  std::thread connecting([&] {
    try {
      for (int process = 0; process < index; ++process)
        sockets[static_cast<size_t>(process)] =
            connectTo(process, addresses[static_cast<size_t>(process)], index);
    } catch (...) {
      connectFailure = std::current_exception();
    }
  });
  try {
    accept(index, sockets);
  } catch (...) {
    acceptFailure = std::current_exception();
  }
  connecting.join();
  if (connectFailure)
    std::rethrow_exception(connectFailure);
  if (acceptFailure)
    std::rethrow_exception(acceptFailure);
  for (Socket &socket : sockets) {
    int on = 1;
    if (socket)
      setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  return sockets;
}

} // namespace seqpar::rt
