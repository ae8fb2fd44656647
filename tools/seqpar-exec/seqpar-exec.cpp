//===- seqpar-exec.cpp - runs a compiled program ----------------*- C++ -*-===//

#include "seqpar/rt/Error.h"
#include "seqpar/rt/ProgramFile.h"
#include "seqpar/rt/RunOptions.h"
#include "seqpar/rt/Trainer.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <string>

using namespace seqpar::rt;

int main(int argc, char **argv) {
  CLI::App app("Trains a model with a program that seqpar-run --emit-program has written.",
               "seqpar-exec");
  std::string path;
  RunOptions options;
  app.add_option("PROGRAM", path, "program file")->required();
  addRunOptions(app, options);
  if (int status = parseCommandLine(app, argc, argv, "seqpar-exec"); status >= 0)
    return status;
  try {
    train(ProgramFile::fromFile(path), options, deviceFactory(options));
    return 0;
  } catch (const UsageError &error) {
    fmt::print(stderr, "seqpar-exec: error: {}\n", error.what());
    return 2;
  } catch (const std::exception &error) {
    fmt::print(stderr, "seqpar-exec: error: {}\n", error.what());
    return 1;
  }
}
