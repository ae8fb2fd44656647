//===- Wire.h - bytes between processes -------------------------*- C++ -*-===//
//
// What the link needs of a message passing library: sends and receives that return at once, and a
// test for what is done. One thread makes, uses and destroys a wire. There are two, of MPI and of
// TCP connections. MpiWire.cpp is the only file that includes a header of MPI.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace seqpar::rt {

class Wire {
public:
  /// Names a send or receive until the call of poll() after the one that has returned it.
  using Token = uint64_t; // a wire may count them up
  static constexpr int kAnyProcess = -1;
  /// The tag of messages that may arrive before their receive is begun. What arrives with another
  /// one has a receive, or had one that was taken back.
  static constexpr int kUnannounced = 0;

  virtual ~Wire() = default;
  virtual int index() const = 0; ///< of this process
  virtual int count() const = 0; ///< of processes
  /// Many times the number of receives that are pending at a time.
  virtual int largestTag() const = 0;

  /// The texts of all processes, by index. All call it; it may spin, so it is for the start only.
  virtual std::vector<std::string> allGather(const std::string &own) = 0;

  /// The buffers stay the caller's and must not be touched until the token is done. Messages of one
  /// process and tag arrive in order. At most 1 GiB.
  virtual Token send(const void *data, size_t bytes, int process, int tag) = 0;
  virtual Token receive(void *data, size_t bytes, int process, int tag) = 0;
  /// Takes back a receive that has not arrived as a whole; it is done in either case.
  virtual void cancel(Token receive) = 0;
  /// Gives up on a send or receive, whose buffer is about to go: the token is not asked for any
  /// more.
  virtual void abandon(Token token) = 0;
  /// Appends what is done, and tells whether anything has moved. Never waits. What fails is not
  /// done, and after a while an Error: when the other process has died, its connections tell that
  /// sooner.
  virtual bool poll(std::vector<Token> &done) = 0;
};

/// Joins the processes that mpirun or srun has started. Throws Error.
std::unique_ptr<Wire> createMpiWire();

struct Launch;
/// Joins the processes that meet where the launch says (Rendezvous.h). Throws Error.
std::unique_ptr<Wire> createTcpWire(const Launch &launch);

} // namespace seqpar::rt
