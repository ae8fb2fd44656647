//===- seqpar-run.cpp - trains a model ------------------------------------===//
//
// Compiles a model file for the grid asked for, or loads a program, and hands it to the runtime.
//
//===----------------------------------------------------------------------===//
#include "Compile.h"

#include "seqpar/Target/Cuda/EmitCuda.h"
#include "seqpar/Target/Cuda/ImageCache.h"
#include "seqpar/rt/AtomicFile.h"
#include "seqpar/rt/Error.h"
#include "seqpar/rt/Processes.h"
#include "seqpar/rt/ProgramFile.h"
#include "seqpar/rt/RunOptions.h"
#include "seqpar/rt/Safetensors.h"
#include "seqpar/rt/Trainer.h"

#include <CLI/CLI.hpp>

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>

using namespace seqpar;

namespace {

/// Options that decide what is compiled. Those of a batch are 0 until they are known.
struct Options {
  std::string model;
  CompileOptions compile;
  int64_t microBatch = 0, globalBatch = 0, seqLength = 0;
  std::string recompute = "rows", emitProgram, compileTo;
  bool listPhases = false;
  rt::RunOptions run;
};

[[noreturn]] void usage(const std::string &message) { throw rt::UsageError(message); }

void addCompileOptions(CLI::App &app, Options &options) {
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  auto add = [&](const char *name, int64_t &value, const char *help) {
    app.add_option(name, value, help)->check(CLI::Range(int64_t(1), most))->group("Compile")->capture_default_str();
  };
  add("--sp", options.compile.sp, "sequence-parallel ranks");
  add("--pp", options.compile.pp, "pipeline stages");
  add("--dp", options.compile.dp, "data-parallel replicas");
  add("--micro-batch", options.microBatch, "samples of one micro-batch and replica (default: all of the replica's; with pipeline stages as many as "
                       "leave two micro-batches a stage)");
  add("--global-batch", options.globalBatch, "samples of one step over all replicas (default: 16)");
  add("--seq-length", options.seqLength, "positions of one sample (default: 128, or what the model has if less)");
  add("--mlm-chunk", options.compile.chunk, "masked positions that the MLM head computes at a time");
  app.add_option("--dtype", options.compile.dtype,
                 "what activations are stored in: fp32, bf16, or fp16 with a dynamic loss scale; arithmetic, parameters and "
                 "gradients are fp32")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}))->group("Compile")->capture_default_str();
  app.add_option("--dropout", options.compile.dropout, "dropout rate")
      ->check(CLI::Range(0.0, 0.99))->group("Compile")->capture_default_str();
  app.add_option("--zero", options.compile.zero,
                 "1: the ranks of a stage share the optimiser's state and its work (ZeRO-1); 0: each rank does it all")
      ->check(CLI::IsMember({"0", "1"}))->group("Compile")->capture_default_str();
  app.add_option("--bucket-bytes", options.compile.bucketBytes,
                 "bytes of gradients that are reduced together, as soon as they are complete; 0: no limit")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 40))->group("Compile")->capture_default_str();
  app.add_option("--attention", options.compile.attention, "exchange of keys and values: ring or all-gather")
      ->check(CLI::IsMember({"ring", "all-gather"}))->group("Compile")->capture_default_str();
  app.add_option("--schedule", options.compile.schedule,
                 "order of micro-batches in a pipeline: 1f1b, or gpipe (all forwards first)")
      ->check(CLI::IsMember({"1f1b", "gpipe"}))->group("Compile")->capture_default_str();
  app.add_option("--recompute", options.recompute,
                 "rows: cheap values are computed again in the backward instead of being kept; or none")
      ->check(CLI::IsMember({"rows", "none"}))->group("Compile")->capture_default_str();
  app.add_option("--emit-program", options.emitProgram, "write the compiled program to this file")->group("Compile");
  app.add_option("--compile-to", options.compileTo, "print the model after this phase and stop")->group("Compile");
  app.add_option("--dump-phases-to", options.compile.dumpDirectory, "write the model after each phase to this directory")
      ->group("Compile");
  app.add_option("--reproducer", options.compile.reproducer,
                 "write a phase that fails to this file, for seqpar-opt --run-reproducer (default: only one that is not "
                 "the model's or the options' fault, to seqpar-reproducer.mlir)")
      ->group("Compile");
  app.add_flag("--list-phases", options.listPhases, "print the phases and what holds after each, and stop")
      ->group("Compile");
}

/// Batch and sequence length of a file of batches.
void readBatchShape(Options &options) {
  rt::SafetensorsFile file(options.run.batchFrom);
  const rt::Tensor *tokens = file.find("batch.0.tokens");
  if (!tokens || tokens->shape.size() != 2)
    rt::fail("{}: expected a tensor batch.0.tokens of shape [batch, seq]", file.path());
  auto agree = [&](int64_t &option, int64_t found, const char *name) {
    if (option && option != found)
      usage(fmt::format("{}={} does not fit {}, which has {}", name, option, file.path(), found));
    option = found;
  };
  agree(options.globalBatch, tokens->shape[0], "--global-batch");
  agree(options.seqLength, tokens->shape[1], "--seq-length");
}

/// Every divisor of n up to the limit, as "1, 2, 4".
std::string divisorsOf(int64_t n) {
  std::string text;
  for (int64_t d = 1; d <= n && text.size() < 60; ++d)
    if (n % d == 0)
      text += (text.empty() ? "" : ", ") + std::to_string(d);
  return text;
}

/// All of a replica's samples, or, with a pipeline, the most that leave each stage two micro-batches: then at most a
/// third of a step passes while the pipeline fills and empties, if the samples suffice.
int64_t defaultMicroBatch(int64_t samples, int64_t stages) {
  if (stages == 1)
    return samples;
  int64_t size = std::max<int64_t>(1, samples / (2 * stages));
  while (samples % size)
    --size;
  return size;
}

void resolveBatch(Options &options) {
  if (!options.run.batchFrom.empty())
    readBatchShape(options);
  if (!options.seqLength)
    options.seqLength = std::min<int64_t>(128, tool::getLongestSequence(options.model));
  CompileOptions &compile = options.compile;
  if (!options.globalBatch)
    options.globalBatch = options.microBatch ? options.microBatch * compile.dp : std::max<int64_t>(16, compile.dp);
  if (options.globalBatch % compile.dp)
    usage(fmt::format("--dp={} does not divide the global batch of {}; possible: {}", compile.dp, options.globalBatch,
                      divisorsOf(options.globalBatch)));
  int64_t perReplica = options.globalBatch / compile.dp;
  compile.microBatch = options.microBatch ? options.microBatch : defaultMicroBatch(perReplica, compile.pp);
  if (perReplica % compile.microBatch)
    usage(fmt::format("--micro-batch={} does not divide the {} samples of a replica; possible: {}", compile.microBatch,
                      perReplica, divisorsOf(perReplica)));
  compile.microBatches = perReplica / compile.microBatch;
  compile.seqLength = options.seqLength;
  if (compile.sp > compile.seqLength)
    usage(fmt::format("--sp={} exceeds the sequence of {} positions; each rank needs at least one", compile.sp,
                      compile.seqLength));
  if (compile.sp > 64)
    usage(fmt::format("--sp={}: expected at most 64", compile.sp));
  if (compile.pp > 1)
    if (int64_t most = tool::getMostStages(options.model, compile); compile.pp > most)
      usage(fmt::format("--pp={}: {} can be cut into at most {} pipeline stages", compile.pp, options.model, most));
}

void checkPhase(const std::string &name) {
  std::string known;
  for (const Phase &phase : getPhases()) {
    if (phase.name == "emit")
      continue;
    if (phase.name == name)
      return;
    known += (known.empty() ? "" : ", ") + phase.name.str();
  }
  usage(fmt::format("--compile-to={}: expected one of {}", name, known));
}

/// Nothing when MODEL is a model's text.
std::optional<rt::ProgramFile> loadProgram(const Options &options) {
  if (!tool::isProgramFile(options.model))
    return {};
  if (!options.emitProgram.empty() || !options.compileTo.empty())
    usage(fmt::format("--{}: {} is a compiled program already",
                      options.emitProgram.empty() ? "compile-to" : "emit-program", options.model));
  return rt::ProgramFile::fromFile(options.model);
}

rt::ProgramFile compileProgram(Options &options, bool writes) {
  resolveBatch(options);
  if (options.run.device == "cuda") {
    options.compile.cudaArchitectures.assign(std::begin(cuda::kArchitectures), std::end(cuda::kArchitectures));
    options.compile.cudaImageCache = cuda::getDefaultImageCache();
  }
  auto start = std::chrono::steady_clock::now();
  std::vector<uint8_t> bytes = tool::compileModel(options.model, options.compile);
  if (options.run.device == "cuda" && writes)
    fmt::print("compiled for cuda ({}) with NVRTC {} in {:.1f} s\n", fmt::join(options.compile.cudaArchitectures, ", "),
               cuda::getNvrtcVersion(), std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  rt::ProgramFile program = rt::ProgramFile::fromBytes(bytes, options.model);
  if (!options.emitProgram.empty() && writes) {
    rt::AtomicFile file(options.emitProgram);
    file.write(bytes.data(), bytes.size());
    file.commit();
  }
  return program;
}

int run(Options &options, rt::Processes &processes) {
  if (options.listPhases) {
    for (const Phase &phase : getPhases())
      fmt::print("{:<14} {}\n", phase.name.str(), phase.promise.str());
    return 0;
  }
  if (options.model.empty())
    usage("MODEL is required: a model file or a program");
  rt::checkRunOptions(options.run);
  options.compile.recompute = options.recompute == "rows";
  if (!options.compileTo.empty() && !tool::isProgramFile(options.model)) {
    checkPhase(options.compileTo);
    resolveBatch(options);
    fmt::print("{}", tool::compileToText(options.model, options.compile, options.compileTo));
    return 0;
  }
  std::string noCompiler;
  std::optional<rt::ProgramFile> program = loadProgram(options);
  rt::resolveDevice(options.run, program ? program->hasCudaCode() : cuda::hasNvrtc(noCompiler));
  rt::DeviceFactory factory = rt::deviceFactory(options.run);
  // Every process compiles, to the same bytes: that takes no longer than sending them, and shows that it is so.
  if (!processes.isFirst())
    options.compile.dumpDirectory.clear();
  if (!program)
    program = compileProgram(options, processes.isFirst());
  rt::train(*program, options.run, factory, {}, &processes);
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  return rt::runTool("seqpar-run", [&](rt::Processes &processes) {
    CLI::App app("Compiles a model for a grid of ranks and trains it; with a program, trains at once.", "seqpar-run");
    Options options;
    app.add_option("MODEL", options.model, "model file (.mlir), or program written by --emit-program");
    addCompileOptions(app, options);
    rt::addRunOptions(app, options.run);
    if (int status = rt::parseCommandLine(app, argc, argv); status >= 0)
      return status;
    return run(options, processes);
  });
}
