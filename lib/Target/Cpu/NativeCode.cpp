//===- NativeCode.cpp - LLVM to a shared object ---------------------------===//
#include "NativeCode.h"

#include "llvm/IR/LegacyPassManager.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

#include <mutex>

using namespace llvm;
using namespace seqpar;

static std::unique_ptr<TargetMachine> makeTargetMachine(StringRef target, std::string &error) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
  });
  Triple triple("x86_64-unknown-linux-gnu");
  const Target *found = TargetRegistry::lookupTarget(triple, error);
  if (!found)
    return nullptr;
  TargetOptions options;
  options.AllowFPOpFusion = FPOpFusion::Fast;
  return std::unique_ptr<TargetMachine>(
      found->createTargetMachine(triple, target, /*Features=*/"", options, Reloc::PIC_,
                                 std::nullopt, CodeGenOptLevel::Aggressive));
}

/// No call to a library may come into being: a loop that clears a row stays a loop.
static void setAttributes(Module &module, StringRef target) {
  for (Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr(Attribute::NoUnwind);
    function.addFnAttr("no-builtins");
    function.addFnAttr("target-cpu", target);
    if (target == "x86-64-v4") {
      function.addFnAttr("prefer-vector-width", "512");
      function.addFnAttr("min-legal-vector-width", "512");
    }
  }
}

/// The code is vectorised already.
static void optimize(Module &module, TargetMachine &machine) {
  PipelineTuningOptions tuning;
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  PassBuilder builder(&machine, tuning);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager graphs;
  ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O3).run(module, modules);
}

bool cpu::compileToObject(Module &module, StringRef target, SmallVectorImpl<char> &object,
                          std::string &error) {
  std::unique_ptr<TargetMachine> machine = makeTargetMachine(target, error);
  if (!machine)
    return false;
  module.setTargetTriple(machine->getTargetTriple());
  module.setDataLayout(machine->createDataLayout());
  setAttributes(module, target);
  optimize(module, *machine);
  raw_svector_ostream stream(object);
  legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, CodeGenFileType::ObjectFile)) {
    error = "LLVM cannot write objects for " + target.str();
    return false;
  }
  passes.run(module);
  return true;
}

//===----------------------------------------------------------------------===//
// Linking
//===----------------------------------------------------------------------===//

static std::string findLinker(StringRef wanted) {
  if (!wanted.empty())
    return wanted.str();
  if (sys::fs::can_execute(SEQPAR_LINKER))
    return SEQPAR_LINKER;
  for (const char *name : {"ld.lld-22", "ld.lld"})
    if (ErrorOr<std::string> path = sys::findProgramByName(name))
      return *path;
  return "";
}

static bool writeFile(StringRef path, ArrayRef<char> bytes) {
  std::error_code code;
  raw_fd_ostream stream(path, code);
  if (code)
    return false;
  stream.write(bytes.data(), bytes.size());
  stream.close();
  if (!stream.has_error())
    return true;
  stream.clear_error();
  return false;
}

bool cpu::linkObjects(ArrayRef<SmallVector<char, 0>> objects, StringRef linker,
                      std::vector<uint8_t> &image, std::string &error) {
  std::string program = findLinker(linker);
  if (program.empty() || !sys::fs::can_execute(program)) {
    error = "expected the linker lld at " +
            (program.empty() ? std::string(SEQPAR_LINKER) : program) +
            ", found nothing to run there; install lld 22";
    return false;
  }
  SmallString<128> directory;
  if (std::error_code code = sys::fs::createUniqueDirectory("seqpar-kernels", directory)) {
    error = "cannot make a temporary directory for the row kernels: " + code.message();
    return false;
  }
  std::string base = directory.str().str();
  std::vector<std::string> paths;
  std::vector<StringRef> arguments = {program,           "-shared",     "-z", "defs",
                                      "--build-id=none", "--strip-all", "-o"};
  std::string output = base + "/kernels.so", messages = base + "/messages";
  arguments.push_back(output);
  bool good = true;
  for (auto [i, object] : enumerate(objects)) {
    paths.push_back(base + "/" + std::to_string(i) + ".o");
    good = good && writeFile(paths.back(), object);
  }
  arguments.insert(arguments.end(), paths.begin(), paths.end());
  if (good) {
    std::optional<StringRef> redirects[] = {StringRef(""), StringRef(messages),
                                            StringRef(messages)};
    int status = sys::ExecuteAndWait(program, arguments, std::nullopt, redirects, 60, 0, &error);
    auto result = MemoryBuffer::getFile(output, /*IsText=*/false, /*RequiresNullTerminator=*/false);
    good = status == 0 && result;
    if (good) {
      image.assign((*result)->getBuffer().bytes_begin(), (*result)->getBuffer().bytes_end());
    } else if (error.empty()) {
      auto text = MemoryBuffer::getFile(messages);
      StringRef line = text ? (*text)->getBuffer().split('\n').first : StringRef();
      error = program + " failed with status " + std::to_string(status) +
              (line.empty() ? "" : ": " + line.str());
    }
  } else {
    error = "cannot write the row kernels' objects to " + base;
  }
  sys::fs::remove_directories(base);
  return good;
}
