//===- EmitCpu.cpp - row kernels to native code ---------------------------===//
#include "seqpar/Target/Cpu/EmitCpu.h"

#include "EmitRows.h"
#include "NativeCode.h"

#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "llvm/Transforms/Utils/Cloning.h"

#include <thread>

using namespace mlir;
using namespace seqpar;

void cpu::registerEmitDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect, LLVM::LLVMDialect,
                  math::MathDialect, scf::SCFDialect, vector::VectorDialect>();
}

static void loadEmitDialects(MLIRContext &context) {
  context
      .loadDialect<arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect,
                   LLVM::LLVMDialect, math::MathDialect, scf::SCFDialect, vector::VectorDialect>();
}

/// Processors round f32 to 16 bits, but not f64.
static LogicalResult verifyTypes(Operation *root, const KernelTable &table) {
  for (plan::RowsOp rows : getKernelBodies(root, table))
    for (auto round : rows.getBody().front().getOps<arith::TruncFOp>())
      if (getElementTypeOrSelf(round.getType()).getIntOrFloatBitWidth() == 16 &&
          !getElementTypeOrSelf(round.getIn().getType()).isF32())
        return round.emitOpError("on the CPU, row kernels round f32 to 16 bits, found ")
               << getElementTypeOrSelf(round.getIn().getType());
  return success();
}

static OwningOpRef<ModuleOp> buildFunctions(Operation *root, const KernelTable &table, size_t first,
                                            size_t step) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(root->getLoc());
  OpBuilder builder = OpBuilder::atBlockEnd(module->getBody());
  std::vector<plan::RowsOp> bodies = getKernelBodies(root, table);
  for (size_t i = first; i < bodies.size(); i += step)
    cpu::RowEmitter(builder, table.kernels[i], bodies[i]).emit();
  return module;
}

OwningOpRef<ModuleOp> cpu::buildRowFunctions(Operation *root, const KernelTable &table) {
  loadEmitDialects(*root->getContext());
  return buildFunctions(root, table, 0, 1);
}

namespace {

/// Kernels are compiled in two halves at the same time, each in contexts of its own.
constexpr size_t kChunks = 2;

struct Chunk {
  std::string bytecode;                      ///< of the functions
  std::vector<SmallVector<char, 0>> objects; ///< [target]
  std::string error;
};

void compileChunk(Chunk &chunk, ArrayRef<StringRef> targets) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  loadEmitDialects(context);
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (chunk.error.empty())
      chunk.error = diagnostic.str();
    return success();
  });
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(chunk.bytecode, &context);
  llvm::LLVMContext llvmContext;
  std::unique_ptr<llvm::Module> llvmModule;
  if (module) {
    cpu::expandMath(*module);
    llvmModule = cpu::translateToLlvm(*module, llvmContext);
  }
  if (!llvmModule) {
    if (chunk.error.empty())
      chunk.error = "the row kernels cannot be translated to LLVM";
    return;
  }
  chunk.objects.resize(targets.size());
  for (auto [i, target] : llvm::enumerate(targets)) {
    std::unique_ptr<llvm::Module> copy = llvm::CloneModule(*llvmModule);
    if (!cpu::compileToObject(*copy, target, chunk.objects[i], chunk.error))
      return;
  }
}

} // namespace

static std::vector<Chunk> compileChunks(Operation *root, const KernelTable &table,
                                        ArrayRef<StringRef> targets) {
  std::vector<Chunk> chunks(std::min(kChunks, table.kernels.size()));
  for (auto [i, chunk] : llvm::enumerate(chunks)) {
    OwningOpRef<ModuleOp> module = buildFunctions(root, table, i, chunks.size());
    llvm::raw_string_ostream stream(chunk.bytecode);
    if (failed(writeBytecodeToFile(*module, stream)))
      chunk.error = "the row kernels cannot be written as bytecode";
  }
  std::vector<std::thread> threads;
  for (Chunk &chunk : chunks)
    threads.emplace_back([&] { compileChunk(chunk, targets); });
  for (std::thread &thread : threads)
    thread.join();
  return chunks;
}

LogicalResult cpu::emitCpu(Operation *root, KernelTable &table, ArrayRef<StringRef> targets,
                           const Options &options) {
  for (StringRef target : targets)
    if (!llvm::is_contained(kTargets, target))
      return root->emitError("expected a CPU target among x86-64-v4 and x86-64-v3, found ")
             << target;
  if (table.kernels.empty())
    return success();
  if (failed(verifyTypes(root, table)))
    return failure();
  loadEmitDialects(*root->getContext());
  std::vector<Chunk> chunks = compileChunks(root, table, targets);
  for (const Chunk &chunk : chunks)
    if (!chunk.error.empty())
      return root->emitError() << chunk.error;
  for (auto [i, target] : llvm::enumerate(targets)) {
    std::vector<SmallVector<char, 0>> objects;
    for (Chunk &chunk : chunks)
      objects.push_back(std::move(chunk.objects[i]));
    CpuObject object{target.str(), {}};
    std::string error;
    if (!linkObjects(objects, options.linker, object.object, error))
      return root->emitError() << error;
    table.cpu.push_back(std::move(object));
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {

struct EmitCpuKernels : PassWrapper<EmitCpuKernels, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitCpuKernels)

  StringRef getArgument() const override { return "emit-cpu-kernels"; }
  StringRef getDescription() const override {
    return "Replace a module with the functions of its row kernels, as vector code for the host";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    cpu::registerEmitDialects(registry);
  }

  void runOnOperation() override {
    FailureOr<KernelTable> table = collectKernels(getOperation());
    if (failed(table) || failed(verifyTypes(getOperation(), *table)))
      return signalPassFailure();
    OwningOpRef<ModuleOp> functions = cpu::buildRowFunctions(getOperation(), *table);
    getOperation().getBodyRegion().takeBody(functions->getBodyRegion());
  }
};

} // namespace

void cpu::registerPasses() { PassRegistration<EmitCpuKernels>(); }
