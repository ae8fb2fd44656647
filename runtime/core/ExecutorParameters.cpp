//===- ExecutorParameters.cpp - parameters and what belongs to them -*- C++ -*-===//
//
// Where the ranks of a stage share the update (Stage.shards), the total of a gradient and the
// moments of a parameter lie in pieces on several ranks. Then, on devices with host memory, ranks
// that are threads of one process also share one copy of the parameters: in a step they read all of
// it until the all-reduce of the gradient norm, then each writes its own shard, and they read again
// after the all-gather, which has nothing to move.
//
//===----------------------------------------------------------------------===//

#include "Initialize.h"
#include "RankMessages.h"
#include "seqpar/rt/Executor.h"

#include <algorithm>

namespace seqpar::rt {

using namespace program;

namespace {

bool hasShards(const Stage &stage) { return stage.shards() && stage.shards()->size(); }

} // namespace

size_t Executor::shardIndex() const {
  return static_cast<size_t>(
      communicator.grid().groupIndex(communicator.rank(), theStage.shard_axes()));
}

bool Executor::sharesParameters() const {
  return hasShards(theStage) && communicator.grid().groupSize(theStage.shard_axes()) > 1 &&
         communicator.sharesMemory(theStage.shard_axes()) && device.hasHostMemory();
}

// The first rank of the group allocates, and tells the others where.
Executor::Memory Executor::shareParameters(uint64_t bytes) {
  const int axes = theStage.shard_axes();
  Memory memory;
  if (shardIndex() == 0) {
    memory = {static_cast<uint8_t *>(device.allocate(bytes)), Release{&device}};
    device.zero(memory.get(), bytes);
    device.synchronize();
  }
  int64_t mine = static_cast<int64_t>(reinterpret_cast<intptr_t>(memory.get()));
  std::vector<int64_t> all(static_cast<size_t>(communicator.grid().groupSize(axes)));
  communicator.allGather(&mine, all.data(), 1, 1, ElementType::I64, axes);
  if (shardIndex() != 0)
    memory = {reinterpret_cast<uint8_t *>(static_cast<intptr_t>(all[0])), Release{nullptr}};
  return memory;
}

void Executor::initializeParameters(uint32_t seed) {
  constexpr int kReplicas = kAxisDp | kAxisSp;
  const bool shared = sharesParameters();
  // Of a shared copy only those that share it write.
  const int axes = shared ? theStage.shard_axes() : kReplicas;
  ShareOfWork share{communicator.grid().groupIndex(communicator.rank(), axes),
                    communicator.grid().groupSize(axes)};
  std::vector<float> values(1 << 16);
  for (const Parameter *parameter : *theStage.parameters()) {
    auto *to = reinterpret_cast<float *>(address(parameter->value()));
    int64_t elements = elementsOf(*parameter);
    bool inShares = shared || parameter->initializer() == Initializer::Normal;
    // Zero plus a value is that value: the sum over the ranks joins their shares.
    if (!shared)
      device.zero(to, static_cast<size_t>(elements) * sizeof(float));
    auto [begin, end] = inShares ? share.of(elements) : std::pair<int64_t, int64_t>(0, elements);
    for (int64_t at = begin; at < end; at += static_cast<int64_t>(values.size())) {
      std::span<float> block(values.data(), static_cast<size_t>(std::min(
                                                end - at, static_cast<int64_t>(values.size()))));
      initialValues(*parameter, seed, at, block);
      device.copyToDevice(to + at, block.data(), block.size_bytes());
    }
    device.synchronize();
    if (inShares && !shared && share.count > 1)
      communicator.allReduce(to, static_cast<size_t>(elements), ElementType::F32, kReplicas);
  }
}

//===----------------------------------------------------------------------===//
// Pieces
//===----------------------------------------------------------------------===//

int Executor::bufferOf(const Parameter &parameter, ParameterPart part) {
  switch (part) {
  case ParameterPart::Value:
    return parameter.value();
  case ParameterPart::Gradient:
    return parameter.gradient();
  case ParameterPart::FirstMoment:
    return parameter.first_moment();
  case ParameterPart::SecondMoment:
    return parameter.second_moment();
  }
  return -1;
}

// A total or a moment of which each rank has its own shard.
bool Executor::isSpread(ParameterPart part) const {
  return part != ParameterPart::Value && hasShards(theStage);
}

bool Executor::hasParameterPart(const Stage &stage, int index, ParameterPart part) {
  const Parameter &parameter = *stage.parameters()->Get(static_cast<unsigned>(index));
  return bufferOf(parameter, part) >= 0 || hasShards(stage);
}

// The pieces of a tensor by ascending rank; one whole piece of rank 0 of the group, the same on all
// ranks, when the tensor is not spread.
std::vector<Executor::Piece> Executor::piecesOf(int index, ParameterPart part,
                                                size_t elements) const {
  const Parameter &parameter = *theStage.parameters()->Get(static_cast<unsigned>(index));
  const uint64_t bytes = elements * sizeof(float);
  if (!hasParameterPart(theStage, index, part) ||
      bytes > theStage.buffers()->Get(static_cast<unsigned>(parameter.value()))->bytes())
    fail("parameter {} has no such tensor of {} elements", parameter.name()->string_view(),
         elements);
  if (!isSpread(part)) {
    const Buffer &buffer =
        *theStage.buffers()->Get(static_cast<unsigned>(bufferOf(parameter, part)));
    return {{0, buffer.segment(), buffer.offset(), 0, bytes}};
  }
  const uint64_t begin =
      theStage.buffers()->Get(static_cast<unsigned>(parameter.value()))->offset();
  std::vector<Piece> pieces;
  for (const Shard *shard : *theStage.shards())
    for (int rank = 0; rank < communicator.grid().groupSize(theStage.shard_axes()); ++rank) {
      uint64_t own = shard->offset() + static_cast<uint64_t>(rank) * shard->bytes();
      uint64_t from = std::max(begin, own), to = std::min(begin + bytes, own + shard->bytes());
      if (from >= to)
        continue;
      uint64_t moments =
          part == ParameterPart::FirstMoment ? shard->first_moment() : shard->second_moment();
      if (part == ParameterPart::Gradient)
        pieces.push_back({rank, Segment::Gradient, from, from - begin, to - from});
      else
        pieces.push_back(
            {rank, Segment::OptimizerState, moments + from - own, from - begin, to - from});
    }
  return pieces;
}

uint8_t *Executor::addressOf(const Piece &piece) const {
  return segments[static_cast<size_t>(piece.segment)].get() + piece.offset;
}

void Executor::readParameter(int index, ParameterPart part, std::span<float> to) const {
  std::vector<Piece> pieces = piecesOf(index, part, to.size());
  if (isSpread(part) && (pieces.size() > 1 || pieces[0].rank != static_cast<int>(shardIndex())))
    fail("parameter {}: this tensor lies on several ranks: expected it to be gathered",
         theStage.parameters()->Get(static_cast<unsigned>(index))->name()->string_view());
  device.copyToHost(to.data(), addressOf(pieces[0]), to.size_bytes());
  device.synchronize();
}

void Executor::writeParameter(int index, ParameterPart part, std::span<const float> from) {
  // Of memory that ranks share the first writes.
  bool one = part == ParameterPart::Value && sharesParameters();
  for (const Piece &piece : piecesOf(index, part, from.size())) {
    if ((one || isSpread(part)) && piece.rank != static_cast<int>(shardIndex()))
      continue;
    device.copyToDevice(addressOf(piece), from.data() + piece.begin / sizeof(float), piece.bytes);
  }
  device.synchronize();
}

void Executor::gatherParameter(int index, ParameterPart part, std::span<float> to) {
  const Grid &grid = communicator.grid();
  const int axes = theStage.shard_axes(), rank = communicator.rank();
  const int first = grid.rankOf({0, coordinates.pp, 0});
  if (!isSpread(part))
    return rank == first ? readParameter(index, part, to) : void();
  // Of several groups that hold the same, the first rank's takes part.
  if (grid.groupMember(rank, axes, 0) != first)
    return;
  const Parameter &parameter = *theStage.parameters()->Get(static_cast<unsigned>(index));
  const size_t elements = static_cast<size_t>(elementsOf(parameter));
  if (rank == first && to.size() != elements)
    fail("parameter {} has {} elements, not {}", parameter.name()->string_view(), elements,
         to.size());
  std::vector<float> staged;
  for (const Piece &piece : piecesOf(index, part, elements)) {
    const int holder = grid.groupMember(first, axes, piece.rank);
    if (rank != first && rank != holder)
      continue;
    if (rank != first)
      staged.resize(piece.bytes / sizeof(float));
    float *place = rank == first ? to.data() + piece.begin / sizeof(float) : staged.data();
    if (rank == holder) {
      device.copyToHost(place, addressOf(piece), piece.bytes);
      device.synchronize();
    }
    if (holder != first)
      communicator.wait(rank == first ? communicator.receive(place, piece.bytes, holder, kPieceTag)
                                      : communicator.send(place, piece.bytes, first, kPieceTag,
                                                          Traffic::PointToPoint));
  }
}

} // namespace seqpar::rt
