//===- seqpar-data.cpp - makes, checks and shows training data --------------===//
//
// Reads and writes Megatron-LM's BERT data files. docs/data.md is the guide.
//
//===----------------------------------------------------------------------===//

#include "Options.h"
#include "seqpar/rt/Error.h"

#include <cctype>
#include <cstdio>
#include <exception>

namespace {

/// The first line of a message, beginning in lower case.
std::string oneLine(std::string text) {
  text = text.substr(0, text.find('\n'));
  if (text.size() > 1 && std::isupper(static_cast<unsigned char>(text[0])) &&
      !std::isupper(static_cast<unsigned char>(text[1])))
    text[0] = static_cast<char>(std::tolower(text[0]));
  return text;
}

int report(const std::exception &error, int status) {
  fmt::print(stderr, "seqpar-data: error: {}\n", oneLine(error.what()));
  return status;
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app{"Makes, checks and shows BERT training data in Megatron-LM's .bin/.idx format."};
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();
  seqpar::tool::addPreprocess(app);
  seqpar::tool::addTokenize(app);
  seqpar::tool::addInspect(app);
  seqpar::tool::addVerify(app);
  seqpar::tool::addIndex(app);
  seqpar::tool::addSample(app);
  try {
    app.parse(argc, argv);
    if (std::fflush(stdout) != 0)
      seqpar::rt::fail("cannot write to the standard output");
    return 0;
  } catch (const CLI::Success &success) {
    return app.exit(success);
  } catch (const CLI::ParseError &error) {
    return report(error, 2);
  } catch (const seqpar::tool::UsageError &error) {
    return report(error, 2);
  } catch (const std::bad_alloc &) {
    fmt::print(stderr, "seqpar-data: error: out of memory\n");
    return 1;
  } catch (const std::exception &error) {
    return report(error, 1);
  }
}
