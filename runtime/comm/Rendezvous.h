//===- Rendezvous.h - where processes without MPI meet ----------*- C++ -*-===//
//
// The first process listens at an address that all know; the others connect and greet it. It
// answers those of this run, and closes the connections of strangers.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Launch.h"
#include "Sockets.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace seqpar::rt {

/// The first bytes on a connection to the first process.
struct Greeting {
  static constexpr size_t kBytes = 32;
  static constexpr uint32_t kVersion = 1;

  uint32_t version = kVersion, count = 0, index = 0;
  uint64_t run = 0;

  std::string bytes() const;
  /// Nothing when a stranger has sent this.
  static std::optional<Greeting> parse(std::string_view bytes);
  /// Why the process that is greeted so does not take the other in; empty: it does.
  std::string refusal(const Launch &launch) const;
};

class Rendezvous {
public:
  /// Waits until all processes have come. Throws Error.
  explicit Rendezvous(const Launch &launch);
  /// The texts of all processes, by index. All call it.
  std::vector<std::string> gather(const std::string &own);

private:
  void receiveAll();
  void receive(Socket made, const std::string &bytes, std::string &failure);
  void connect();
  void greet();
  void put(const Socket &to, const std::string &text) const;
  std::string get(const Socket &from) const;
  std::string where() const;

  const Launch launch;
  std::vector<Socket> sockets; ///< on the first process, to the others, by index
  Socket first;                ///< on the others
};

} // namespace seqpar::rt
