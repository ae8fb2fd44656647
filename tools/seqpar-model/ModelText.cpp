#include "ModelText.h"

#include <fmt/format.h>

#include <cmath>

namespace seqpar::tool {

namespace {

/// A number that MLIR reads as a float: with a decimal point, up to 9 digits.
std::string real(double value) {
  std::string digits = fmt::format("{:.9g}", value);
  if (digits.find('.') == std::string::npos)
    digits.insert(std::min(digits.find('e'), digits.size()), ".0");
  return digits;
}

class ModelWriter {
public:
  ModelWriter(const ModelConfig &config, const std::string &command)
      : config(config), pre(config.norm == Norm::Pre), weightInit(normal(config.deviation)),
        outputInit(normal(config.deviation / std::sqrt(2.0 * config.layers))) {
    line("// BERT, layer norm {} each block: {} layers, hidden size {}, {} heads, feed-forward {},",
         pre ? "before" : "after", config.layers, config.hidden, config.heads, config.ffn);
    line("// {} words, up to {} positions. Written by:", config.vocab, config.maxSeqLength);
    line("// {}", command);
  }

  std::string write() {
    aliases();
    text += '\n';
    line("nn.model @bert {{");
    indent = 2;
    inputs();
    embeddings();
    encoder();
    languageModelHead();
    if (config.binaryHead)
      sentenceOrderHead();
    line("nn.loss mlm(%mlm){}", config.binaryHead ? " sop(%sop)" : "");
    indent = 0;
    line("}}");
    return text;
  }

private:
  template <typename... Args> void line(fmt::format_string<Args...> format, Args &&...args) {
    text.append(indent, ' ');
    fmt::format_to(std::back_inserter(text), format, std::forward<Args>(args)...);
    text += '\n';
  }

  static std::string normal(double deviation) { return "normal(" + real(deviation) + ") decay"; }

  //===- What several parts use ---------------------------------------------------------------===//

  /// Weight `[out, in]` and bias `[out]` named NAME.weight and NAME.bias: %result_w, %result_b.
  void linearParameters(const char *result, const char *name, const std::string &init,
                        const std::string &weight, const std::string &bias) {
    line("%{}_w = nn.parameter \"{}.weight\" {} : {}", result, name, init, weight);
    line("%{}_b = nn.parameter \"{}.bias\" zeros : {}", result, name, bias);
  }

  void linear(const char *result, const char *x, const std::string &types) {
    line("%{0} = nn.linear %{1}, %{0}_w, %{0}_b : {2}", result, x, types);
  }

  void normParameters(const char *result, const char *name) {
    line("%{0}_g = nn.parameter \"{1}.weight\" ones : !h  %{0}_b = nn.parameter \"{1}.bias\" zeros "
         ": !h",
         result, name);
  }

  void norm(const char *result, const char *x, const char *name) {
    normParameters(result, name);
    line("%{0} = nn.layer_norm %{1}, %{0}_g, %{0}_b eps({2}) : (!x, !h, !h) -> !x", result, x,
         real(config.eps));
  }

  const char *gelu() const { return config.gelu == Gelu::Tanh ? "tanh" : "erf"; }

  //===- Parts of the model -------------------------------------------------------------------===//

  void aliases() {
    const int64_t h = config.hidden, f = config.ffn;
    line("!ids = tensor<?x?xi32>  // samples, positions");
    line("!x = tensor<?x?x{}xf32>", h);
    line("!h = tensor<{}xf32>", h);
    line("!hh = tensor<{0}x{0}xf32>", h);
    line("!f = tensor<?x?x{}xf32>", f);
    line("!words = tensor<{}x{}xf32>", config.vocab, h);
  }

  void inputs() {
    line("%tokens = nn.input tokens : !ids  %types = nn.input types : !ids  "
         "%positions = nn.input positions : !ids");
    line("%padding_mask = nn.input padding_mask : !ids  %loss_mask = nn.input loss_mask : !ids  "
         "%labels = nn.input labels : !ids");
  }

  void embedding(const char *result, const char *ids, const char *name, const std::string &table) {
    line("%{}_w = nn.parameter \"bert.embeddings.{}_embeddings.weight\" {} : {}", result, name,
         weightInit, table);
    line("%{0} = nn.embedding %{1}, %{0}_w : (!ids, {2}) -> !x", result, ids, table);
  }

  void embeddings() {
    auto table = [&](int64_t rows) {
      return fmt::format("tensor<{}x{}xf32>", rows, config.hidden);
    };
    embedding("word", "tokens", "word", "!words");
    embedding("position", "positions", "position", table(config.maxSeqLength));
    embedding("type", "types", "token_type", table(config.types));
    line("%e0 = nn.add %word, %position : !x  %e1 = nn.add %e0, %type : !x");
    if (!pre)
      norm("e2", "e1", "bert.embeddings.LayerNorm");
    line("%e = nn.dropout %{} : !x", pre ? "e1" : "e2");
    text += '\n';
  }

  void encoder() {
    line("%{} = nn.repeat {} as \"bert.encoder.layer.\" (%x = %e) : !x {{", pre ? "last" : "y",
         config.layers);
    indent = 4;
    if (pre)
      norm("n1", "x", "attention.ln");
    attention(pre ? "n1" : "x");
    line("%o_d = nn.dropout %o : !x  %{} = nn.add %x, %o_d : !x", pre ? "x1" : "s1");
    if (!pre)
      norm("x1", "s1", "attention.output.LayerNorm");
    if (pre)
      norm("n2", "x1", "ln");
    feedForward(pre ? "n2" : "x1");
    line("%m_d = nn.dropout %m : !x  %{} = nn.add %x1, %m_d : !x", pre ? "x2" : "s2");
    if (!pre)
      norm("x2", "s2", "output.LayerNorm");
    line("nn.yield %x2 : !x");
    indent = 2;
    line("}}");
    if (pre)
      norm("y", "last", "bert.encoder.ln");
    text += '\n';
  }

  void attention(const char *x) {
    const std::string types = "(!x, !hh, !h) -> !x";
    for (auto [result, name] :
         {std::pair("q", "attention.self.query"), std::pair("k", "attention.self.key"),
          std::pair("v", "attention.self.value")}) {
      linearParameters(result, name, weightInit, "!hh", "!h");
      linear(result, x, types);
    }
    line("%a = nn.attention %q, %k, %v, %padding_mask heads({}) : (!x, !x, !x, !ids) -> !x",
         config.heads);
    linearParameters("o", "attention.output.dense", outputInit, "!hh", "!h");
    linear("o", "a", types);
  }

  void feedForward(const char *x) {
    const int64_t h = config.hidden, f = config.ffn;
    const std::string in = fmt::format("tensor<{}x{}xf32>", f, h);
    const std::string out = fmt::format("tensor<{}x{}xf32>", h, f);
    const std::string bias = fmt::format("tensor<{}xf32>", f);
    linearParameters("i", "intermediate.dense", weightInit, in, bias);
    linear("i", x, fmt::format("(!x, {}, {}) -> !f", in, bias));
    line("%i_a = nn.gelu %i {} : !f", gelu());
    linearParameters("m", "output.dense", outputInit, out, "!h");
    linear("m", "i_a", fmt::format("(!f, {}, !h) -> !x", out));
  }

  void languageModelHead() {
    const std::string rows = fmt::format("tensor<?x{}xf32>", config.hidden);
    const std::string logits = fmt::format("tensor<?x{}xf32>", config.vocab);
    const std::string bias = fmt::format("tensor<{}xf32>", config.vocab);
    linearParameters("t", "cls.predictions.transform.dense", weightInit, "!hh", "!h");
    normParameters("n", "cls.predictions.transform.LayerNorm");
    line("%words_b = nn.parameter \"cls.predictions.bias\" zeros : {}", bias);
    line("%mlm = nn.masked_rows %y, %loss_mask, %labels : (!x, !ids, !ids) -> tensor<f32> {{");
    line("^bb0(%rows: {}, %targets: tensor<?xi32>):", rows);
    indent = 4;
    linear("t", "rows", fmt::format("({0}, !hh, !h) -> {0}", rows));
    line("%t_a = nn.gelu %t erf : {}", rows);
    line("%n = nn.layer_norm %t_a, %n_g, %n_b eps({0}) : ({1}, !h, !h) -> {1}", real(config.eps),
         rows);
    line("%logits = nn.linear %n, %word_w, %words_b : ({}, !words, {}) -> {}", rows, bias, logits);
    line("%loss = nn.cross_entropy %logits, %targets : ({}, tensor<?xi32>) -> tensor<f32>", logits);
    line("nn.yield %loss : tensor<f32>");
    indent = 2;
    line("}}");
  }

  void sentenceOrderHead() {
    const std::string row = fmt::format("tensor<?x{}xf32>", config.hidden);
    const std::string weight = fmt::format("tensor<2x{}xf32>", config.hidden);
    text += '\n';
    line("%order = nn.input sentence_order : tensor<?xi32>");
    line("%first = nn.select_token %y, 0 : (!x) -> {}", row);
    linearParameters("p", "bert.pooler.dense", weightInit, "!hh", "!h");
    linear("p", "first", fmt::format("({0}, !hh, !h) -> {0}", row));
    line("%p_a = nn.tanh %p : {}", row);
    linearParameters("s", "cls.seq_relationship", weightInit, weight, "tensor<2xf32>");
    linear("s", "p_a", fmt::format("({}, {}, tensor<2xf32>) -> tensor<?x2xf32>", row, weight));
    line("%sop = nn.cross_entropy %s, %order : (tensor<?x2xf32>, tensor<?xi32>) -> tensor<f32>");
  }

  const ModelConfig &config;
  const bool pre;
  const std::string weightInit,
      outputInit; // of matrices; of those that end attention and feed-forward
  std::string text;
  size_t indent = 0;
};

} // namespace

std::string writeModel(const ModelConfig &config, const std::string &command) {
  return ModelWriter(config, command).write();
}

} // namespace seqpar::tool
