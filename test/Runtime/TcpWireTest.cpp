//===- TcpWireTest.cpp - rendezvous and wires of processes without MPI ----===//
//
// "Processes" are threads here, which meet over the loopback interface.
//
//===----------------------------------------------------------------------===//

#include "Rendezvous.h"
#include "TcpRun.h"
#include "Wire.h"
#include "seqpar/rt/Error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <numeric>
#include <poll.h>
#include <sys/socket.h>
#include <thread>

namespace seqpar::rt::test {

namespace {

using testing::Each;
using testing::HasSubstr;
using testing::StartsWith;

/// Tries once to connect to a port of this machine.
Socket tryPort(int port, SocketClock::time_point until) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  addrinfo info{};
  info.ai_family = AF_INET;
  info.ai_addr = reinterpret_cast<sockaddr *>(&to);
  info.ai_addrlen = sizeof(to);
  return connectTo(info, until);
}

/// A connection to a port of this machine, as a stranger makes it.
Socket knock(int port) {
  auto until = SocketClock::now() + std::chrono::seconds(10);
  for (;;) {
    Socket made = tryPort(port, until);
    if (made || SocketClock::now() > until)
      return made;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

/// What joining throws on each of these, as processes that start at the same time.
std::vector<std::string> join(const std::vector<Launch> &launches) {
  std::vector<std::string> errors(launches.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < launches.size(); ++i)
    threads.emplace_back([&, i] {
      try {
        Rendezvous rendezvous(launches[i]);
        auto texts = rendezvous.gather(std::to_string(launches[i].index));
        for (size_t other = 0; other < texts.size(); ++other)
          if (texts[other] != std::to_string(other))
            fail("{} is not the text of {}", texts[other], other);
      } catch (const Error &error) {
        errors[i] = error.what();
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  return errors;
}

// The system goes through the ports it deals out: odd ones for some uses, even ones for others.
TEST(Sockets, NoneIsItsOwnPeer) {
  int even = FreePort() & ~1; // not kept
  auto until = SocketClock::now() + std::chrono::seconds(20);
  for (int i = 0; i < 60000 && SocketClock::now() < until; ++i)
    for (int port : {even, even + 1})
      if (Socket made = tryPort(port, until); made)
        ASSERT_NE(portOf(made), port) << "in attempt " << i;
}

TEST(Sockets, AConnectionDoesNotKeepItsPortFromAListener) {
  Socket listening = listenOn(0);
  Socket connected = knock(portOf(listening));
  ASSERT_TRUE(connected);
  EXPECT_TRUE(listenOn(portOf(connected)));
}

TEST(Rendezvous, AllLearnTheTextsOfAll) {
  FreePort port;
  EXPECT_THAT(join({tcpLaunch(2, 3, port), tcpLaunch(0, 3, port), tcpLaunch(1, 3, port)}),
              Each(""));
}

TEST(Rendezvous, StrangersDoNotDisturb) {
  FreePort port;
  std::vector<std::string> errors;
  std::thread joining([&] { errors = join({tcpLaunch(0, 2, port)}); });
  Socket silent = knock(port), talking = knock(port), gone = knock(port);
  auto until = SocketClock::now() + std::chrono::seconds(10);
  std::string request = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
  EXPECT_TRUE(writeAll(talking, request.data(), request.size(), until));
  gone.close();
  char answer;
  EXPECT_FALSE(readAll(talking, &answer, 1, until)) << "a stranger is not answered";
  EXPECT_LT(SocketClock::now(), until) << "but its connection is closed";
  EXPECT_THAT(join({tcpLaunch(1, 2, port)}), Each(""));
  joining.join();
  EXPECT_THAT(errors, Each(""));
}

TEST(Rendezvous, AnotherWorldSizeEndsBoth) {
  FreePort port;
  EXPECT_THAT(join({tcpLaunch(0, 2, port), tcpLaunch(1, 3, port)}),
              Each("RANK=1 has WORLD_SIZE=3, RANK=0 has WORLD_SIZE=2: expected the same"));
}

TEST(Rendezvous, ARankIsTakenOnce) {
  FreePort port;
  auto errors = join({tcpLaunch(0, 3, port), tcpLaunch(1, 3, port), tcpLaunch(1, 3, port)});
  EXPECT_EQ(errors[0], "two processes have RANK=1");
  EXPECT_THAT(errors, Each(testing::AnyOf("two processes have RANK=1",
                                          HasSubstr("a process has ended while"))));
}

TEST(Rendezvous, ProcessesOfAnotherRunAreRefusedAndThisOneGoesOn) {
  FreePort port;
  Launch other = tcpLaunch(1, 2, port);
  other.run = 5;
  std::vector<std::string> errors;
  std::thread first([&] { errors = join({tcpLaunch(0, 2, port)}); });
  EXPECT_THAT(join({other}), Each(StartsWith("processes of two runs meet at port")));
  EXPECT_THAT(join({tcpLaunch(1, 2, port)}), Each(""));
  first.join();
  EXPECT_THAT(errors, Each(""));
}

TEST(Rendezvous, APortOfAnotherProgramIsTold) {
  Socket taken = listenOn(0);
  int port = portOf(taken);
  EXPECT_THAT(join({tcpLaunch(0, 2, port)}),
              Each(testing::AllOf(StartsWith("cannot listen for the other processes at port"),
                                  HasSubstr("set SEQPAR_PORT"))));
  std::thread program([&] { // closes what connects
    pollfd entry{taken.get(), POLLIN, 0};
    poll(&entry, 1, 10000);
    Socket(accept(taken.get(), nullptr, nullptr));
  });
  EXPECT_THAT(join({tcpLaunch(1, 2, port)}),
              Each(HasSubstr("does not answer as RANK=0 of this run")));
  program.join();
}

TEST(Rendezvous, AnAddressThatIsNoneIsTold) {
  Launch launch = tcpLaunch(1, 2, FreePort());
  launch.host = "no such host";
  EXPECT_THAT(join({launch}), Each(StartsWith("MASTER_ADDR=no such host: cannot be resolved: ")));
}

/// Two wires, each made by a thread of its own, and used by the test's.
class TcpWires : public testing::Test {
protected:
  void SetUp() override {
    FreePort port;
    std::thread second([&] { wires[1] = createTcpWire(tcpLaunch(1, 2, port)); });
    wires[0] = createTcpWire(tcpLaunch(0, 2, port));
    second.join();
  }
  /// Looks at both until each has so many tokens done, for at most ten seconds.
  bool pollUntil(size_t first, size_t second) {
    auto until = SocketClock::now() + std::chrono::seconds(10);
    while (done[0].size() < first || done[1].size() < second) {
      if (SocketClock::now() > until)
        return false;
      for (int i : {0, 1})
        if (wires[i])
          wires[i]->poll(done[i]);
    }
    return true;
  }
  static std::vector<uint32_t> numbers(size_t count, uint32_t first) {
    std::vector<uint32_t> values(count);
    std::iota(values.begin(), values.end(), first);
    return values;
  }

  std::unique_ptr<Wire> wires[2];
  std::vector<Wire::Token> done[2];
};

constexpr size_t kLarge = 8 << 20; // of 4 bytes: more than the system takes at once

TEST_F(TcpWires, LargeTransfersMoveInBothDirectionsAtOnce) {
  auto ones = numbers(kLarge, 1), twos = numbers(kLarge, 2);
  std::vector<uint32_t> got[2] = {std::vector<uint32_t>(kLarge), std::vector<uint32_t>(kLarge)};
  wires[0]->receive(got[0].data(), kLarge * 4, 1, 7);
  wires[1]->receive(got[1].data(), kLarge * 4, 0, 7);
  wires[0]->send(ones.data(), kLarge * 4, 1, 7);
  wires[1]->send(twos.data(), kLarge * 4, 0, 7);
  ASSERT_TRUE(pollUntil(2, 2));
  EXPECT_EQ(got[0], twos);
  EXPECT_EQ(got[1], ones);
}

TEST_F(TcpWires, MessagesThatAreNotAnnouncedWaitForTheirReceives) {
  int sent[] = {1, 2, 3}, got[3] = {};
  for (int &value : sent)
    wires[0]->send(&value, 4, 1, Wire::kUnannounced);
  ASSERT_TRUE(pollUntil(3, 0));
  for (size_t i = 0; i < 3; ++i) {
    wires[1]->receive(&got[i], 4, Wire::kAnyProcess, Wire::kUnannounced);
    ASSERT_TRUE(pollUntil(0, i + 1));
  }
  EXPECT_THAT(got, testing::ElementsAre(1, 2, 3));
}

TEST_F(TcpWires, AReceiveThatIsTakenBackTakesNothingMore) {
  auto values = numbers(kLarge, 1);
  std::vector<uint32_t> got(kLarge);
  auto receive = wires[1]->receive(got.data(), kLarge * 4, 0, 7);
  wires[0]->send(values.data(), kLarge * 4, 1, 7);
  for (int i = 0; i < 3; ++i)
    wires[1]->poll(done[1]);
  ASSERT_TRUE(done[1].empty());
  wires[1]->cancel(receive);
  std::fill(got.begin(), got.end(), 0);
  uint32_t word = 5, next = 0;
  wires[1]->receive(&next, 4, 0, 8);
  wires[0]->send(&word, 4, 1, 8);
  ASSERT_TRUE(pollUntil(2, 2));
  EXPECT_EQ(done[1][0], receive);
  EXPECT_EQ(std::count(got.begin(), got.end(), 0u), static_cast<ptrdiff_t>(kLarge));
  EXPECT_EQ(next, 5u);
  // One that was taken back before anything came.
  wires[1]->cancel(wires[1]->receive(got.data(), 16, 0, 9));
  wires[1]->receive(&next, 4, 0, 10);
  wires[0]->send(values.data(), 16, 1, 9);
  wires[0]->send(&values[8], 4, 1, 10);
  ASSERT_TRUE(pollUntil(4, 4));
  EXPECT_EQ(got[0], 0u);
  EXPECT_EQ(next, 9u);
}

TEST_F(TcpWires, ASendThatIsGivenUpOnItsWayLeavesTheOthersWhole) {
  auto values = numbers(kLarge, 1), expected = values;
  std::vector<uint32_t> got(kLarge);
  auto send = wires[0]->send(values.data(), kLarge * 4, 1, 7);
  auto waiting = wires[0]->send(values.data(), 4, 1, 8); // nothing of it is on its way
  wires[0]->abandon(send);
  wires[0]->abandon(waiting);
  std::fill(values.begin(), values.end(), 0);
  uint32_t word = 5, next = 0;
  wires[0]->send(&word, 4, 1, 9);
  wires[1]->receive(got.data(), kLarge * 4, 0, 7);
  wires[1]->receive(&next, 4, 0, 9);
  ASSERT_TRUE(pollUntil(1, 2));
  EXPECT_EQ(got, expected);
  EXPECT_EQ(next, 5u);
}

TEST_F(TcpWires, AMessageOfAnotherSizeIsAnError) {
  uint64_t value = 0;
  wires[1]->receive(&value, 8, 0, 7);
  wires[0]->send(&value, 4, 1, 7);
  EXPECT_THROW(pollUntil(1, 1), Error);
}

TEST_F(TcpWires, WhatAProcessThatEndsHasNotSentIsNotDoneAndToldLater) {
  auto begin = SocketClock::now();
  int value = 0;
  wires[1]->receive(&value, 4, 0, 7);
  wires[0].reset();
  try {
    pollUntil(0, 1);
    FAIL() << "expected an error";
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "the data connection to process 0 is lost: the other side has "
                               "closed it");
  }
  EXPECT_GT(SocketClock::now() - begin, std::chrono::seconds(2));
  EXPECT_THAT(done[1], testing::IsEmpty());
}

} // namespace

} // namespace seqpar::rt::test
