//===- ModelConfig.h - The sizes and the form of a BERT model ---------------------------------===//

#pragma once

#include <cstdint>
#include <string>

namespace seqpar::tool {

enum class Norm { Pre, Post }; // layer norm before a block (Megatron-LM) or after it (BERT's paper)
enum class Gelu { Tanh, Erf }; // of the feed-forward block; the language model's head uses erf

struct ModelConfig {
  int64_t layers = 0, hidden = 0, heads = 0, ffn = 0, vocab = 0, maxSeqLength = 0;
  int64_t types = 2; // kinds of tokens: sentence A, sentence B
  Norm norm = Norm::Pre;
  Gelu gelu = Gelu::Tanh;
  bool binaryHead = true;  // predicts the order of two sentences
  double eps = 1e-12;      // of layer norms, added to the variance
  double deviation = 0.02; // of initial weights
};

/// Throws rt::UsageError for a size that is missing or out of range. The text names the option, or
/// what Hugging Face calls it when `origin` (the path of a config.json) is not empty.
void checkConfig(const ModelConfig &config, const std::string &origin);

/// Reads what Hugging Face's BertConfig or MegatronBertConfig writes. Throws rt::UsageError naming
/// --from-hf, the file and the field for a file that cannot be read, or a model that is none of
/// ours.
ModelConfig readHuggingFaceConfig(const std::string &path);

} // namespace seqpar::tool
