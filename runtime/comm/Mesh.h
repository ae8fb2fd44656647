//===- Mesh.h - TCP connections between all processes -----------*- C++ -*-===//
//
// Small messages that must arrive even when ranks hang: one thread of each process serves a
// connection to every other one. It sends a heartbeat twice a second.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Sockets.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace seqpar::rt {

/// What the owner of a mesh hears, on the mesh's thread.
class MeshListener {
public:
  virtual ~MeshListener() = default;
  virtual void received(int process, char kind, const std::string &body) = 0;
  /// The connection is closed.
  virtual void gone(int process) = 0;
  /// Comes about twice a second.
  virtual void tick() = 0;
  /// SIGTERM was sent to this process.
  virtual void terminated() = 0;
  /// What this process's heartbeat says.
  virtual std::string heartbeat() = 0;
};

class Mesh {
public:
  using Clock = std::chrono::steady_clock;
  static constexpr char kHeartbeat = 'h';

  /// Listens; address() is what the others need to know to connect.
  Mesh() = default;
  ~Mesh();
  Mesh(const Mesh &) = delete;
  Mesh &operator=(const Mesh &) = delete;
  const std::string &address() const { return listening.address(); }

  /// Connects this process, `index`, to all others, and starts the thread. SIGTERM must be blocked.
  /// Throws Error.
  void connect(int index, const std::vector<std::string> &addresses, MeshListener &listener);

  /// Ends the thread: the listener hears no more.
  void hangUp();

  /// Returns at once; nothing is sent to a process that has gone.
  void send(int process, char kind, const std::string &body);
  /// Waits, at most for this long, until all that was sent is with the system.
  void flush(std::chrono::milliseconds longest);

  /// When the last heartbeat came.
  Clock::time_point lastHeard(int process) const;
  bool isGone(int process) const;
  /// What it said.
  std::string lastHeartbeat(int process) const;
  /// For messages: "pid 4711 on host".
  std::string describe(int process) const;

private:
  struct Peer {
    Socket socket;
    std::string received, outgoing, heartbeat;
    Clock::time_point heard;
    bool gone = false;
  };

  void run();
  void serve(size_t process, bool readable);
  void write(Peer &peer);
  void close(size_t process);

  Listener listening;
  std::vector<std::string> names; // by process
  int waking = -1, signals = -1;
  int index = 0;
  MeshListener *listener = nullptr;
  mutable std::mutex mutex; // of the peers
  std::condition_variable written;
  std::vector<Peer> peers;
  std::atomic<bool> stop{false};
  std::thread thread;
};

} // namespace seqpar::rt
