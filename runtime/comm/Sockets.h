//===- Sockets.h - TCP connections between processes ------------*- C++ -*-===//
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

struct addrinfo;

namespace seqpar::rt {

/// An open socket, or none.
class Socket {
public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor(descriptor) {}
  Socket(Socket &&other) noexcept : descriptor(std::exchange(other.descriptor, -1)) {}
  Socket &operator=(Socket &&other) noexcept {
    std::swap(descriptor, other.descriptor);
    return *this;
  }
  ~Socket() { close(); }

  int get() const { return descriptor; }
  explicit operator bool() const { return descriptor >= 0; }
  void close();

private:
  int descriptor = -1;
};

using SocketClock = std::chrono::steady_clock;

/// Whether the socket can be read (POLLIN) or written (POLLOUT) before the time is up.
bool waitFor(const Socket &socket, short events, SocketClock::time_point until);
/// All of the bytes before the time is up; false when the other side does not.
bool readAll(const Socket &socket, void *data, size_t bytes, SocketClock::time_point until);
bool writeAll(const Socket &socket, const void *data, size_t bytes, SocketClock::time_point until);
/// Has a port of all interfaces, 0: any, and does not listen yet. Others may have the same one
/// until one listens; none is given it for 0, nor for a connection of its own. Empty, with errno,
/// when it cannot.
Socket bindTo(int port);
/// The same, and listens.
Socket listenOn(int port);
int portOf(const Socket &socket);
/// Never from the port that it connects to: one that tries a port of its own machine at which
/// nobody listens yet would come to be its own peer, and keep the port from whom it waits for.
/// Empty, with errno, when it cannot.
Socket connectTo(const addrinfo &to, SocketClock::time_point until);

/// Those that have connected and not yet said who they are. None of them keeps the others waiting.
class Reception {
public:
  /// A greeting has so many bytes.
  Reception(const Socket &listening, size_t greetingBytes)
      : listening(listening), greetingBytes(greetingBytes) {}

  /// Waits for greetings and hands each over with its connection. Connections that close, or say
  /// too little within 5 s, are closed. Returns after a greeting, or when the time is up: false.
  using Greeted = std::function<void(Socket, const std::string &greeting)>;
  bool receive(SocketClock::time_point until, const Greeted &greeted);

private:
  struct Guest {
    Socket socket;
    std::string said;
    SocketClock::time_point until;
  };
  const Socket &listening;
  size_t greetingBytes;
  std::vector<Guest> guests;
};

/// Where a process listens for the others.
class Listener {
public:
  /// Throws Error when it cannot listen.
  Listener();
  /// One line: what the others need to know to connect, beginning with host and process id.
  const std::string &address() const { return theAddress; }
  /// Connects this process, `index`, to all others, whose addresses are given in their order. By
  /// process; none to itself. They do not block and send at once. Throws Error.
  std::vector<Socket> connect(int index, const std::vector<std::string> &addresses);

private:
  Socket connectTo(int process, const std::string &address, int index) const;
  void accept(int index, std::vector<Socket> &sockets);

  Socket listening;
  std::string secret, theAddress;
};

} // namespace seqpar::rt
