//===- ThreadPool.cpp - the threads of one rank ---------------------------===//

#include "seqpar/rt/cpu/ThreadPool.h"

#include "seqpar/rt/Error.h"

#include <algorithm>

namespace seqpar::rt {

ThreadPool::ThreadPool(int threads) : count(threads), failures(std::max(threads, 1)) {
  if (threads < 1)
    fail("expected at least 1 thread for a rank, found {}", threads);
  workers.reserve(threads - 1);
  for (int thread = 1; thread < threads; ++thread)
    workers.emplace_back([this, thread] { work(thread); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex);
    stopping = true;
  }
  started.notify_all();
  for (std::thread &worker : workers)
    worker.join();
}

void ThreadPool::runShare(const Job &share, int thread) {
  int64_t begin = share.items * thread / count, end = share.items * (thread + 1) / count;
  if (begin == end)
    return;
  try {
    share.call(share.context, begin, end, thread);
  } catch (...) {
    failures[thread] = std::current_exception();
  }
}

void ThreadPool::run(const Job &newJob) {
  {
    std::lock_guard lock(mutex);
    job = newJob;
    running = count - 1;
    ++generation;
  }
  started.notify_all();
  runShare(newJob, 0);
  {
    std::unique_lock lock(mutex);
    finished.wait(lock, [this] { return running == 0; });
  }
  for (std::exception_ptr &failure : failures)
    if (failure) {
      std::exception_ptr first = failure;
      std::fill(failures.begin(), failures.end(), nullptr);
      std::rethrow_exception(first);
    }
}

void ThreadPool::work(int thread) {
  uint64_t seen = 0;
  for (;;) {
    Job share;
    {
      std::unique_lock lock(mutex);
      started.wait(lock, [&] { return stopping || generation != seen; });
      if (stopping)
        return;
      seen = generation;
      share = job;
    }
    runShare(share, thread);
    std::lock_guard lock(mutex);
    if (--running == 0)
      finished.notify_one();
  }
}

} // namespace seqpar::rt
