#include "seqpar/rt/Profiler.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <utility>

namespace seqpar::rt {

const char *categoryName(Category category) {
  static constexpr const char *kNames[] = {"gemm",    "attention", "row kernel", "exchange",
                                           "waiting", "feed",      "collective"};
  return kNames[static_cast<size_t>(category)];
}

Profiler::Profiler(size_t traceEvents) : capacity(traceEvents) {
  events.reserve(capacity);
  exchanges.reserve(capacity);
}

uint64_t Profiler::now() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

void Profiler::add(Category category, const char *name, uint64_t begin, uint64_t end,
                   uint64_t waited) {
  waited = std::min(waited, end - begin);
  totals[static_cast<size_t>(category)] += end - begin - waited;
  totals[static_cast<size_t>(Category::Waiting)] += waited;
  if (events.size() < capacity)
    events.push_back({name, waited > (end - begin) / 2 ? Category::Waiting : category, begin, end});
}

namespace {

// Names come from a program file: they may hold any character.
std::string quoted(const char *name) {
  std::string text = "\"";
  for (; *name; ++name) {
    if (*name == '"' || *name == '\\')
      text += '\\';
    text += static_cast<unsigned char>(*name) < 0x20 ? ' ' : *name;
  }
  return text + '"';
}

} // namespace

void Profiler::addExchange(Category category, const char *name, uint64_t begin, uint64_t end) {
  if (!exchanges.empty() && exchanges.back().begin == begin && exchanges.back().name == name)
    exchanges.back().end = std::max(exchanges.back().end, end);
  else if (exchanges.size() < capacity)
    exchanges.push_back({name, category, begin, std::max(begin, end)});
}

std::string Profiler::traceRows(int rank, int64_t clockOffset) const {
  std::string text = fmt::format("{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{},\"tid\":0,"
                                 "\"args\":{{\"name\":\"rank {}\"}}}}",
                                 rank, rank);
  auto nameRow = [&](size_t row, const char *name) {
    text += fmt::format(",\n{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":{},\"tid\":{},"
                        "\"args\":{{\"name\":\"{}\"}}}}",
                        rank, row, name);
  };
  auto add = [&](const Event &event, size_t row) {
    text += fmt::format(",\n{{\"ph\":\"X\",\"name\":{},\"cat\":\"{}\",\"pid\":{},\"tid\":{},"
                        "\"ts\":{:.3f},\"dur\":{:.3f}}}",
                        quoted(event.name), categoryName(event.category), rank, row,
                        static_cast<double>(static_cast<int64_t>(event.begin) + clockOffset) / 1e3,
                        static_cast<double>(event.end - event.begin) / 1e3);
  };
  nameRow(0, "compute");
  for (const Event &event : events)
    add(event, 0);
  // Events of a row must not overlap: each exchange goes to the first row that is free.
  std::vector<Event> sorted = exchanges;
  std::sort(sorted.begin(), sorted.end(), [](const Event &a, const Event &b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::vector<uint64_t> freeFrom;
  for (const Event &event : sorted) {
    auto row = std::find_if(freeFrom.begin(), freeFrom.end(),
                            [&](uint64_t end) { return end <= event.begin; });
    if (row == freeFrom.end()) {
      row = freeFrom.insert(row, 0);
      nameRow(freeFrom.size(), "exchange");
    }
    *row = event.end;
    add(event, static_cast<size_t>(row - freeFrom.begin()) + 1);
  }
  return text;
}

} // namespace seqpar::rt
