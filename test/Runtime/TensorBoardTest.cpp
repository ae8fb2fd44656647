//===- TensorBoardTest.cpp - event files, read back -------------*- C++ -*-===//

#include "TensorBoard.h"
#include "ToyModel.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/Trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

namespace seqpar::rt::test {

namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// By long division, a bit at a time.
uint32_t slowCrc32c(std::string_view data) {
  uint32_t crc = 0xffffffff;
  for (char c : data) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit)
      crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
  }
  return ~crc;
}

uint32_t unmasked(uint32_t crc) {
  crc -= 0xa282ead8;
  return crc >> 17 | crc << 15;
}

template <typename T> T take(std::string_view &from) {
  T value;
  EXPECT_GE(from.size(), sizeof(T));
  std::memcpy(&value, from.data(), sizeof(T));
  from.remove_prefix(sizeof(T));
  return value;
}

/// The events of a file, whose checksums must be right.
std::vector<std::string> readRecords(std::string_view bytes) {
  std::vector<std::string> events;
  while (!bytes.empty()) {
    std::string_view length = bytes.substr(0, 8);
    auto size = take<uint64_t>(bytes);
    EXPECT_EQ(unmasked(take<uint32_t>(bytes)), slowCrc32c(length));
    events.emplace_back(bytes.substr(0, size));
    bytes.remove_prefix(size);
    EXPECT_EQ(unmasked(take<uint32_t>(bytes)), slowCrc32c(events.back()));
  }
  return events;
}

uint64_t takeVarint(std::string_view &from) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    auto byte = take<uint8_t>(from);
    value |= uint64_t(byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return value;
  }
}

/// Fields of a protocol buffer as bytes, by number.
std::multimap<uint64_t, std::string> fieldsOf(std::string_view message) {
  std::multimap<uint64_t, std::string> fields;
  while (!message.empty()) {
    uint64_t key = takeVarint(message), kind = key & 7;
    std::string value;
    if (kind == 0) {
      uint64_t number = takeVarint(message);
      value.assign(reinterpret_cast<const char *>(&number), sizeof(number));
    } else {
      uint64_t size = kind == 1 ? 8 : kind == 5 ? 4 : takeVarint(message);
      value = message.substr(0, size);
      message.remove_prefix(size);
    }
    fields.emplace(key >> 3, value);
  }
  return fields;
}

template <typename T> T numberIn(const std::string &bytes) {
  std::string_view view = bytes;
  return take<T>(view);
}

struct Event {
  double time = 0;
  int64_t step = 0;
  std::string version;
  std::map<std::string, float> scalars;
};

Event parseEvent(const std::string &bytes) {
  Event event;
  for (auto &[number, value] : fieldsOf(bytes)) {
    if (number == 1)
      event.time = numberIn<double>(value);
    if (number == 2)
      event.step = numberIn<int64_t>(value);
    if (number == 3)
      event.version = value;
    if (number != 5)
      continue;
    for (auto &[one, summary] : fieldsOf(value)) {
      auto fields = fieldsOf(summary);
      EXPECT_EQ(one, 1u);
      event.scalars[fields.find(1)->second] = numberIn<float>(fields.find(2)->second);
    }
  }
  return event;
}

std::vector<Event> readEvents(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  std::vector<Event> events;
  for (const std::string &record : readRecords(bytes.str()))
    events.push_back(parseEvent(record));
  return events;
}

class TensorBoardFile : public testing::Test {
protected:
  void SetUp() override { fs::remove_all(folder); }
  void TearDown() override { fs::remove_all(folder); }
  const std::string folder = testing::TempDir() + "seqpar-tensorboard-test/runs";
};

TEST_F(TensorBoardFile, ChecksumIsCrc32c) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu); // RFC 3720, B.4
}

TEST_F(TensorBoardFile, HoldsItsScalars) {
  TensorBoard first(folder), second(folder);
  EXPECT_NE(first.path(), second.path());
  EXPECT_THAT(first.path(), HasSubstr("/events.out.tfevents."));
  first.write(1, std::vector<Scalar>{{"loss", 2.5f}, {"lr", 1e-4f}});
  first.write(int64_t(1) << 40, std::vector<Scalar>{{"loss", -0.0f}});
  // Before the file is closed.
  std::vector<Event> events = readEvents(first.path());
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].version, "brain.Event:2");
  EXPECT_GT(events[0].time, 1.6e9);
  EXPECT_EQ(events[1].step, 1);
  EXPECT_EQ(events[1].scalars, (std::map<std::string, float>{{"loss", 2.5f}, {"lr", 1e-4f}}));
  EXPECT_GE(events[2].time, events[1].time);
  EXPECT_EQ(events[2].step, int64_t(1) << 40);
  EXPECT_EQ(readEvents(second.path()).size(), 1u);
}

TEST_F(TensorBoardFile, AFolderThatCannotBeWrittenIsAUsageError) {
  fs::create_directories(fs::path(folder).parent_path());
  std::ofstream(folder) << "a file";
  try {
    TensorBoard board(folder);
    ADD_FAILURE() << "no error";
  } catch (const UsageError &error) {
    EXPECT_THAT(error.what(), HasSubstr("--tensorboard: " + folder + ": cannot be written"));
  }
}

TEST_F(TensorBoardFile, ARunWritesWhatItLogs) {
  RunOptions options;
  options.data = "synthetic";
  options.steps = 3;
  options.tensorboard = folder;
  options.evalInterval = 3;
  options.evalIters = 1;
  ProgramFile file = ProgramFile::fromBytes(toyProgram(toyShape(2, 8)), "toy.program");
  std::vector<StepRecord> records;
  train(
      file, options, [](int, int) { return std::make_unique<TestDevice>(toyKernels()); },
      [&](const StepRecord &record) { records.push_back(record); });

  std::vector<std::string> names;
  for (const auto &entry : fs::directory_iterator(folder))
    names.push_back(entry.path());
  ASSERT_EQ(names.size(), 1u);
  std::vector<Event> events = readEvents(names[0]);
  ASSERT_EQ(events.size(), 4u);
  for (size_t i = 0; i < 3; ++i) {
    std::map<std::string, float> &scalars = events[i + 1].scalars;
    EXPECT_EQ(events[i + 1].step, records[i].step);
    EXPECT_EQ(scalars.at("loss"), static_cast<float>(records[i].loss));
    EXPECT_EQ(scalars.at("mlm_loss"), static_cast<float>(records[i].mlmLoss));
    EXPECT_EQ(scalars.at("sop_loss"), static_cast<float>(records[i].sopLoss));
    EXPECT_EQ(scalars.at("lr"), static_cast<float>(records[i].lr));
    EXPECT_EQ(scalars.at("grad_norm"), static_cast<float>(records[i].gradNorm));
    EXPECT_EQ(scalars.at("loss_scale"), 1.0f);
    EXPECT_GT(scalars.at("tokens_per_second"), 0.0f);
    EXPECT_EQ(scalars.count("valid_loss"), i == 2);
  }
}

} // namespace

} // namespace seqpar::rt::test
