#include "seqpar/rt/Profiler.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>

namespace seqpar::rt {

const char *categoryName(Category category) {
  static constexpr const char *kNames[kCategories] = {"gemm",     "attention", "row kernel",
                                                      "exchange", "waiting",   "feed"};
  return kNames[static_cast<size_t>(category)];
}

Profiler::Profiler(size_t traceEvents) : capacity(traceEvents) { events.reserve(capacity); }

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

std::string Profiler::traceRows(int rank) const {
  std::string text = fmt::format("{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":0,\"tid\":{},"
                                 "\"args\":{{\"name\":\"rank {}\"}}}}",
                                 rank, rank);
  for (const Event &event : events)
    text += fmt::format(",\n{{\"ph\":\"X\",\"name\":{},\"cat\":\"{}\",\"pid\":0,\"tid\":{},"
                        "\"ts\":{:.3f},\"dur\":{:.3f}}}",
                        quoted(event.name), categoryName(event.category), rank,
                        static_cast<double>(event.begin) / 1e3,
                        static_cast<double>(event.end - event.begin) / 1e3);
  return text;
}

} // namespace seqpar::rt
