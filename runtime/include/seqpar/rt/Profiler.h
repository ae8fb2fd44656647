//===- Profiler.h - where a step's time goes --------------------*- C++ -*-===//
//
// Collects the time of one rank per category, and optionally every event for a Chrome trace
// (chrome://tracing, Perfetto). Used by one thread.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace seqpar::rt {

enum class Category : int { Gemm, Attention, RowKernel, Exchange, Waiting, Feed };
inline constexpr int kCategories = 6;
/// "gemm", "attention", "row kernel", "exchange", "waiting", "feed".
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

  /// The events as entries of Chrome's trace format, separated by commas. Times are those of the
  /// steady clock.
  std::string traceRows(int rank) const;

private:
  struct Event {
    const char *name;
    Category category;
    uint64_t begin, end;
  };
  std::array<uint64_t, kCategories> totals{};
  std::vector<Event> events;
  size_t capacity;
};

} // namespace seqpar::rt
