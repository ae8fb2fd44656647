//===- Bench.h - timing for the benchmarks ----------------------*- C++ -*-===//
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ctime>

namespace seqpar::bench {

/// The clock of all measurements. Work of one thread is measured by that thread's CPU time, which
/// does not count what other programs take away; work of several can only be measured by the wall.
inline clockid_t timer = CLOCK_MONOTONIC;
inline void useClockFor(int threads) {
  timer = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
}

inline double seconds() {
  timespec now;
  clock_gettime(timer, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

struct Pair {
  double first, second;
};

/// Best seconds per call of two functions, measured in turns so that both see the same machine.
/// Each turn repeats a function for about 10 ms.
template <typename First, typename Second>
Pair compare(First &&first, Second &&second, int turns = 9) {
  auto repeats = [](auto &body) {
    double start = seconds();
    body();
    return std::clamp<int64_t>(int64_t(0.01 / std::max(seconds() - start, 1e-9)), 1, 1000000);
  };
  first(), second(); // warm up
  int64_t repeatsFirst = repeats(first), repeatsSecond = repeats(second);
  Pair best = {INFINITY, INFINITY};
  auto time = [](auto &body, int64_t count, double &least) {
    double start = seconds();
    for (int64_t i = 0; i < count; ++i)
      body();
    least = std::min(least, (seconds() - start) / double(count));
  };
  for (int turn = 0; turn < turns; ++turn) {
    time(first, repeatsFirst, best.first);
    time(second, repeatsSecond, best.second);
  }
  return best;
}

} // namespace seqpar::bench
