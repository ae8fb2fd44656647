#include "seqpar/rt/Safetensors.h"
#include "seqpar/rt/AtomicFile.h"
#include "seqpar/rt/Error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

namespace seqpar::rt::test {

namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class Safetensors : public testing::Test {
protected:
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }

  std::string path(const std::string &name = "x.safetensors") const { return folder + "/" + name; }
  void writeBytes(const std::string &bytes) const {
    std::ofstream(path(), std::ios::binary) << bytes;
  }
  /// A file of this header and `bytes` bytes of data.
  void writeHeader(const std::string &header, size_t bytes) const {
    uint64_t size = header.size();
    std::string text(reinterpret_cast<const char *>(&size), 8);
    writeBytes(text + header + std::string(bytes, '\0'));
  }
  std::string errorOf() const {
    try {
      SafetensorsFile file(path());
    } catch (const Error &error) {
      return error.what();
    }
    return "";
  }
  std::string errorOfHeader(const std::string &header, size_t bytes = 16) const {
    writeHeader(header, bytes);
    return errorOf();
  }

  std::string folder = testing::TempDir() + "seqpar-safetensors-test";
};

TensorToWrite floats(const std::string &name, std::vector<int64_t> shape,
                     std::vector<float> values) {
  return {name, "F32", std::move(shape), values.size() * 4, [values](std::span<uint8_t> to) {
            if (!to.empty())
              std::memcpy(to.data(), values.data(), to.size());
          }};
}

TEST_F(Safetensors, WritesWhatItReads) {
  std::vector<TensorToWrite> tensors = {floats("a.weight", {2, 3}, {1, 2, 3, 4, 5, 6}),
                                        floats("scalar", {}, {7}), floats("empty", {0, 4}, {})};
  writeSafetensors(path(), tensors, {{"format", "pt"}});
  SafetensorsFile file(path());
  EXPECT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  const int64_t shape[] = {2, 3};
  const Tensor &tensor = file.get("a.weight", "F32", shape);
  float last;
  std::memcpy(&last, tensor.data + 20, 4);
  EXPECT_EQ(last, 6);
  EXPECT_EQ(file.get("scalar", "F32", {}).elements(), 1);
  EXPECT_EQ(file.find("b"), nullptr);
}

TEST_F(Safetensors, TheHeaderIsPaddedToEightBytes) {
  std::vector<TensorToWrite> tensors = {floats("t", {1}, {1})};
  writeSafetensors(path(), tensors);
  std::ifstream file(path(), std::ios::binary);
  uint64_t size = 0;
  file.read(reinterpret_cast<char *>(&size), 8);
  EXPECT_EQ(size % 8, 0u);
  EXPECT_EQ(fs::file_size(path()), 8 + size + 4);
}

TEST_F(Safetensors, AsksForTensorsByNameTypeAndShape) {
  std::vector<TensorToWrite> tensors = {floats("t", {2, 2}, {1, 2, 3, 4})};
  writeSafetensors(path(), tensors);
  SafetensorsFile file(path());
  auto errorOfGet = [&](const char *name, const char *type, std::vector<int64_t> shape) {
    try {
      file.get(name, type, shape);
    } catch (const Error &error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(errorOfGet("t", "F32", {2, 2}), "");
  EXPECT_THAT(errorOfGet("u", "F32", {2, 2}), HasSubstr("tensor u is missing"));
  EXPECT_THAT(errorOfGet("t", "I32", {2, 2}), HasSubstr("of type F32, expected I32"));
  EXPECT_THAT(errorOfGet("t", "F32", {4}), HasSubstr("has shape [2, 2], expected [4]"));
}

TEST_F(Safetensors, DamagedFilesAreErrorsThatNameThem) {
  EXPECT_THAT(errorOf(), HasSubstr("cannot be read"));
  writeBytes("");
  EXPECT_THAT(errorOf(), HasSubstr("it has 0 bytes"));
  writeBytes(std::string("\xff\xff\xff\xff\xff\xff\xff\x7f rest", 13));
  EXPECT_THAT(errorOf(), HasSubstr("a header of"));
  auto entry = [](const char *type, const char *shape, const char *offsets) {
    return fmt::format(R"({{"t":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", type, shape,
                       offsets);
  };
  EXPECT_EQ(errorOfHeader(entry("F32", "[2,2]", "[0,16]")), "");
  EXPECT_THAT(errorOfHeader("[1, 2]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(errorOfHeader("{\"t\": "), HasSubstr("not a JSON object"));
  EXPECT_THAT(errorOfHeader(std::string(100000, '[')), HasSubstr("not a JSON object"));
  EXPECT_THAT(errorOfHeader("{\"t\":3}"),
              AllOf(HasSubstr("tensor t"), HasSubstr("expected dtype")));
  EXPECT_THAT(errorOfHeader(entry("F33", "[2,2]", "[0,16]")), HasSubstr("unknown dtype"));
  EXPECT_THAT(errorOfHeader(entry("F32", "[2,3]", "[0,16]")), HasSubstr("does not match"));
  EXPECT_THAT(errorOfHeader(entry("F32", "[-1,2]", "[0,16]")), HasSubstr("not a natural number"));
  EXPECT_THAT(errorOfHeader(entry("F32", "[2,2]", "[4,20]")), HasSubstr("outside of the file"));
  EXPECT_THAT(errorOfHeader(entry("F32", "[2,2]", "[16,0]")), HasSubstr("outside of the file"));
  EXPECT_THAT(errorOfHeader(entry("F32", "[281474976710656,281474976710656]", "[0,16]")),
              HasSubstr("too large"));
  EXPECT_THAT(errorOfHeader(R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]},)"
                            R"("b":{"dtype":"U8","shape":[8],"data_offsets":[8,16]}})"),
              HasSubstr("overlap at byte 8"));
}

TEST_F(Safetensors, ChangedBytesNeverCrash) {
  std::vector<TensorToWrite> tensors = {floats("a", {2, 3}, {1, 2, 3, 4, 5, 6}),
                                        floats("b", {1}, {7})};
  writeSafetensors(path(), tensors);
  std::ifstream file(path(), std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string changed = bytes;
    changed[random() % 120] = static_cast<char>(random());
    changed.resize(changed.size() - (i % 4 == 0 ? random() % changed.size() : 0));
    writeBytes(changed);
    refused += !errorOf().empty();
  }
  EXPECT_GT(refused, 75);
}

TEST_F(Safetensors, AFailedWriteLeavesTheOldFileAndNothingElse) {
  std::vector<TensorToWrite> good = {floats("t", {1}, {1})};
  writeSafetensors(path(), good);
  std::vector<TensorToWrite> bad = {floats("t", {1}, {2})};
  bad[0].fill = [](std::span<uint8_t>) { fail("the device is gone"); };
  EXPECT_THROW(writeSafetensors(path(), bad), Error);
  EXPECT_EQ(SafetensorsFile(path()).tensors().size(), 1u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
}

TEST_F(Safetensors, OutputsThatCannotBeWrittenAreUsageErrors) {
  EXPECT_NO_THROW(checkWritable("--log", path("new")));
  EXPECT_FALSE(fs::exists(path("new")));
  try {
    checkWritable("--trace", folder + "/missing/file");
    FAIL() << "expected an error";
  } catch (const UsageError &error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("--trace: "), HasSubstr("cannot be written")));
  }
  EXPECT_THROW(checkWritable("--trace", folder), UsageError);
}

TEST_F(Safetensors, DevicesAreWrittenToAsTheyAre) {
  AtomicFile file("/dev/null");
  file.write("text");
  file.commit();
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

} // namespace

} // namespace seqpar::rt::test
