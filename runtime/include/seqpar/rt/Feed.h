//===- Feed.h - where a step's samples come from ----------------*- C++ -*-===//
//
// A feed delivers global batches; the executor takes each rank's part of it. Samples are counted
// over the whole run: step k of a run with G samples a step uses samples k * G ... k * G + G - 1.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace seqpar::program {
struct Program;
}

namespace seqpar::rt {

/// The samples of one step, whole sequences. Arrays are [samples, length] unless said otherwise.
struct GlobalBatch {
  int64_t samples = 0, length = 0;
  std::vector<int32_t> tokens, types;
  std::vector<int32_t> labels;   ///< token to predict where lossMask is 1; not looked at elsewhere
  std::vector<int32_t> lossMask; ///< 1: predict
  std::vector<int32_t> paddingMask; ///< 1: real token
  std::vector<int32_t> isRandom;    ///< [samples] 1: the two segments are in swapped order
  int64_t firstSample = 0;          ///< number of the first sample, counted over the whole run
  /// Sum of lossMask over the global batch. A feed that holds only a part of the global batch must
  /// sum it over all processes before it returns from load().
  int64_t lossTokens = 0;

  /// Sizes the arrays; allocates only when they grow.
  void resize(int64_t newSamples, int64_t newLength);
  /// Sets lossTokens from lossMask.
  void countLossTokens();
};

/// Samples and length of the batches in a file, and how many steps it has.
struct BatchShape {
  int64_t samples = 0, length = 0, steps = 0;
};
/// Reads the shape of `batch.0.tokens` in a --batch-from file. Throws Error naming the file.
BatchShape readBatchShape(const std::string &path);

class Feed {
public:
  virtual ~Feed() = default;
  /// One line for people: what is read and how much of it.
  virtual std::string describe() const = 0;
  /// Writes the global batch of step `step` (counted from 0), which starts at sample `firstSample`.
  /// Steps are asked for in order. Throws Error when there is no such batch.
  virtual void load(int64_t step, int64_t firstSample, GlobalBatch &batch) = 0;
};

/// Batches `batch.K.{tokens,types,labels,loss_mask,padding_mask,is_random}` of a safetensors file.
std::unique_ptr<Feed> createSafetensorsFeed(const std::string &path);

/// Made-up samples, a function of (seed, sample number): two segments of words in which each token
/// depends on the one before, so that a model can learn something. 15 % of the positions are
/// predicted.
struct SyntheticOptions {
  int64_t samples = 1, length = 1, vocabulary = 8;
  uint64_t seed = 0;
  double maskProb = 0.15;
  bool binaryHead = true;
};
std::unique_ptr<Feed> createSyntheticFeed(const SyntheticOptions &options);

/// Which ids a program can look up; the rest of a batch's contract follows from its shape.
struct BatchLimits {
  int64_t samples = 0, length = 0;
  int64_t vocabulary = 0; ///< tokens and labels are below
  int64_t types = 0;      ///< types are below
};
/// Throws Error naming the sample (counted over the run) and position of the first bad number.
void checkBatch(const GlobalBatch &batch, const BatchLimits &limits);

} // namespace seqpar::rt
