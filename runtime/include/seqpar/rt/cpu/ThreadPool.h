//===- ThreadPool.h - the threads of one rank -------------------*- C++ -*-===//
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace seqpar::rt {

/// A fixed number of threads that sleep between jobs. The thread that calls parallelFor does the
/// first share itself, so a pool of one thread creates none and runs everything inline.
class ThreadPool {
public:
  /// `threads` counts the caller: threads - 1 are created.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int threads() const { return count; }

  /// Runs body(begin, end, thread) on contiguous ranges that cover [0, items): one range per
  /// thread, of as equal a size as possible, none of them empty. Returns when all are done;
  /// rethrows the exception of the lowest thread that failed. Not reentrant.
  template <typename Body> void parallelFor(int64_t items, Body &&body) {
    if (items <= 0)
      return;
    if (count == 1 || items == 1) {
      body(int64_t(0), items, 0);
      return;
    }
    auto call = [](void *context, int64_t begin, int64_t end, int thread) {
      (*static_cast<std::remove_reference_t<Body> *>(context))(begin, end, thread);
    };
    run({call, const_cast<void *>(static_cast<const void *>(&body)), items});
  }

private:
  struct Job {
    void (*call)(void *, int64_t, int64_t, int) = nullptr;
    void *context = nullptr;
    int64_t items = 0;
  };

  void run(const Job &newJob);
  void work(int thread);
  void runShare(const Job &share, int thread);

  const int count;
  std::mutex mutex;
  std::condition_variable started, finished;
  Job job;
  uint64_t generation = 0;
  int running = 0;
  bool stopping = false;
  std::vector<std::exception_ptr> failures;
  std::vector<std::thread> workers;
};

} // namespace seqpar::rt
