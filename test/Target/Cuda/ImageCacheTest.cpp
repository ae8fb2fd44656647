//===- ImageCacheTest.cpp - images that are not compiled again ------------===//

#include "seqpar/Target/Cuda/ImageCache.h"
#include "seqpar/Target/Cuda/Nvrtc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <unistd.h>

using testing::HasSubstr;
using testing::SizeIs;

namespace fs = std::filesystem;

namespace seqpar::cuda {
namespace {

class CudaImageCache : public testing::Test {
protected:
  CudaImageCache()
      : folder(fs::temp_directory_path() / ("seqpar-images-" + std::to_string(getpid()))) {
    fs::remove_all(folder);
  }
  ~CudaImageCache() override { fs::remove_all(folder); }

  std::vector<fs::path> files() const {
    std::vector<fs::path> result;
    if (fs::exists(folder))
      for (const auto &each : fs::directory_iterator(folder))
        result.push_back(each.path());
    return result;
  }
  static std::string read(const fs::path &path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }
  static void write(const fs::path &path, const std::string &text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  static std::string add(const ImageCache &cache, const std::string &key, size_t bytes) {
    std::string reason;
    cache.add(key, {std::vector<uint8_t>(bytes, 7), "log of " + key}, reason);
    return reason;
  }

  fs::path folder;
};

TEST_F(CudaImageCache, keepsImagesByKey) {
  ImageCache cache(folder);
  EXPECT_FALSE(cache.find("one"));
  EXPECT_EQ(add(cache, "one", 100), "");
  EXPECT_EQ(add(cache, "two", 0), "");
  std::optional<ImageCache::Entry> one = ImageCache(folder).find("one");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->image, std::vector<uint8_t>(100, 7));
  EXPECT_EQ(one->log, "log of one");
  EXPECT_TRUE(cache.find("two"));
  EXPECT_FALSE(cache.find("three"));
  EXPECT_THAT(files(), SizeIs(2)); // and no part of one
}

TEST_F(CudaImageCache, partsOfKilledRunsGo) {
  ImageCache cache(folder);
  fs::create_directories(folder);
  write(folder / "new.part", "written by another run");
  write(folder / "old.part", "of a run that was killed");
  fs::last_write_time(folder / "old.part",
                      fs::file_time_type::clock::now() - std::chrono::hours(2));
  EXPECT_EQ(add(cache, "one", 100), "");
  EXPECT_TRUE(fs::exists(folder / "new.part"));
  EXPECT_FALSE(fs::exists(folder / "old.part"));
}

TEST_F(CudaImageCache, keysAreOfEachPart) {
  EXPECT_EQ(ImageCache::getKey({"ab", "c"}), ImageCache::getKey({"ab", "c"}));
  EXPECT_NE(ImageCache::getKey({"ab", "c"}), ImageCache::getKey({"a", "bc"}));
  EXPECT_NE(ImageCache::getKey({"ab", "c"}), ImageCache::getKey({"ab", "c", ""}));
  EXPECT_THAT(ImageCache::getKey({}), SizeIs(64));
}

TEST_F(CudaImageCache, damagedFilesAreMissing) {
  ImageCache cache(folder);
  add(cache, "one", 100);
  fs::path path = files().at(0);
  std::string whole = read(path), other = whole;
  other[whole.size() - 3] ^= 1;
  for (const std::string &text :
       {std::string(), whole.substr(0, 10), whole.substr(0, whole.size() - 1), whole + "x", other,
        "seqpar-image 1 18446744073709551615 1 0\n" + whole, "seqpar-image 2" + whole.substr(14)}) {
    write(path, text);
    EXPECT_FALSE(cache.find("one")) << text;
    EXPECT_EQ(add(cache, "one", 100), "");
    EXPECT_EQ(read(path), whole);
  }
}

TEST_F(CudaImageCache, aFolderThatCannotBeWrittenIsNamed) {
  fs::create_directories(folder);
  write(folder / "file", "");
  ImageCache cache(folder / "file/below");
  EXPECT_FALSE(cache.find("one"));
  EXPECT_THAT(add(cache, "one", 1), HasSubstr("file/below: "));
}

TEST_F(CudaImageCache, whatIsUsedLongestAgoGoes) {
  ImageCache cache(folder, 3500);
  auto age = [&](const std::string &key, int hours) {
    fs::last_write_time(folder / (key + ".image"),
                        fs::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  for (auto [key, hours] : {std::pair("one", 3), {"two", 2}, {"three", 1}}) {
    add(cache, key, 1000);
    age(key, hours);
  }
  EXPECT_TRUE(cache.find("one")); // which is a use
  write(folder / "other", std::string(9000, 'x'));
  add(cache, "four", 1000);
  EXPECT_TRUE(cache.find("one"));
  EXPECT_FALSE(cache.find("two"));
  EXPECT_TRUE(cache.find("three"));
  EXPECT_TRUE(cache.find("four"));
  EXPECT_TRUE(fs::exists(folder / "other")); // is none of the cache's
}

class CudaImageCacheOfNvrtc : public CudaImageCache {
protected:
  void SetUp() override {
    std::string reason;
    if (!hasNvrtc(reason))
      GTEST_SKIP() << reason;
  }
  std::vector<uint8_t> compile(const ImageCache *cache, const char *architecture = "sm_80",
                               const std::string &more = "") {
    std::vector<CudaCode> codes = {
        {"one", "extern \"C\" __global__ void f(float *x) { *x = 1; }\n" + more, {}}};
    std::string error;
    usages.clear();
    EXPECT_TRUE(compileImages(codes, {architecture}, error, &usages, cache)) << error;
    return codes[0].images.at(0).image;
  }
  std::vector<KernelUsage> usages;
};

TEST_F(CudaImageCacheOfNvrtc, theBytesAreTheSame) {
  ImageCache cache(folder);
  std::vector<uint8_t> without = compile(nullptr);
  EXPECT_EQ(compile(&cache), without);
  ASSERT_THAT(files(), SizeIs(1));
  EXPECT_EQ(compile(&cache), without);
  EXPECT_THAT(files(), SizeIs(1));
  ASSERT_THAT(usages, SizeIs(1));
  EXPECT_EQ(usages[0].symbol, "f");
  EXPECT_GT(usages[0].registers, 0);
  // That it was not compiled again shows in an entry that NVRTC has not made.
  std::string key = files().at(0).stem(), reason;
  ASSERT_TRUE(cache.add(key, {{1, 2, 3}, ""}, reason)) << reason;
  EXPECT_EQ(compile(&cache), (std::vector<uint8_t>{1, 2, 3}));
  // A damaged one is compiled and written again.
  write(files().at(0), "damaged");
  EXPECT_EQ(compile(&cache), without);
  EXPECT_EQ(cache.find(key)->image, without);
}

TEST_F(CudaImageCacheOfNvrtc, textAndArchitectureCount) {
  ImageCache cache(folder);
  compile(&cache);
  compile(&cache, "sm_90");
  compile(&cache, "compute_80");
  compile(&cache, "sm_80", "// more\n");
  EXPECT_THAT(files(), SizeIs(4));
}

TEST_F(CudaImageCacheOfNvrtc, withoutAFolderItIsCompiled) {
  fs::create_directories(folder);
  write(folder / "file", "");
  ImageCache cache(folder / "file");
  testing::internal::CaptureStderr();
  std::vector<uint8_t> image = compile(&cache);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("CUDA images are not kept"));
  EXPECT_EQ(image, compile(nullptr));
}

TEST_F(CudaImageCache, theEnvironmentSaysWhere) {
  auto folderFor = [](const char *images, const char *algorithms, const char *caches,
                      const char *home) {
    setenv("SEQPAR_CUDA_IMAGES", images, 1);
    setenv("SEQPAR_CUDA_CACHE", algorithms, 1);
    setenv("XDG_CACHE_HOME", caches, 1);
    setenv("HOME", home, 1);
    return getDefaultImageCache();
  };
  EXPECT_EQ(folderFor("/images", "/a/b.json", "/caches", "/home/me"), "/images");
  EXPECT_EQ(folderFor("off", "/a/b.json", "/caches", "/home/me"), "");
  EXPECT_EQ(folderFor("", "/a/b.json", "/caches", "/home/me"), "/a/cuda-images");
  EXPECT_EQ(folderFor("", "b.json", "", ""), "./cuda-images");
  EXPECT_EQ(folderFor("", "", "/caches", "/home/me"), "/caches/seqpar/cuda-images");
  EXPECT_EQ(folderFor("", "", "", "/home/me"), "/home/me/.cache/seqpar/cuda-images");
  EXPECT_EQ(folderFor("", "", "", ""), "");
}

} // namespace
} // namespace seqpar::cuda
