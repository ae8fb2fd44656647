//===- TcpRun.h - where processes of a test meet ----------------*- C++ -*-===//
#pragma once

#include "Launch.h"
#include "Sockets.h"

namespace seqpar::rt::test {

/// Process `index` of `count` that meet on this machine. Those of one run take one port.
inline Launch tcpLaunch(int index, int count, int port) {
  Launch launch;
  launch.kind = Launch::Tcp;
  launch.index = index;
  launch.count = count;
  launch.host = "localhost";
  launch.port = port;
  launch.portRule = "of the test";
  return launch;
}

/// One at which nobody listens. As long as this is kept, no other is given it.
class FreePort {
public:
  operator int() const { return portOf(held); }

private:
  Socket held = bindTo(0);
};

} // namespace seqpar::rt::test
