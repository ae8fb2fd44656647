//===- Profiler.h - where a step's time goes --------------------*- C++ -*-===//
//
// Collects the time of one rank per category, and optionally every event for a Chrome trace
// (chrome://tracing, Perfetto): what the rank's thread does in one row, and what is on its way to
// or from others meanwhile in another. Used by one thread.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace seqpar::rt {

/// Collective is for exchanges that the rank's thread takes part in from begin to end; their time
/// is counted as Exchange and Waiting.
enum class Category : int { Gemm, Attention, RowKernel, Exchange, Waiting, Feed, Collective };
inline constexpr int kCategories = 6; ///< those that time is counted by
/// "gemm", "attention", "row kernel", "exchange", "waiting", "feed", "collective".
const char *categoryName(Category category);

class Profiler {
public:
  /// Keeps up to `traceEvents` events; those past it are counted only.
  explicit Profiler(size_t traceEvents = 0);

  static uint64_t now(); ///< nanoseconds of a steady clock

  /// Time from `begin` to `end`, of which `waited` nanoseconds were slept for other ranks. `name`
  /// must outlive the profiler.
  void add(Category category, const char *name, uint64_t begin, uint64_t end, uint64_t waited = 0);
  uint64_t nanoseconds(Category category) const { return totals[static_cast<size_t>(category)]; }

  /// Keeps an exchange for the trace, from its start until its data were there. One that begins
  /// when the last one kept did, under the same name, is the same exchange and makes it longer.
  void addExchange(Category category, const char *name, uint64_t begin, uint64_t end);

  /// The events as entries of Chrome's trace format, separated by commas: a process for the rank,
  /// with a thread "compute" and as many "exchange" as there are at a time. `clockOffset`
  /// nanoseconds are added to all times.
  std::string traceRows(int rank, int64_t clockOffset) const;

private:
  struct Event {
    const char *name;
    Category category;
    uint64_t begin, end;
  };
  std::array<uint64_t, kCategories> totals{};
  std::vector<Event> events, exchanges;
  size_t capacity;
};

} // namespace seqpar::rt
