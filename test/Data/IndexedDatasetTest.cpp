#include "seqpar/rt/data/IndexedDataset.h"

#include "GoldenFiles.h"

#include <csignal>
#include <gmock/gmock.h>
#include <sys/resource.h>

using namespace seqpar::test;
using namespace seqpar::rt::data;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

class IndexedDatasetTest : public testing::Test {
protected:
  IndexedDatasetTest() {
    writeDataset(prefix, {{{1, 2, 3}, {4}}, {}, {{5, 6}}});
    idx = readFile(prefix + ".idx");
  }

  template <typename T> std::string with(size_t offset, T value) const {
    std::string bytes = idx;
    std::memcpy(bytes.data() + offset, &value, sizeof value);
    return bytes;
  }
  std::string errorWith(const std::string &bytes) {
    writeFile(prefix + ".idx", bytes);
    return errorOf([&] { IndexedDataset data(prefix); });
  }

  Scratch scratch;
  std::string prefix = scratch / "d", idx;
};

TEST_F(IndexedDatasetTest, RoundTrip) {
  IndexedDataset data(prefix);
  const IndexView &index = data.index();
  EXPECT_EQ(index.elementType(), ElementType::uint16);
  EXPECT_EQ(index.sentences(), 3);
  EXPECT_EQ(index.documents(), 3);
  EXPECT_EQ(index.tokens(), 6);
  EXPECT_EQ(index.firstSentence(1), 2);
  EXPECT_EQ(index.firstSentence(2), 2);
  std::vector<int32_t> ids(2);
  data.read(0, 1, ids, 100);
  EXPECT_THAT(ids, ElementsAre(2, 3));
  data.read(2, 0, ids, 100);
  EXPECT_THAT(ids, ElementsAre(5, 6));
  EXPECT_THAT(scratch.list(), ElementsAre("d.bin", "d.idx"));
}

TEST_F(IndexedDatasetTest, BytesOfTheFormat) {
  std::string expected("MMIDIDX\0\0"
                       "\1\0\0\0\0\0\0\0"
                       "\10"
                       "\3\0\0\0\0\0\0\0"
                       "\4\0\0\0\0\0\0\0"
                       "\3\0\0\0\1\0\0\0\2\0\0\0"
                       "\0\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0\10\0\0\0\0\0\0\0"
                       "\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0",
                       34 + 12 + 24 + 32);
  EXPECT_EQ(idx, expected);
  EXPECT_EQ(readFile(prefix + ".bin"), std::string("\1\0\2\0\3\0\4\0\5\0\6\0", 12));
}

TEST_F(IndexedDatasetTest, EveryElementType) {
  auto check = [&]<typename T>(ElementType type, T) {
    std::string bin;
    for (T id : {1, 2, 3, 4, 5, 6})
      bin.append(reinterpret_cast<const char *>(&id), sizeof id);
    std::string bytes = with<uint8_t>(17, static_cast<uint8_t>(type));
    for (int64_t i = 0, pointer[] = {0, 3, 4}; i < 3; ++i) {
      int64_t value = pointer[i] * static_cast<int64_t>(sizeof(T));
      std::memcpy(bytes.data() + 46 + 8 * i, &value, 8);
    }
    writeFile(prefix + ".idx", bytes);
    writeFile(prefix + ".bin", bin);
    std::vector<int32_t> ids(2);
    IndexedDataset data(prefix);
    data.read(2, 0, ids, 7);
    EXPECT_THAT(ids, ElementsAre(5, 6)) << elementName(type);
    EXPECT_THAT(
        errorOf([&] { data.read(2, 0, ids, 6); }),
        HasSubstr(fmt::format("d.bin: expected a token id below the vocabulary's 6, found 6 "
                              "at offset {}",
                              5 * sizeof(T))));
  };
  check(ElementType::uint8, uint8_t());
  check(ElementType::int8, int8_t());
  check(ElementType::int16, int16_t());
  check(ElementType::int32, int32_t());
  check(ElementType::int64, int64_t());
  check(ElementType::uint16, uint16_t());
}

TEST_F(IndexedDatasetTest, CutAtEveryByte) {
  for (size_t length = 0; length < idx.size(); ++length)
    EXPECT_THAT(errorWith(idx.substr(0, length)), HasSubstr(prefix + ".idx: ")) << length;
  EXPECT_THAT(errorWith(idx + "x"), HasSubstr("cut or extended"));
}

TEST_F(IndexedDatasetTest, EveryDamagedByteOfTheIndexIsFound) {
  for (size_t at = 0; at < idx.size(); ++at)
    for (int bit : {0, 3, 7}) {
      bool sameSum = at == 17; // int16 and uint16 have the same size
      std::string bytes = idx;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      writeFile(prefix + ".idx", bytes);
      // A document may end one sentence earlier or later without breaking a rule.
      bool innerDocument = at >= 70 + 8 && at < 70 + 24 && (at - 70) % 8 == 0;
      if (!sameSum && !innerDocument)
        EXPECT_THAT(errorOf([&] { IndexedDataset data(prefix); }), HasSubstr(prefix + ".idx: "))
            << at << " " << bit;
    }
}

TEST_F(IndexedDatasetTest, WrongFieldsAreNamedWithTheirOffset) {
  EXPECT_THAT(errorWith(with<char>(3, 'X')), HasSubstr("magic"));
  EXPECT_THAT(errorWith(with<uint64_t>(9, 2)),
              HasSubstr("expected version 1, found 2 at offset 9"));
  EXPECT_THAT(errorWith(with<uint8_t>(17, 7)), HasSubstr("found 7 at offset 17"));
  EXPECT_THAT(errorWith(with<uint64_t>(18, ~0ull)), HasSubstr("(offset 18) need more"));
  EXPECT_THAT(errorWith(with<uint64_t>(26, 0)), HasSubstr("found 0 at offset 26"));
  EXPECT_THAT(errorWith(with<uint64_t>(26, ~0ull)), HasSubstr("(offset 26) do not match"));
  EXPECT_THAT(errorWith(with<int32_t>(38, -1)),
              HasSubstr("sentence 1 has the size -1 at offset 38"));
  EXPECT_THAT(errorWith(with<int64_t>(54, 1000)),
              HasSubstr("sentence 1 begins at byte 1000 of the .bin file (offset 54), expected 6"));
  EXPECT_THAT(errorWith(with<int64_t>(70, 1)), HasSubstr("begin with 0, found 1 at offset 70"));
  EXPECT_THAT(errorWith(with<int64_t>(86, 1)),
              HasSubstr("entry 2 of the document index is 1 at offset 86, expected 2 to 3"));
  EXPECT_THAT(errorWith(with<int64_t>(94, 2)),
              HasSubstr("end with the number of sentences, 3, found 2 at offset 94"));
}

TEST_F(IndexedDatasetTest, TokenFileOfAnotherLength) {
  writeFile(prefix + ".bin", std::string(11, '\0'));
  EXPECT_THAT(errorOf([&] { IndexedDataset data(prefix); }),
              HasSubstr("need a .bin file of 12 bytes, found one of 11 bytes"));
  writeFile(prefix + ".bin", std::string(13, '\0'));
  EXPECT_THAT(errorOf([&] { IndexedDataset data(prefix); }), HasSubstr("found one of 13 bytes"));
  std::filesystem::remove(prefix + ".bin");
  EXPECT_THAT(errorOf([&] { IndexedDataset data(prefix); }), HasSubstr("d.bin: cannot open"));
}

TEST_F(IndexedDatasetTest, UnfinishedWriterLeavesNothing) {
  {
    IndexedDatasetWriter writer(scratch / "e", ElementType::int32);
    std::vector<int32_t> ids = {1}, sizes = {1};
    writer.addSentences(ids, sizes);
  }
  EXPECT_THAT(scratch.list(), ElementsAre("d.bin", "d.idx"));
  EXPECT_THAT(errorOf([] { IndexedDatasetWriter("/nowhere/e", ElementType::int32); }),
              HasSubstr("cannot create"));
}

/// A limit on the size of files stands for a full disk: write() fails in both cases.
TEST_F(IndexedDatasetTest, FailedWriteNamesTheFileAndLeavesNothing) {
  rlimit before, small;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = {1 << 21, before.rlim_max};
  auto handler = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string error = errorOf([&] {
    IndexedDatasetWriter writer(scratch / "e", ElementType::int32);
    std::vector<int32_t> ids(1 << 20), sizes = {1 << 20};
    writer.addSentences(ids, sizes);
    writer.finish();
  });
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  EXPECT_THAT(error, HasSubstr("e.bin."));
  EXPECT_THAT(error, HasSubstr("cannot write"));
  EXPECT_THAT(scratch.list(), ElementsAre("d.bin", "d.idx"));
}

TEST(ElementTypeTest, AsMegatronChooses) {
  EXPECT_EQ(elementTypeFor(30524), ElementType::uint16);
  EXPECT_EQ(elementTypeFor(65499), ElementType::uint16);
  EXPECT_EQ(elementTypeFor(65500), ElementType::int32);
}

} // namespace
