//===- TrainerTest.h - training of the toy model in tests -------*- C++ -*-===//
#pragma once

#include "ToyModel.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/Safetensors.h"
#include "seqpar/rt/Trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace seqpar::rt::test {

/// Runs of the toy model with options and files of their own.
class Trainer : public testing::Test {
protected:
  void SetUp() override {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    options.data = "synthetic";
    options.steps = 4;
    options.lr = 0.05;
    options.warmup = 1;
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::string path(const std::string &name) const { return folder + "/" + name; }

  static ProgramFile program(const ProgramShape &shape) {
    return ProgramFile::fromBytes(toyProgram(shape), "toy.program");
  }
  /// Trains and returns the records of the steps.
  std::vector<StepRecord> run(const ProgramShape &shape) { return run(shape, toyKernels()); }
  std::vector<StepRecord> run(const ProgramShape &shape, const TestKernels &kernels) {
    std::vector<StepRecord> records;
    train(
        program(shape), options, [&](int, int) { return std::make_unique<TestDevice>(kernels); },
        [&](const StepRecord &record) { records.push_back(record); });
    return records;
  }
  std::string errorOf(const ProgramShape &shape, const TestKernels &kernels = toyKernels()) {
    try {
      run(shape, kernels);
    } catch (const Error &error) {
      return error.what();
    }
    return "";
  }
  std::vector<nlohmann::json> logLines(const std::string &file) const {
    std::vector<nlohmann::json> lines;
    std::ifstream stream(file);
    for (std::string line; std::getline(stream, line);)
      lines.push_back(nlohmann::json::parse(line));
    return lines;
  }
  static std::vector<float> tensor(const std::string &file, const std::string &name) {
    SafetensorsFile opened(file);
    const Tensor *found = opened.find(name);
    if (!found)
      fail("{} has no {}", file, name);
    std::vector<float> values(found->bytes / 4);
    std::memcpy(values.data(), found->data, found->bytes);
    return values;
  }
  std::string contents(const std::string &name) const {
    std::ifstream stream(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  std::string folder = testing::TempDir() + "seqpar-trainer-test";
  RunOptions options;
};

inline const ProgramShape kShape = toyShape(3, 10, 1, 1, 4);

} // namespace seqpar::rt::test
