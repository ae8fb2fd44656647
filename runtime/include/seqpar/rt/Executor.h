//===- Executor.h - runs a program on one rank ------------------*- C++ -*-===//
//
// Interprets the instruction lists of one rank: resolves operands to addresses, runs loops, and
// hands compute to the Device and exchange to the Communicator. A step is a sequence of turns, each
// the forward or the backward part of a micro-batch, in the order of the stage. Everything is
// allocated in the constructor; running allocates nothing.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "seqpar/rt/Communicator.h"
#include "seqpar/rt/Device.h"
#include "seqpar/rt/Feed.h"
#include "seqpar/rt/Profiler.h"
#include "seqpar/rt/ProgramFile.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace seqpar::rt {

/// What the executor writes into the scalar inputs of a step.
struct StepInputs {
  int64_t step = 0;    ///< counted from 0
  int64_t skipped = 0; ///< steps before this one that have changed no parameter
  uint32_t seed = 0;
  float learningRate = 0, clipNorm = 0, weightDecay = 0;
  double lossScale = 1; ///< of a program that has one
  bool training = true; ///< off: nothing is dropped
};

inline constexpr double kBeta1 = 0.9, kBeta2 = 0.999; ///< AdamW's, in the bias corrections

/// Which of a parameter's tensors.
enum class ParameterPart { Value, Gradient, FirstMoment, SecondMoment };

class Executor {
public:
  /// All arguments must outlive the executor. Allocates the five segments, zeroed. Collective over
  /// the stage: ranks that are threads of one process may share the memory of the parameters (see
  /// ExecutorParameters.cpp), so their executors are destroyed when all have stopped.
  Executor(const ProgramFile &file, Device &device, Communicator &communicator,
           Profiler *profiler = nullptr);
  ~Executor();
  Executor(const Executor &) = delete;
  Executor &operator=(const Executor &) = delete;

  const program::Stage &stage() const { return theStage; }

  /// Sets every parameter by its initialiser, a function of (seed, name, element index).
  /// Collective over the stage: its ranks share the work. Where ranks share the parameters each
  /// writes a part of them, and the others see it after the next barrier. There is none in here:
  /// whether ranks share is another answer in each stage.
  void initializeParameters(uint32_t seed);

  static bool hasParameterPart(const program::Stage &stage, int index, ParameterPart part);
  /// Copies a parameter's tensor from or to host memory of its size. What is spread over several
  /// ranks cannot be read so, and each rank writes its own piece. Where ranks share the parameters
  /// the first writes, and the others see it after the next barrier.
  void readParameter(int index, ParameterPart part, std::span<float> to) const;
  void writeParameter(int index, ParameterPart part, std::span<const float> from);
  /// The whole tensor, wherever its pieces lie, to `to` on the stage's first rank (dp 0, sp 0); the
  /// others give an empty span. Collective: all ranks of the stage call it, in the same order.
  void gatherParameter(int index, ParameterPart part, std::span<float> to);

  /// One step over a global batch, which must have passed checkBatch: all micro-batches of this
  /// rank's replica, then the update.
  void step(const StepInputs &inputs, const GlobalBatch &batch);
  /// Losses of a global batch: the forward parts only, without an update; the metrics MlmLoss and
  /// SopLoss are valid after it.
  void evaluate(const StepInputs &inputs, const GlobalBatch &batch);

  /// A number of the last step; 0 when the stage does not have it.
  double metric(program::MetricKind kind) const;

private:
  struct Scope;
  struct Pending {
    int tag;
    int64_t microBatch;
    Communicator::Request request;
    const char *name = nullptr; ///< of the instruction that has started it, for the profiler
    uint64_t begin = 0;
  };

  void findLossReductions();
  void writeStepInputs(const GlobalBatch &batch);
  void writeMicroBatch(const GlobalBatch &batch, const Scope &scope);
  int64_t findMaskedRows(const GlobalBatch &batch, int64_t first);
  size_t fillInput(program::InputKind kind, const GlobalBatch &batch, int64_t first);
  void writeScalar(program::InputKind kind, const void *value);

  void beginStep(const StepInputs &inputs, const GlobalBatch &batch);
  void turn(int64_t microBatch, bool backward, const GlobalBatch &batch);
  void runList(const flatbuffers::Vector<flatbuffers::Offset<program::Instruction>> &list,
               unsigned begin, unsigned end, const Scope &scope);
  void runList(const flatbuffers::Vector<flatbuffers::Offset<program::Instruction>> &list,
               const Scope &scope) {
    runList(list, 0, list.size(), scope);
  }
  void run(const program::Instruction &instruction, const Scope &scope);

  /// Instructions of a part of a step, or of the update, that do the same whenever it runs: what a
  /// device that records runs as one (ExecutorRecording.cpp).
  struct StaticSpan {
    const program::Instruction *first;
    unsigned begin, end;
    bool reducesGradients = false; ///< which it does in the last micro-batch of a step only
    std::set<int> awaited{};       ///< tags of exchanges that it waits for
    struct Recorded {
      /// A recording, or one of these.
      static constexpr Device::Recording kNew = -2, kRunOnce = -1;
      Device::Recording recording = kNew;
      RecordedExchanges exchanges{};
    };
    /// By chunk of masked rows (outside of their loop one), slot, whether the micro-batch is the
    /// first, and whether it is the last; of the update one.
    std::vector<Recorded> variants{};
  };
  /// What a span's exchanges come to, as the program lists them.
  struct ExchangeState {
    std::set<int> started;          ///< between stages, and not waited for
    std::set<int> awaited, unknown; ///< unknown: those that are not started before
    bool reducesGradients = false;
  };
  void findStaticSpans();
  void addStaticSpans(const flatbuffers::Vector<flatbuffers::Offset<program::Instruction>> &list,
                      unsigned begin, unsigned end, size_t variants);
  /// Those in the loops over masked rows of a list: `variants` for each chunk that there can be.
  void addLoopSpans(const flatbuffers::Vector<flatbuffers::Offset<program::Instruction>> &list,
                    size_t variants);
  bool isStatic(const program::Instruction &instruction) const;
  bool isBetweenStages(const program::Instruction &instruction) const;
  void follow(const program::Instruction &instruction, bool lastIteration,
              ExchangeState &state) const;
  size_t variantOf(const StaticSpan &span, const Scope &scope) const;
  /// As runList, with the static spans recorded where the device records.
  void runTop(const flatbuffers::Vector<flatbuffers::Offset<program::Instruction>> &list,
              unsigned begin, unsigned end, const Scope &scope);
  void runSpan(const flatbuffers::Vector<flatbuffers::Offset<program::Instruction>> &list,
               StaticSpan &span, const Scope &scope);
  void record(const flatbuffers::Vector<flatbuffers::Offset<program::Instruction>> &list,
              const StaticSpan &span, StaticSpan::Recorded &recorded, const Scope &scope);
  /// Before an exchange: waits for the device unless the communicator follows it.
  void settle();
  void dispatch(const program::Instruction &instruction, const Scope &scope);
  void gemm(const program::Gemm &op, const Scope &scope);
  void rowKernel(const program::RowKernel &op, const Scope &scope);
  void attentionForward(const program::AttentionForward &op, const Scope &scope);
  void attentionBackward(const program::AttentionBackward &op, const Scope &scope);
  AttentionDropout dropout(float rate, int site, int64_t keyOffset, const Scope &scope) const;
  void ringShift(const program::RingShiftStart &op, const Scope &scope);
  template <typename Op> void exchangeWithStage(const Op &op, const Scope &scope);
  void reduce(const program::AllReduce &op, const Scope &scope);
  void reduce(const program::ReduceScatter &op, const Scope &scope);
  /// For exchanges, of one tag or all, that were started in micro-batches up to that one.
  void wait(int64_t lastMicroBatch, std::optional<int> tag = std::nullopt);
  void ringLoop(const program::RingLoop &op, const Scope &scope);
  void rowsLoop(const program::RowsLoop &op, const Scope &scope);

  struct Release {
    Device *device; ///< null: the memory is another rank's
    void operator()(uint8_t *memory) const {
      if (device)
        device->release(memory);
    }
  };
  using Memory = std::unique_ptr<uint8_t, Release>;
  /// Bytes of a parameter's tensor, [begin, begin + bytes), that rank `rank` of the group over the
  /// shard axes holds at `offset` of a segment.
  struct Piece {
    int rank;
    program::Segment segment;
    uint64_t offset, begin, bytes;
  };

  size_t shardIndex() const;
  bool sharesParameters() const;
  Memory shareParameters(uint64_t bytes);
  bool isSpread(ParameterPart part) const;
  static int bufferOf(const program::Parameter &parameter, ParameterPart part);
  std::vector<Piece> piecesOf(int index, ParameterPart part, size_t elements) const;
  uint8_t *addressOf(const Piece &piece) const;

  uint8_t *address(int buffer, size_t slot = 0) const;
  template <typename T> T *at(const program::Operand *operand, const Scope &scope) const;
  FloatType floatType(const program::Operand *operand) const;

  const program::Program &program;
  const program::Stage &theStage;
  Device &device;
  Communicator &communicator;
  Profiler *profiler;
  Coordinates coordinates;

  std::array<Memory, 5> segments;                           // indexed by program::Segment
  std::vector<int32_t> staging;                             // of the largest input
  std::vector<int32_t> stagedRows, stagedLabels;            // MaskedRows, MaskedLabels
  std::vector<void *> kernelOperands;                       // of the kernel being launched
  std::vector<Pending> pending;                             // exchanges not yet waited for
  std::vector<const program::Instruction *> lossReductions; // of `update`, for evaluate()
  StepInputs stepInputs;
  bool updates = false;            // a step, not an evaluation
  std::vector<int64_t> maskedRows; // on this rank, by slot
  int sampleNumbers = -1;          // buffers of inputs, -1: none
  int seedInput = -1, stepInput = -1;
  std::vector<StaticSpan> spans;
  std::set<int> stageTags, openTags; // of exchanges between stages; of those that are not recorded
};

} // namespace seqpar::rt
