#include "ModelConfig.h"

#include "seqpar/rt/Error.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>

using nlohmann::json;

namespace seqpar::tool {

namespace {

constexpr int64_t maxSize = INT32_MAX; // ids and row numbers are 32-bit
constexpr int64_t maxLayers = 10000;
constexpr int64_t maxElements = int64_t(1) << 40; // of one parameter
constexpr int64_t maxHeadDim = 256;               // of the attention kernels
constexpr size_t maxConfigBytes = 1 << 20;

template <typename... Args>
[[noreturn]] void usage(fmt::format_string<Args...> format, Args &&...args) {
  throw rt::UsageError(fmt::format(format, std::forward<Args>(args)...));
}

/// A size with what it is called on the command line and in a config.json.
struct Size {
  int64_t ModelConfig::*member;
  const char *option, *field;
  int64_t largest;
};
constexpr Size sizes[] = {
    {&ModelConfig::layers, "--layers", "num_hidden_layers", maxLayers},
    {&ModelConfig::hidden, "--hidden", "hidden_size", maxSize},
    {&ModelConfig::heads, "--heads", "num_attention_heads", maxSize},
    {&ModelConfig::ffn, "--ffn", "intermediate_size", maxSize},
    {&ModelConfig::vocab, "--vocab", "vocab_size", maxSize},
    {&ModelConfig::maxSeqLength, "--max-seq-length", "max_position_embeddings", maxSize},
    {&ModelConfig::types, "--from-hf", "type_vocab_size", maxSize},
};

json parseFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(maxConfigBytes + 1, '\0');
  if (!file || (file.read(text.data(), text.size()), file.bad()))
    usage("--from-hf: cannot read {}", path);
  text.resize(file.gcount());
  if (text.size() > maxConfigBytes)
    usage("--from-hf: {} is larger than {} bytes, so no config.json", path, maxConfigBytes);
  json config = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object())
    usage("--from-hf: {} is not a json object", path);
  return config;
}

/// The fields of one config.json; those absent have Hugging Face's default.
class Fields {
public:
  Fields(const std::string &path, const json &config) : path(path), config(config) {}

  int64_t integer(const char *field, int64_t standard) const {
    const json *value = find(field);
    const bool tooLarge =
        value && value->is_number_unsigned() && value->get<uint64_t>() > uint64_t(INT64_MAX);
    if (value && (!value->is_number_integer() || tooLarge))
      usage("--from-hf: {}: {}: expected an integer, found {}", path, field, value->dump());
    return value ? value->get<int64_t>() : standard;
  }

  double real(const char *field, double standard) const {
    const json *value = find(field);
    if (value && !value->is_number())
      usage("--from-hf: {}: {}: expected a number, found {}", path, field, value->dump());
    return value ? value->get<double>() : standard;
  }

  std::string text(const char *field, const char *standard) const {
    const json *value = find(field);
    if (value && !value->is_string())
      usage("--from-hf: {}: {}: expected a string, found {}", path, field, value->dump());
    return value ? value->get<std::string>() : standard;
  }

  /// Throws unless the field is absent or has this value.
  void require(const char *field, const json &expected) const {
    const json *value = find(field);
    if (value && *value != expected)
      usage("--from-hf: {}: {}: expected {}, found {}", path, field, expected.dump(),
            value->dump());
  }

private:
  const json *find(const char *field) const {
    auto it = config.find(field);
    return it == config.end() || it->is_null() ? nullptr : &*it;
  }

  const std::string &path;
  const json &config;
};

Gelu readGelu(const std::string &path, const std::string &name) {
  if (name == "gelu" || name == "gelu_python")
    return Gelu::Erf;
  if (name == "gelu_new" || name == "gelu_fast" || name == "gelu_pytorch_tanh")
    return Gelu::Tanh;
  usage("--from-hf: {}: hidden_act: expected gelu, gelu_new or gelu_pytorch_tanh, found {}", path,
        json(name).dump());
}

} // namespace

void checkConfig(const ModelConfig &config, const std::string &origin) {
  auto name = [&](const Size &size) {
    return origin.empty() ? std::string(size.option)
                          : fmt::format("--from-hf: {}: {}", origin, size.field);
  };
  for (const Size &size : sizes)
    if (int64_t value = config.*size.member; value < 1 || value > size.largest)
      usage("{}: expected 1 to {}, found {}", name(size), size.largest, value);
  if (config.hidden % config.heads != 0)
    usage("{}: expected a divisor of the hidden size {}, found {}", name(sizes[2]), config.hidden,
          config.heads);
  if (config.hidden / config.heads > maxHeadDim)
    usage("{}: expected heads of at most {} features, found {} / {} = {}", name(sizes[2]),
          maxHeadDim, config.hidden, config.heads, config.hidden / config.heads);
  for (int index : {1, 3, 4, 5, 6})
    if (int64_t rows = config.*sizes[index].member; rows > maxElements / config.hidden)
      usage("{}: expected a parameter of at most 2^40 elements, found {} x {}", name(sizes[index]),
            rows, config.hidden);
  auto real = [&](const char *option, const char *field) {
    return origin.empty() ? std::string(option) : fmt::format("--from-hf: {}: {}", origin, field);
  };
  if (!(std::isfinite(config.eps) && config.eps > 0))
    usage("{}: expected a number above 0, found {}", real("--eps", "layer_norm_eps"), config.eps);
  if (!(std::isfinite(config.deviation) && config.deviation >= 0))
    usage("{}: expected a number of at least 0, found {}", real("--from-hf", "initializer_range"),
          config.deviation);
}

ModelConfig readHuggingFaceConfig(const std::string &path) {
  const json parsed = parseFile(path);
  const Fields fields(path, parsed);
  const std::string kind = fields.text("model_type", "");
  if (kind != "bert" && kind != "megatron-bert")
    usage("--from-hf: {}: model_type: expected \"bert\" or \"megatron-bert\", found {}", path,
          json(kind).dump());
  fields.require("position_embedding_type", "absolute");
  fields.require("is_decoder", false);
  fields.require("add_cross_attention", false);
  fields.require("tie_word_embeddings", true);

  const bool megatron = kind == "megatron-bert";
  ModelConfig config;
  config.layers = fields.integer("num_hidden_layers", megatron ? 24 : 12);
  config.hidden = fields.integer("hidden_size", megatron ? 1024 : 768);
  config.heads = fields.integer("num_attention_heads", megatron ? 16 : 12);
  config.ffn = fields.integer("intermediate_size", megatron ? 4096 : 3072);
  config.vocab = fields.integer("vocab_size", megatron ? 29056 : 30522);
  config.maxSeqLength = fields.integer("max_position_embeddings", 512);
  config.types = fields.integer("type_vocab_size", 2);
  config.norm = megatron ? Norm::Pre : Norm::Post;
  config.gelu = readGelu(path, fields.text("hidden_act", "gelu"));
  config.eps = fields.real("layer_norm_eps", 1e-12);
  config.deviation = fields.real("initializer_range", 0.02);
  return config;
}

} // namespace seqpar::tool
