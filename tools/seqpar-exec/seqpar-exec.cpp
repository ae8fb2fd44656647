//===- seqpar-exec.cpp - runs a compiled program ----------------*- C++ -*-===//

#include "seqpar/rt/Processes.h"
#include "seqpar/rt/ProgramFile.h"
#include "seqpar/rt/RunOptions.h"
#include "seqpar/rt/Trainer.h"

#include <CLI/CLI.hpp>

#include <string>

using namespace seqpar::rt;

int main(int argc, char **argv) {
  return runTool("seqpar-exec", [&](Processes &processes) {
    CLI::App app("Trains a model with a program that seqpar-run --emit-program has written.",
                 "seqpar-exec");
    std::string path;
    RunOptions options;
    app.add_option("PROGRAM", path, "program file")->required();
    addRunOptions(app, options);
    if (int status = parseCommandLine(app, argc, argv); status >= 0)
      return status;
    ProgramFile file = ProgramFile::fromFile(path);
    resolveDevice(options, file.hasCudaCode());
    train(file, options, deviceFactory(options), {}, &processes);
    return 0;
  });
}
