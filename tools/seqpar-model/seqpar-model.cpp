//===- seqpar-model.cpp - Writes a BERT model file of any size --------------------------------===//

#include "ModelText.h"

#include "seqpar/rt/AtomicFile.h"
#include "seqpar/rt/Error.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <map>

using namespace seqpar;
using namespace seqpar::tool;

namespace {

struct Options {
  ModelConfig config;
  std::string fromHf, output;
};

/// Adds the options; returns those that --from-hf stands for.
void addOptions(CLI::App &app, Options &options) {
  ModelConfig &c = options.config;
  const std::map<std::string, Norm> norms{{"pre", Norm::Pre}, {"post", Norm::Post}};
  const std::map<std::string, Gelu> gelus{{"tanh", Gelu::Tanh}, {"erf", Gelu::Erf}};
  CLI::Option *fromHf =
      app.add_option("--from-hf", options.fromHf,
                     "config.json of a BertConfig or MegatronBertConfig to take all sizes from");
  const CLI::Option *sizes[] = {
      app.add_option("--layers", c.layers, "transformer layers"),
      app.add_option("--hidden", c.hidden, "hidden size, a multiple of the heads"),
      app.add_option("--heads", c.heads, "attention heads, of at most 256 features each"),
      app.add_option("--ffn", c.ffn, "size of the feed-forward block"),
      app.add_option("--vocab", c.vocab, "words"),
      app.add_option("--max-seq-length", c.maxSeqLength, "largest number of positions"),
      app.add_option("--norm", c.norm, "layer norm before (pre) or after (post) each block [pre]")
          ->transform(CLI::CheckedTransformer(norms).description("pre|post")),
      app.add_option("--gelu", c.gelu, "GeLU of the feed-forward block [tanh]")
          ->transform(CLI::CheckedTransformer(gelus).description("tanh|erf")),
      app.add_option("--eps", c.eps, "added to the variance in layer norms [1e-12]")};
  for (const CLI::Option *size : sizes)
    fromHf->excludes(const_cast<CLI::Option *>(size));
  app.add_flag("!--no-binary-head", c.binaryHead, "a model that does not predict sentence order");
  app.add_option("-o,--output", options.output, "file to write [standard output]");
}

std::string describe(const Options &options) {
  const ModelConfig &c = options.config;
  std::string command = fmt::format(
      "seqpar-model --layers={} --hidden={} --heads={} --ffn={} --vocab={} --max-seq-length={} "
      "--norm={} --gelu={}",
      c.layers, c.hidden, c.heads, c.ffn, c.vocab, c.maxSeqLength,
      c.norm == Norm::Pre ? "pre" : "post", c.gelu == Gelu::Tanh ? "tanh" : "erf");
  if (c.eps != ModelConfig().eps)
    command += fmt::format(" --eps={}", c.eps);
  if (!c.binaryHead)
    command += " --no-binary-head";
  return command;
}

void run(Options &options) {
  if (!options.fromHf.empty()) {
    const bool binaryHead = options.config.binaryHead;
    options.config = readHuggingFaceConfig(options.fromHf);
    options.config.binaryHead = binaryHead;
  }
  checkConfig(options.config, options.fromHf);
  const std::string text = writeModel(options.config, describe(options));
  if (options.output.empty()) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
      rt::fail("cannot write to the standard output");
    return;
  }
  rt::checkWritable("--output", options.output);
  rt::AtomicFile file(options.output);
  file.write(text);
  file.commit();
}

int report(const std::exception &error, int status) {
  std::string text = error.what();
  text = text.substr(0, text.find('\n'));
  if (text.size() > 1 && std::isupper(static_cast<unsigned char>(text[0])))
    text[0] = static_cast<char>(std::tolower(text[0]));
  fmt::print(stderr, "seqpar-model: error: {}\n", text);
  return status;
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app{"Writes a BERT model file of any size."};
  Options options;
  addOptions(app, options);
  try {
    app.parse(argc, argv);
    run(options);
    return 0;
  } catch (const CLI::Success &success) {
    return app.exit(success);
  } catch (const CLI::ParseError &error) {
    return report(error, 2);
  } catch (const rt::UsageError &error) {
    return report(error, 2);
  } catch (const std::exception &error) {
    return report(error, 1);
  }
}
