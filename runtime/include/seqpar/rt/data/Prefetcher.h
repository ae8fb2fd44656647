#pragma once
// Builds the next batches on a background thread.

#include "seqpar/rt/data/PretrainingData.h"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

namespace seqpar::rt::data {

/// Columns [begin, end) of several samples, each array [rows, columns] with rows outermost. Columns
/// at and past the sample's length are padding: [PAD], label -1, masks 0.
struct Batch {
  int64_t rows = 0, begin = 0, end = 0;
  std::vector<int32_t> text, types, labels, lossMask, paddingMask;
  std::vector<int32_t> isRandom, truncated; ///< [rows]
  std::vector<int64_t> indices;             ///< [rows], the sample of each row
  /// Positions to predict in the whole samples, not only in these columns.
  int64_t maskedTokens = 0;

  int64_t columns() const { return end - begin; }
  void resize(int64_t newRows, int64_t newBegin, int64_t newEnd);
  /// Copies a sample's columns to `row` and adds its positions to predict to maskedTokens.
  void setRow(int64_t row, const Sample &sample, int32_t padId);
};

struct PrefetcherOptions {
  Split split = Split::train;
  /// Columns to deliver; end = 0 means the whole sample.
  int64_t begin = 0, end = 0;
  /// Batches built ahead, at least 1.
  int depth = 2;
};

/// Writes the sample indices of batch number `n` (0, 1, ...) and returns true, or returns false
/// when there are no more batches. Called on the background thread only, in order.
using BatchIndices = std::function<bool(int64_t n, std::vector<int64_t> &indices)>;

/// Delivers batches in order. `data` must outlive it. The destructor stops the thread at once.
class Prefetcher {
public:
  Prefetcher(const PretrainingData &data, const PrefetcherOptions &options, BatchIndices indices);
  ~Prefetcher();
  Prefetcher(const Prefetcher &) = delete;
  Prefetcher &operator=(const Prefetcher &) = delete;

  /// Swaps the next batch into `out` (whose old buffers are used again) and returns true; false at
  /// the end. Throws what the background thread threw, at the batch where it happened and after.
  bool next(Batch &out);

private:
  void produce();
  bool build(int64_t number, Batch &batch, std::vector<int64_t> &rows, Sample &scratch);

  const PretrainingData &data;
  PrefetcherOptions options;
  BatchIndices indices;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Batch> ready;
  std::vector<Batch> spare;
  std::exception_ptr error;
  bool finished = false, stopping = false;
  std::thread thread;
};

} // namespace seqpar::rt::data
