//===- Pipelines.cpp - the phases as pass pipelines -----------------------===//
#include "seqpar/Pipelines/Pipelines.h"

#include "seqpar/Transforms/Passes.h"

#include "mlir/Pass/PassRegistry.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
using namespace seqpar;

static constexpr Phase kPhases[] = {
    {"specialize", "all shapes are static, layers are unrolled, cuts between stages are marked"},
    {"differentiate", "a step: forward, backward and update; each parameter has one gradient"},
    {"shard", "every value has a layout and every use matches it; no partial gradient reaches the optimiser"},
    {"ring", "no attention over a split axis is left"},
    {"stage", "each pipeline stage is closed but for sends and receives"},
    {"plan", "one rank's ops on buffers of a static arena; no two live buffers overlap, no exchange waits for ever"},
    {"emit", "kernels are compiled and the program file verifies"},
};

ArrayRef<Phase> seqpar::getPhases() { return kPhases; }

static void buildSpecialize(OpPassManager &manager, const CompileOptions &options) {
  BindShapesOptions bind;
  bind.batch = options.microBatch * options.dp;
  bind.seqLength = options.seqLength;
  bind.dropout = options.dropout;
  bind.chunk = options.chunk;
  manager.addPass(createBindShapes(bind));
  manager.addPass(createUnrollLayers());
  MarkCutsOptions cuts;
  cuts.stages = options.pp;
  manager.addPass(createMarkCuts(cuts));
}

static void buildShard(OpPassManager &manager, const CompileOptions &options) {
  AssignLayoutsOptions grid;
  grid.dp = options.dp;
  grid.pp = options.pp;
  grid.sp = options.sp;
  OpPassManager &step = manager.nest<nn::StepOp>();
  step.addPass(createAssignLayouts(grid));
  step.addPass(createInsertCollectives());
  step.addPass(createVerifyLayouts());
}

static void buildPlan(OpPassManager &manager, const CompileOptions &options) {
  LocalizeOptions update;
  update.zero = options.zero;
  update.bucketBytes = options.bucketBytes;
  update.lossScale = options.dtype == "fp16";
  manager.addPass(createLocalize(update));
  OrderTurnsOptions order;
  order.schedule = options.schedule;
  order.microBatches = options.microBatches;
  manager.addPass(createOrderTurns(order));
  if (options.dtype != "fp32") {
    MixedPrecisionOptions precision;
    precision.dtype = options.dtype;
    manager.addPass(createMixedPrecision(precision));
  }
  if (options.recompute)
    manager.addPass(createRecomputeRows());
  if (options.epilogues || !options.cudaArchitectures.empty())
    manager.addPass(createFuseEpilogues());
  manager.addPass(createFuseRows());
  manager.addPass(createOverlap());
  manager.addPass(createBufferize());
  manager.addPass(createAssignSegments());
  manager.addPass(createStartReductions());
  manager.addPass(createAssignArena());
  manager.addPass(createVerifyPlan());
  manager.addPass(createVerifyCommunication());
}

void seqpar::buildPhase(OpPassManager &manager, StringRef phase, const CompileOptions &options) {
  if (phase == "specialize") {
    buildSpecialize(manager, options);
  } else if (phase == "differentiate") {
    manager.addPass(createDifferentiate());
    manager.addPass(createInsertOptimizer());
  } else if (phase == "shard") {
    buildShard(manager, options);
  } else if (phase == "ring") {
    LowerAttentionOptions attention;
    attention.strategy = options.attention;
    manager.nest<nn::StepOp>().addPass(createLowerAttention(attention));
  } else if (phase == "stage") {
    manager.addPass(createCutStages());
  } else if (phase == "plan") {
    buildPlan(manager, options);
  }
}

/// Writes the module to DIRECTORY/NN-PHASE.mlir.
static LogicalResult dumpPhase(ModuleOp module, StringRef directory, unsigned number, StringRef phase) {
  llvm::SmallString<128> path(directory);
  if (std::error_code error = llvm::sys::fs::create_directories(directory))
    return module.emitError("cannot make directory ") << directory << ": " << error.message();
  llvm::sys::path::append(path, llvm::formatv("{0:d2}-{1}.mlir", number, phase).str());
  std::string message;
  std::unique_ptr<llvm::ToolOutputFile> file = openOutputFile(path, &message);
  if (!file)
    return module.emitError(message);
  module.print(file->os());
  file->keep();
  return success();
}

LogicalResult seqpar::runPhases(ModuleOp module, const CompileOptions &options, StringRef last) {
  for (auto [number, phase] : llvm::enumerate(kPhases)) {
    if (phase.name == "emit")
      break;
    auto manager = PassManager::on<ModuleOp>(module.getContext());
    buildPhase(manager, phase.name, options);
    if (std::optional<PhaseFailure> failed = runPhase(manager, module, options.reproducer)) {
      if (options.onFailure)
        options.onFailure(phase.name, *failed);
      return failure();
    }
    if (!options.dumpDirectory.empty() && failed(dumpPhase(module, options.dumpDirectory, number + 1, phase.name)))
      return failure();
    if (phase.name == last)
      break;
  }
  return success();
}

FailureOr<std::vector<uint8_t>> seqpar::compile(ModuleOp module, const CompileOptions &options) {
  if (failed(runPhases(module, options, "plan")))
    return failure();
  return emitProgram(module, options);
}

//===----------------------------------------------------------------------===//
// For seqpar-opt
//===----------------------------------------------------------------------===//

namespace {
struct PhaseOptions : PassPipelineOptions<PhaseOptions> {
  Option<int64_t> dp{*this, "dp", llvm::cl::init(1), llvm::cl::desc("data-parallel replicas")};
  Option<int64_t> pp{*this, "pp", llvm::cl::init(1), llvm::cl::desc("pipeline stages")};
  Option<int64_t> sp{*this, "sp", llvm::cl::init(1), llvm::cl::desc("sequence-parallel ranks")};
  Option<int64_t> batch{*this, "batch", llvm::cl::init(1), llvm::cl::desc("samples of one micro-batch")};
  Option<int64_t> microBatches{*this, "micro-batches", llvm::cl::init(1),
                               llvm::cl::desc("micro-batches of one step and replica")};
  Option<bool> recompute{*this, "recompute", llvm::cl::init(true),
                         llvm::cl::desc("compute cheap values again in the backward")};
  Option<bool> epilogues{*this, "epilogues", llvm::cl::init(false),
                         llvm::cl::desc("products add biases and apply GeLU, as plans for CUDA have it")};
  Option<std::string> schedule{*this, "schedule", llvm::cl::init("1f1b"), llvm::cl::desc("1f1b or gpipe")};
  Option<int64_t> seqLength{*this, "seq-length", llvm::cl::init(128), llvm::cl::desc("positions of one sample")};
  Option<int64_t> chunk{*this, "chunk", llvm::cl::init(128), llvm::cl::desc("masked rows computed at a time")};
  Option<double> dropout{*this, "dropout", llvm::cl::init(0.0), llvm::cl::desc("dropout rate")};
  Option<std::string> dtype{*this, "dtype", llvm::cl::init("fp32"), llvm::cl::desc("fp32, bf16 or fp16")};
  Option<std::string> attention{*this, "attention", llvm::cl::init("ring"), llvm::cl::desc("ring or all-gather")};
  Option<bool> zero{*this, "zero", llvm::cl::init(true), llvm::cl::desc("share the update over dp and sp")};
  Option<int64_t> bucketBytes{*this, "bucket-bytes", llvm::cl::init(25 << 20),
                              llvm::cl::desc("bytes of gradients that are reduced together; 0: no limit")};

  CompileOptions get() const {
    CompileOptions options;
    options.dp = dp;
    options.pp = pp;
    options.sp = sp;
    options.microBatch = batch;
    options.microBatches = microBatches;
    options.recompute = recompute;
    options.schedule = schedule;
    options.seqLength = seqLength;
    options.chunk = chunk;
    options.dropout = dropout;
    options.dtype = dtype;
    options.epilogues = epilogues;
    options.attention = attention;
    options.zero = zero;
    options.bucketBytes = bucketBytes;
    return options;
  }
};
} // namespace

void seqpar::registerPhases() {
  for (const Phase &phase : kPhases)
    if (phase.name != "emit")
      new PassPipelineRegistration<PhaseOptions>( // registers itself for the life of the program
          ("phase-" + phase.name).str(), phase.promise,
          [&phase](OpPassManager &manager, const PhaseOptions &options) {
            buildPhase(manager, phase.name, options.get());
          });
}
