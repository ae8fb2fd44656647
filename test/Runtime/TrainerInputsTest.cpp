//===- TrainerInputsTest.cpp - what a run reads, and dry runs -------------===//

#include "TrainerTest.h"

#include <utility>

namespace seqpar::rt::test {

namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

/// Batches of 4 samples of 10 positions, batch k all of token tokens[k].
void writeBatches(const std::string &path, const std::vector<int32_t> &tokens) {
  std::vector<TensorToWrite> tensors;
  for (size_t k = 0; k < tokens.size(); ++k)
    for (std::string name :
         {"tokens", "types", "labels", "loss_mask", "padding_mask", "is_random"}) {
      std::vector<int64_t> shape = {4, 10};
      if (name == "is_random")
        shape.pop_back();
      size_t bytes = shape.size() == 2 ? 160 : 16;
      int32_t value = name == "tokens" ? tokens[k] : name != "is_random" && name != "types";
      tensors.push_back(
          {fmt::format("batch.{}.{}", k, name), "I32", shape, bytes, [=](std::span<uint8_t> to) {
             for (size_t i = 0; i < to.size(); i += 4)
               std::memcpy(to.data() + i, &value, 4);
           }});
    }
  writeSafetensors(path, tensors);
}

TEST_F(Trainer, RunsOutOfBatchesWithAnError) {
  writeBatches(path("b.safetensors"), {1});
  options.data.clear();
  options.batchFrom = path("b.safetensors");
  options.steps = 1;
  EXPECT_EQ(errorOf(kShape), "");
  options.steps = 2;
  EXPECT_THAT(errorOf(kShape), HasSubstr("it has 1 batches, step 2 needs one more"));
  options.steps = 1;
  EXPECT_THAT(errorOf(toyShape(2, 12)), HasSubstr("the program takes 2 of 12"));
}

TEST_F(Trainer, ADryRunOnlyReports) {
  options.dryRun = true;
  options.memoryReport = path("memory.json");
  options.saveParameters = path("p.safetensors");
  EXPECT_TRUE(run(kShape).empty());
  EXPECT_TRUE(fs::exists(path("memory.json")));
  EXPECT_FALSE(fs::exists(path("p.safetensors")));
}

TEST_F(Trainer, ADryRunChecksWhatARunReads) {
  options.steps = 2;
  options.save = path("checkpoints");
  run(kShape);
  options.save.clear();
  options.dryRun = true;
  options.load = path("checkpoints");
  EXPECT_EQ(errorOf(kShape), "");
  options.load = path("none");
  EXPECT_THAT(errorOf(kShape), HasSubstr("none: cannot be read"));
  options.load.clear();
  options.initFrom = path("checkpoints/step-000000002.safetensors");
  EXPECT_THAT(errorOf(kShape), HasSubstr("is no parameter of the model"));
  options.initFrom.clear();

  options.data.clear();
  options.batchFrom = path("b.safetensors");
  writeBatches(options.batchFrom, {1});
  EXPECT_THAT(errorOf(kShape), HasSubstr("it has 1 batches, step 2 needs one more"));
  writeBatches(options.batchFrom, {1, 16});
  EXPECT_THAT(errorOf(kShape), HasSubstr("sample 4, position 0: token 16 is not in 0 to 15"));
  writeBatches(options.batchFrom, {1, 15});
  EXPECT_EQ(errorOf(kShape), "");
  EXPECT_THAT(errorOf(toyShape(2, 12)), HasSubstr("the program takes 2 of 12"));
  EXPECT_THAT(errorOf(kShape, {}), HasSubstr("embed"));
}

TEST_F(Trainer, ADryRunChecksWhatARunWritesAndWritesNothing) {
  options.dryRun = true;
  options.log = path("log.jsonl");
  options.trace = path("trace.json");
  options.tensorboard = path("events/of/this");
  options.save = path("checkpoints/of/this");
  EXPECT_EQ(errorOf(kShape), "");
  EXPECT_TRUE(fs::is_empty(folder));
  for (auto [option, value] : {std::pair("--log", &options.log), {"--trace", &options.trace}}) {
    std::string before = std::exchange(*value, path("missing/file"));
    EXPECT_THAT(errorOf(kShape), AllOf(HasSubstr(option), HasSubstr("missing/file")));
    *value = before;
  }
  std::ofstream(path("file")) << "text";
  for (auto [option, value] : {std::pair("--save", &options.save),
                               {"--tensorboard", &options.tensorboard},
                               {"--cache-dir", &options.cacheDir}}) {
    std::string before = std::exchange(*value, path("file/below"));
    EXPECT_THAT(errorOf(kShape), AllOf(HasSubstr(option), HasSubstr("file is no folder")));
    *value = before;
  }
}

// Of the bundled corpus, whose vocabulary the toy model does not have.
TEST_F(Trainer, ADryRunMakesNoSampleMaps) {
  options.data.clear();
  options.cacheDir = path("maps");
  options.dryRun = true;
  EXPECT_THAT(errorOf(kShape), HasSubstr("the model's vocabulary only 16"));
  EXPECT_FALSE(fs::exists(path("maps")));
  options.dryRun = false;
  EXPECT_THAT(errorOf(kShape), HasSubstr("the model's vocabulary only 16"));
  EXPECT_FALSE(fs::is_empty(path("maps")));
}

} // namespace

} // namespace seqpar::rt::test
