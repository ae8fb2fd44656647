//===- ThreadPoolTest.cpp - the threads of one rank -----------------------===//

#include "seqpar/rt/cpu/ThreadPool.h"
#include "seqpar/rt/Error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace seqpar::rt::test {
namespace {

TEST(ThreadPool, CoversEveryItemOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (int64_t items : {0, 1, 3, 4, 5, 1000}) {
      std::vector<int> visits(items);
      std::vector<int> shares(threads);
      pool.parallelFor(items, [&](int64_t begin, int64_t end, int thread) {
        EXPECT_LT(begin, end);
        ++shares[thread];
        for (int64_t i = begin; i < end; ++i)
          ++visits[i];
      });
      EXPECT_EQ(visits, std::vector<int>(items, 1)) << threads << " threads";
      for (int share : shares)
        EXPECT_LE(share, 1);
    }
  }
}

TEST(ThreadPool, UsesAllItsThreads) {
  ThreadPool pool(3);
  std::vector<std::thread::id> ids(3);
  pool.parallelFor(3,
                   [&](int64_t, int64_t, int thread) { ids[thread] = std::this_thread::get_id(); });
  EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(), 3u);
  EXPECT_EQ(ids[0], std::this_thread::get_id());
}

TEST(ThreadPool, RunsManyJobs) {
  ThreadPool pool(3);
  int64_t sum[3] = {};
  for (int job = 0; job < 2000; ++job)
    pool.parallelFor(7,
                     [&](int64_t begin, int64_t end, int thread) { sum[thread] += end - begin; });
  EXPECT_EQ(sum[0] + sum[1] + sum[2], 7 * 2000);
}

TEST(ThreadPool, RethrowsTheFirstFailureAndGoesOn) {
  ThreadPool pool(3);
  for (int repeat = 0; repeat < 3; ++repeat) {
    try {
      pool.parallelFor(3, [](int64_t, int64_t, int thread) {
        if (thread > 0)
          fail("thread {}", thread);
      });
      ADD_FAILURE() << "no exception";
    } catch (const Error &error) {
      EXPECT_EQ(std::string(error.what()), "thread 1");
    }
    int64_t items = 0;
    pool.parallelFor(1, [&](int64_t begin, int64_t end, int) { items += end - begin; });
    EXPECT_EQ(items, 1);
  }
}

} // namespace
} // namespace seqpar::rt::test
