//===- CommunicatorLinkTest.cpp - ranks over wires without MPI ------------===//
//
// "Processes" are threads here, joined by a wire that queues messages in memory, or by that of TCP
// connections: so the sanitizers see all of what a process does.
//
//===----------------------------------------------------------------------===//

#include "CommunicatorConformance.h"
#include "ProcessState.h"
#include "RunThreads.h"
#include "TcpRun.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

namespace seqpar::rt::test {

namespace {

/// What the wires of one run share.
struct Post {
  struct Letter {
    int from, tag;
    std::vector<uint8_t> bytes;
  };
  explicit Post(int count) : boxes(static_cast<size_t>(count)), texts(boxes.size()) {}

  std::mutex mutex;
  std::vector<std::deque<Letter>> boxes; ///< by receiver
  std::vector<std::string> texts;
  size_t gathered = 0;
  std::condition_variable allGathered;
};

class MemoryWire : public Wire {
public:
  MemoryWire(Post &post, int index) : post(post), process(index) {}

  int index() const override { return process; }
  int count() const override { return static_cast<int>(post.boxes.size()); }
  int largestTag() const override { return 3000; } // it comes around
  std::vector<std::string> allGather(const std::string &own) override {
    std::unique_lock lock(post.mutex);
    post.texts[static_cast<size_t>(process)] = own;
    ++post.gathered;
    post.allGathered.notify_all();
    post.allGathered.wait(lock, [&] { return post.gathered == post.boxes.size(); });
    return post.texts;
  }
  Token send(const void *data, size_t bytes, int to, int tag) override {
    auto *begin = static_cast<const uint8_t *>(data);
    std::lock_guard lock(post.mutex);
    post.boxes[static_cast<size_t>(to)].push_back({process, tag, {begin, begin + bytes}});
    sent.push_back(next);
    return next++;
  }
  Token receive(void *data, size_t bytes, int from, int tag) override {
    receives.push_back({next, data, bytes, from, tag});
    return next++;
  }
  void cancel(Token token) override {
    std::erase_if(receives, [&](const Receive &receive) { return receive.token == token; });
    sent.push_back(token);
  }
  void abandon(Token token) override {
    std::erase_if(receives, [&](const Receive &receive) { return receive.token == token; });
  }
  bool poll(std::vector<Token> &done) override {
    done.insert(done.end(), sent.begin(), sent.end());
    sent.clear();
    std::lock_guard lock(post.mutex);
    auto &box = post.boxes[static_cast<size_t>(process)];
    for (size_t i = 0; i < receives.size();) {
      Receive receive = receives[i];
      auto letter = std::find_if(box.begin(), box.end(), [&](const Post::Letter &each) {
        return each.tag == receive.tag &&
               (receive.from == kAnyProcess || receive.from == each.from);
      });
      if (letter == box.end()) {
        ++i;
        continue;
      }
      if (letter->bytes.size() > receive.bytes)
        std::abort(); // MPI would cut it
      std::copy(letter->bytes.begin(), letter->bytes.end(), static_cast<uint8_t *>(receive.data));
      box.erase(letter);
      done.push_back(receive.token);
      receives.erase(receives.begin() + static_cast<ptrdiff_t>(i));
    }
    return !done.empty();
  }

private:
  struct Receive {
    Token token;
    void *data;
    size_t bytes;
    int from, tag;
  };
  Post &post;
  int process;
  Token next = 0;
  std::vector<Token> sent;
  std::vector<Receive> receives;
};

/// Fails in its second send of a payload.
class CutWire final : public MemoryWire {
public:
  using MemoryWire::MemoryWire;
  Token send(const void *data, size_t bytes, int to, int tag) override {
    if (tag > 0 && ++payloads == 2)
      fail("the wire is cut");
    return MemoryWire::send(data, bytes, to, tag);
  }

private:
  int payloads = 0;
};

/// Cannot take back a receive, as MPI cannot when the other side has begun to send.
class StubbornWire final : public MemoryWire {
public:
  StubbornWire(Post &post, int index, std::atomic<int> &polls, std::atomic<int> &abandoned)
      : MemoryWire(post, index), polls(polls), abandoned(abandoned) {}
  void cancel(Token) override {}
  void abandon(Token token) override {
    ++abandoned;
    MemoryWire::abandon(token);
  }
  bool poll(std::vector<Token> &done) override {
    ++polls;
    return MemoryWire::poll(done);
  }

private:
  std::atomic<int> &polls, &abandoned;
};

using MakeWire = std::function<std::unique_ptr<Wire>(Post &, int index)>;

std::unique_ptr<Wire> memoryWire(Post &post, int index) {
  return std::make_unique<MemoryWire>(post, index);
}

/// Runs the body on every process, each a thread.
void onProcesses(int count, const std::function<void(Processes &)> &body,
                 const MakeWire &makeWire = memoryWire) {
  Post post(count);
  std::vector<std::thread> threads;
  for (int index = 0; index < count; ++index)
    threads.emplace_back([&, index] {
      auto processes = joinProcesses("test", count, [&, index] { return makeWire(post, index); });
      body(*processes);
      processes->finish();
    });
  for (std::thread &thread : threads)
    thread.join();
}

std::vector<std::string> runLinked(int count, Grid grid, const RankBody &body,
                                   const MakeWire &makeWire = memoryWire) {
  std::vector<std::string> errors(static_cast<size_t>(grid.size()));
  onProcesses(
      count,
      [&](Processes &processes) {
        ThreadGroup group(grid, &processes);
        runRanks(group, body, errors);
        // No process may end while another one's ranks wait for its abort.
        processes.agree("the end of the case", "");
      },
      makeWire);
  return errors;
}

template <int kProcesses> std::vector<std::string> runLinked(Grid grid, const RankBody &body) {
  return runLinked(kProcesses, grid, body);
}

template <int kProcesses> std::vector<std::string> runOverTcp(Grid grid, const RankBody &body) {
  FreePort port;
  return runLinked(kProcesses, grid, body, [&](Post &, int index) {
    return createTcpWire(tcpLaunch(index, kProcesses, port));
  });
}

TEST(Link, AWireThatFailsEndsAllRanks) {
  auto makeWire = [](Post &post, int index) -> std::unique_ptr<Wire> {
    if (index == 1)
      return std::make_unique<CutWire>(post, index);
    return memoryWire(post, index);
  };
  auto errors = runLinked(
      2, {1, 1, 4},
      [](Communicator &communicator) {
        int rank = communicator.rank();
        std::vector<float> block(500), next(500);
        for (;;) {
          auto in = communicator.receive(next.data(), 2000, (rank + 3) % 4, 0);
          auto out = communicator.send(block.data(), 2000, (rank + 1) % 4, 0, Traffic::RingShift);
          communicator.wait(in);
          communicator.wait(out);
        }
      },
      makeWire);
  EXPECT_THAT(errors, testing::Each("process 1: the exchange between processes has failed: the "
                                    "wire is cut"));
}

TEST(Link, WhatIsAbandonedIsNotLookedAtAnyMore) {
  std::atomic<int> polls = 0, abandoned = 0;
  auto makeWire = [&](Post &post, int index) -> std::unique_ptr<Wire> {
    if (index == 0)
      return std::make_unique<StubbornWire>(post, index, polls, abandoned);
    return memoryWire(post, index);
  };
  auto errors = runLinked(
      2, {1, 1, 2},
      [&](Communicator &communicator) {
        if (communicator.rank() == 1)
          return;
        float never = 0;
        communicator.receive(&never, sizeof(never), 1, 0);
        communicator.cancel();
        int before = polls;
        std::this_thread::sleep_for(std::chrono::milliseconds(400));
        if (polls - before > 200)
          fail("looked {} times at an idle wire", polls - before);
      },
      makeWire);
  EXPECT_THAT(errors, testing::Each(""));
  EXPECT_EQ(abandoned, 1);
}

TEST(Processes, AgreeOnWhatIsEqual) {
  std::atomic<int> agreed = 0;
  onProcesses(3, [&](Processes &processes) {
    processes.agree("a thing", "its value");
    processes.claim("a number", "7");
    processes.agree("another thing", "");
    ++agreed;
  });
  EXPECT_EQ(agreed, 3);
}

TEST(Processes, DifferencesAreShownByTheirWords) {
  std::mutex mutex;
  std::vector<std::string> errors;
  Post post(3);
  std::vector<std::thread> threads;
  for (int index = 0; index < 3; ++index)
    threads.emplace_back([&, index] {
      auto processes = joinProcesses(
          "test", 3, [&, index] { return std::make_unique<MemoryWire>(post, index); });
      try {
        processes->agree("the options",
                         fmt::format("--seed=1 --lr={} --steps=5", index == 2 ? 3 : 2));
      } catch (const Aborted &error) {
        std::lock_guard lock(mutex);
        errors.push_back(error.what());
      }
      std::unique_lock lock(post.mutex); // none leaves before all have heard
      ++post.gathered;
      post.allGathered.notify_all();
      post.allGathered.wait(lock, [&] { return post.gathered == 6; });
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_THAT(errors, testing::SizeIs(3));
  EXPECT_THAT(errors, testing::Each(testing::AllOf(
                          testing::HasSubstr("the processes differ in the options: process "),
                          testing::HasSubstr(" has --lr=2"), testing::HasSubstr(" has --lr=3"),
                          testing::Not(testing::HasSubstr("seed")))));
}

TEST(Processes, RanksAreDividedEvenlyInTheirOrder) {
  std::mutex mutex;
  std::vector<int> owners(7, -1);
  onProcesses(3, [&](Processes &processes) {
    EXPECT_EQ(processes.onThisMachine(), (std::vector{0, 1, 2}));
    ThreadGroup group({1, 1, 7}, &processes);
    std::lock_guard lock(mutex);
    for (int i = 0; i < group.localRanks(); ++i)
      owners[static_cast<size_t>(group.firstRank() + i)] = processes.index();
    EXPECT_GE(group.localRanks(), 2);
  });
  EXPECT_TRUE(std::is_sorted(owners.begin(), owners.end()));
  EXPECT_EQ(owners[0], 0);
}

} // namespace

std::vector<CommunicatorCase> communicatorCases() {
  return {{"two_linked", runLinked<2>},
          {"four_linked", runLinked<4>},
          {"two_tcp", runOverTcp<2>},
          {"four_tcp", runOverTcp<4>}};
}

} // namespace seqpar::rt::test
