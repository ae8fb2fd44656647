#include "seqpar/rt/data/Prefetcher.h"

#include "seqpar/rt/Error.h"

#include <algorithm>
#include <utility>

namespace seqpar::rt::data {

void Batch::resize(int64_t newRows, int64_t newBegin, int64_t newEnd) {
  rows = newRows;
  begin = newBegin;
  end = newEnd;
  maskedTokens = 0;
  size_t size = static_cast<size_t>(rows * columns());
  for (auto *array : {&text, &types, &labels, &lossMask, &paddingMask})
    array->resize(size);
  isRandom.resize(static_cast<size_t>(rows));
  truncated.resize(static_cast<size_t>(rows));
  indices.resize(static_cast<size_t>(rows));
}

void Batch::setRow(int64_t row, const Sample &sample, int32_t padId) {
  int64_t length = static_cast<int64_t>(sample.text.size());
  int64_t first = std::min(begin, length), last = std::min(end, length);
  auto copy = [&](const std::vector<int32_t> &from, std::vector<int32_t> &to, int32_t padding) {
    auto at = std::copy(from.begin() + first, from.begin() + last, to.begin() + row * columns());
    std::fill(at, to.begin() + (row + 1) * columns(), padding);
  };
  copy(sample.text, text, padId);
  copy(sample.types, types, padId);
  copy(sample.labels, labels, -1);
  copy(sample.lossMask, lossMask, 0);
  copy(sample.paddingMask, paddingMask, 0);
  isRandom[static_cast<size_t>(row)] = sample.isRandom;
  truncated[static_cast<size_t>(row)] = sample.truncated;
  maskedTokens += std::count(sample.lossMask.begin(), sample.lossMask.end(), 1);
}

Prefetcher::Prefetcher(const PretrainingData &data, const PrefetcherOptions &options,
                       BatchIndices indices)
    : data(data), options(options), indices(std::move(indices)) {
  if (this->options.end == 0)
    this->options.end = data.options().seqLength;
  if (this->options.depth < 1 || this->options.begin < 0 ||
      this->options.end <= this->options.begin)
    fail("prefetcher: expected a depth of 1 or more and columns begin < end, found depth {}, "
         "columns "
         "{} to {}",
         options.depth, this->options.begin, this->options.end);
  thread = std::thread([this] { produce(); });
}

Prefetcher::~Prefetcher() {
  {
    std::lock_guard lock(mutex);
    stopping = true;
  }
  changed.notify_all();
  thread.join();
}

bool Prefetcher::next(Batch &out) {
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return !ready.empty() || finished; });
  if (ready.empty()) {
    if (error)
      std::rethrow_exception(error);
    return false;
  }
  std::swap(out, ready.front());
  spare.push_back(std::move(ready.front()));
  ready.pop_front();
  lock.unlock();
  changed.notify_all();
  return true;
}

bool Prefetcher::build(int64_t number, Batch &batch, std::vector<int64_t> &rows, Sample &scratch) {
  rows.clear();
  if (!indices(number, rows))
    return false;
  batch.resize(static_cast<int64_t>(rows.size()), options.begin, options.end);
  for (size_t row = 0; row < rows.size(); ++row) {
    data.sample(options.split, rows[row], scratch);
    batch.setRow(static_cast<int64_t>(row), scratch, data.padId());
    batch.indices[row] = rows[row];
  }
  return true;
}

void Prefetcher::produce() {
  std::vector<int64_t> rows;
  Sample scratch;
  for (int64_t number = 0;; ++number) {
    Batch batch;
    {
      std::unique_lock lock(mutex);
      changed.wait(lock,
                   [&] { return stopping || ready.size() < static_cast<size_t>(options.depth); });
      if (stopping)
        return;
      if (!spare.empty()) {
        batch = std::move(spare.back());
        spare.pop_back();
      }
    }
    bool more = false;
    std::exception_ptr failure;
    try {
      more = build(number, batch, rows, scratch);
    } catch (...) {
      failure = std::current_exception();
    }
    std::lock_guard lock(mutex);
    error = failure;
    finished = failure || !more;
    if (!finished)
      ready.push_back(std::move(batch));
    changed.notify_all();
    if (finished)
      return;
  }
}

} // namespace seqpar::rt::data
