#include "GoldenFiles.h"
#include "TestPaths.h"

#include "seqpar/rt/Error.h"
#include "seqpar/rt/data/IndexedDataset.h"
#include "seqpar/rt/data/Preprocess.h"

#include <algorithm>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <zlib.h>

namespace seqpar::test {

using namespace seqpar::rt::data;

std::string goldenPath(const std::string &name) {
  return std::string(SEQPAR_TEST_DIR) + "/Data/golden/" + name;
}

std::string vocabPath(const std::string &name) {
  if (name == "bert-uncased-vocab.txt")
    return std::string(SEQPAR_TEST_DIR) + "/../models/corpus/vocab.txt";
  return goldenPath(name);
}

nlohmann::json goldenJson(const std::string &name) {
  return nlohmann::json::parse(readFile(goldenPath(name)));
}

std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    rt::fail("{}: cannot open", path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void writeFile(const std::string &path, const std::string &bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  if (!file.flush())
    rt::fail("{}: cannot write", path);
}

uint32_t crc32(const void *data, size_t size, uint32_t before) {
  return static_cast<uint32_t>(::crc32_z(before, static_cast<const Bytef *>(data), size));
}

uint32_t fileCrc32(const std::string &path) {
  std::string bytes = readFile(path);
  return crc32(bytes.data(), bytes.size());
}

Scratch::Scratch() {
  std::string name = (std::filesystem::temp_directory_path() / "seqpar-data-XXXXXX").string();
  if (!mkdtemp(name.data()))
    rt::fail("{}: cannot create", name);
  folder = name;
}

Scratch::~Scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
}

std::vector<std::string> Scratch::list() const {
  std::vector<std::string> names;
  for (const auto &entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

const std::string &goldenData() {
  static Scratch scratch;
  static const std::string folder = [] {
    auto manifest = goldenJson("manifest.json");
    for (const auto &[name, set] : manifest["datasets"].items()) {
      PreprocessOptions options;
      options.input = goldenPath(set["corpus"]);
      std::string suffix = "_text_sentence";
      options.outputPrefix = scratch / name.substr(0, name.size() - suffix.size());
      options.vocabFile = vocabPath(set["vocab"]);
      options.splitter = SentenceSplitter::newline;
      options.workers = 2;
      if (set["dtype_code"] == 4)
        options.elementType = ElementType::int32;
      preprocess(options);
    }
    return scratch.path().string();
  }();
  return folder;
}

DataOptions goldenOptions(const nlohmann::json &config) {
  DataOptions options;
  for (const std::string word : config["data_prefix"]) {
    bool isPrefix = word.find("sentence") != std::string::npos;
    options.dataPath +=
        (options.dataPath.empty() ? "" : " ") + (isPrefix ? goldenData() + "/" + word : word);
  }
  options.vocabFile = vocabPath(config["vocab"]);
  options.splits = config["splits_string"];
  options.seqLength = config["max_seq_length"];
  options.trainIters = config["train_iters"];
  options.globalBatch = config["global_batch_size"];
  options.evalInterval = config["eval_interval"];
  options.evalIters = config["eval_iters"];
  options.seed = config["seed"];
  options.maskProb = config["masked_lm_prob"];
  options.shortSeqProb = config["short_seq_prob"];
  options.binaryHead = config["binary_head"];
  return options;
}

void writeDataset(const std::string &prefix, const Documents &documents, bool wide) {
  IndexedDatasetWriter writer(prefix, wide ? ElementType::int32 : ElementType::uint16);
  for (const auto &document : documents) {
    for (const auto &sentence : document) {
      int32_t size = static_cast<int32_t>(sentence.size());
      writer.addSentences(sentence, std::span(&size, 1));
    }
    int32_t count = static_cast<int32_t>(document.size());
    writer.addDocuments(std::span(&count, 1));
  }
  writer.finish();
}

std::string errorOf(const std::function<void()> &run) {
  try {
    run();
  } catch (const rt::Error &error) {
    return error.what();
  }
  ADD_FAILURE() << "expected an Error";
  return "";
}

} // namespace seqpar::test
