//===- Compile.cpp - from a model file to a program's bytes ---------------===//
#include "Compile.h"

#include "seqpar/InitAll.h"
#include "seqpar/Transforms/CutPoints.h"
#include "seqpar/rt/Error.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

#include <cctype>
#include <cstdlib>
#include <fstream>

using namespace mlir;

namespace seqpar::tool {

namespace {

/// "models/a.mlir:3:5: message", with the file and line where MLIR gives them.
std::string formatDiagnostic(Diagnostic &diagnostic) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  diagnostic.getLocation()->walk([&](Location location) {
    auto file = dyn_cast<FileLineColLoc>(location);
    if (!file)
      return WalkResult::advance();
    stream << file.getFilename().getValue() << ":" << file.getLine() << ":" << file.getColumn() << ": ";
    return WalkResult::interrupt();
  });
  std::string message = diagnostic.str();
  for (char &c : message)
    c = c == '\n' ? ' ' : c;
  stream << message;
  return text;
}

/// A context whose first error is kept as one line.
class Compiler {
public:
  explicit Compiler(const std::string &path) : path(path) {
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    context.getDiagEngine().registerHandler([this](Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() == DiagnosticSeverity::Error && firstError.empty())
        firstError = formatDiagnostic(diagnostic);
      return success();
    });
  }

  ModuleOp parse() {
    llvm::SourceMgr sources;
    module = parseSourceFile<ModuleOp>(path, sources, ParserConfig(&context));
    if (!module)
      raise("is not a model");
    return *module;
  }

  /// `options` with what this wants to know of a phase that fails.
  CompileOptions observe(CompileOptions options) {
    options.onFailure = [this](StringRef phase, const PhaseFailure &failure) {
      if (firstError.empty())
        firstError = fmt::format("{}: phase {} {} in or after pass {}", path, phase.str(),
                                 failure.kind == PhaseFailure::Crashed ? "crashed" : "failed", failure.pass);
      if (!failure.reproducer.empty())
        firstError += fmt::format("; rerun it with seqpar-opt --run-reproducer {}", failure.reproducer);
      if (failure.kind != PhaseFailure::Crashed)
        return;
      // Nothing of the module may be touched any more.
      fmt::print(stderr, "seqpar-run: error: {}\n", firstError);
      std::_Exit(1);
    };
    return options;
  }

  [[noreturn]] void raise(const std::string &otherwise) {
    if (firstError.empty())
      rt::fail("{}: {}", path, otherwise);
    rt::fail("{}", firstError);
  }

private:
  std::string path;
  MLIRContext context{MLIRContext::Threading::DISABLED};
  OwningOpRef<ModuleOp> module;
  std::string firstError;
};

} // namespace

bool isProgramFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  char head[8] = {};
  if (!file)
    throw rt::UsageError(fmt::format("cannot read {}", path));
  file.read(head, sizeof(head));
  return file.gcount() == sizeof(head) && std::string(head + 4, 4) == "SQPR";
}

std::vector<uint8_t> compileModel(const std::string &path, const CompileOptions &options) {
  Compiler compiler(path);
  FailureOr<std::vector<uint8_t>> bytes = compile(compiler.parse(), compiler.observe(options));
  if (failed(bytes))
    compiler.raise("does not compile");
  return *bytes;
}

std::string compileToText(const std::string &path, const CompileOptions &options, const std::string &last) {
  Compiler compiler(path);
  ModuleOp module = compiler.parse();
  if (failed(runPhases(module, compiler.observe(options), last)))
    compiler.raise("does not compile");
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  return text;
}

int64_t getLongestSequence(const std::string &path) {
  Compiler compiler(path);
  int64_t longest = 0;
  compiler.parse().walk([&](nn::EmbeddingOp embedding) {
    auto input = embedding.getIds().getDefiningOp<nn::InputOp>();
    if (input && input.getKind() == nn::InputKind::Positions)
      longest = cast<RankedTensorType>(embedding.getTable().getType()).getDimSize(0);
  });
  if (longest == 0)
    compiler.raise("has no model with a table of positions");
  return longest;
}

int64_t getMostStages(const std::string &path, CompileOptions options) {
  options.pp = 1;
  options.dumpDirectory.clear();
  Compiler compiler(path);
  ModuleOp module = compiler.parse();
  if (failed(runPhases(module, options, "specialize")))
    compiler.raise("does not compile");
  size_t most = 0;
  for (auto model : module.getOps<nn::ModelOp>())
    most = findCutPoints(model).size() + 1;
  return static_cast<int64_t>(most);
}

} // namespace seqpar::tool
