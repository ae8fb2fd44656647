#include "seqpar/rt/Error.h"
#include "seqpar/rt/Feed.h"
#include "seqpar/rt/Safetensors.h"

#include <algorithm>
#include <cstring>

namespace seqpar::rt {

namespace {

std::string nameOf(int64_t step, const char *array) {
  return fmt::format("batch.{}.{}", step, array);
}

BatchShape shapeOf(const SafetensorsFile &file) {
  std::string name = nameOf(0, "tokens");
  const Tensor *tokens = file.find(name);
  if (!tokens)
    fail("{}: tensor {} is missing", file.path(), name);
  if (tokens->shape.size() != 2 || tokens->shape[0] < 1 || tokens->shape[1] < 1)
    fail("{}: tensor {} has shape {}, expected [batch, seq]", file.path(), name,
         shapeText(tokens->shape));
  BatchShape shape{tokens->shape[0], tokens->shape[1], 0};
  while (file.find(nameOf(shape.steps, "tokens")))
    ++shape.steps;
  return shape;
}

class SafetensorsFeed final : public Feed {
public:
  explicit SafetensorsFeed(const std::string &path) : file(path), shape(shapeOf(file)) {}

  std::string describe() const override {
    return fmt::format("{}: {} batches of {} samples of {} positions", file.path(), shape.steps,
                       shape.samples, shape.length);
  }

  void load(int64_t step, int64_t firstSample, GlobalBatch &batch) override {
    if (step >= shape.steps)
      fail("{}: it has {} batches, step {} needs one more", file.path(), shape.steps, step + 1);
    batch.resize(shape.samples, shape.length);
    batch.firstSample = firstSample;
    const int64_t positions[] = {shape.samples, shape.length};
    read(step, "tokens", positions, batch.tokens);
    read(step, "types", positions, batch.types);
    read(step, "labels", positions, batch.labels);
    read(step, "loss_mask", positions, batch.lossMask);
    read(step, "padding_mask", positions, batch.paddingMask);
    read(step, "is_random", {positions, 1}, batch.isRandom);
    batch.countLossTokens();
  }

private:
  void read(int64_t step, const char *array, std::span<const int64_t> extents,
            std::vector<int32_t> &to) {
    const Tensor &tensor = file.get(nameOf(step, array), "I32", extents);
    std::memcpy(to.data(), tensor.data, tensor.bytes);
  }

  SafetensorsFile file;
  BatchShape shape;
};

} // namespace

BatchShape readBatchShape(const std::string &path) { return shapeOf(SafetensorsFile(path)); }

std::unique_ptr<Feed> createSafetensorsFeed(const std::string &path) {
  return std::make_unique<SafetensorsFeed>(path);
}

} // namespace seqpar::rt
