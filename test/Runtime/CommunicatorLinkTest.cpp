//===- CommunicatorLinkTest.cpp - ranks over a wire in memory -------------===//
//
// "Processes" are threads here, joined by a wire that queues messages in memory instead of MPI: so
// the sanitizers see all of what a process does.
//
//===----------------------------------------------------------------------===//

#include "CommunicatorConformance.h"
#include "ProcessState.h"
#include "RunThreads.h"

#include <gmock/gmock.h>

#include <algorithm>
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

class MemoryWire final : public Wire {
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
  void poll(std::vector<Token> &done) override {
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

/// Runs the body on every process, each a thread.
void onProcesses(int count, const std::function<void(Processes &)> &body) {
  Post post(count);
  std::vector<std::thread> threads;
  for (int index = 0; index < count; ++index)
    threads.emplace_back([&, index] {
      auto processes = joinProcesses(
          "test", count, [&, index] { return std::make_unique<MemoryWire>(post, index); });
      body(*processes);
      processes->finish();
    });
  for (std::thread &thread : threads)
    thread.join();
}

template <int kProcesses> std::vector<std::string> runLinked(Grid grid, const RankBody &body) {
  std::vector<std::string> errors(static_cast<size_t>(grid.size()));
  onProcesses(kProcesses, [&](Processes &processes) {
    ThreadGroup group(grid, &processes);
    runRanks(group, body, errors);
    // No process may end while another one's ranks wait for its abort.
    processes.agree("the end of the case", "");
  });
  return errors;
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
  return {{"two_linked", runLinked<2>}, {"four_linked", runLinked<4>}};
}

} // namespace seqpar::rt::test
