//===- Reproducer.cpp - phases that fail, as files to run again -----------===//
#include "seqpar/Pipelines/Reproducer.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassInstrumentation.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;
using namespace seqpar;

namespace {

/// Remembers the last pass that began.
class LastPass : public PassInstrumentation {
public:
  explicit LastPass(std::string &name) : name(name) {}
  void runBeforePass(Pass *pass, Operation *) override {
    if (!pass->getArgument().empty()) // not the adaptors between nested pipelines
      name = pass->getArgument().str();
  }

private:
  std::string &name;
};

} // namespace

static PhaseFailure::Kind classify(bool finished, bool passed, StringRef lastPass) {
  if (!finished)
    return PhaseFailure::Crashed;
  return passed || lastPass.starts_with("verify-") ? PhaseFailure::Invalid : PhaseFailure::Refused;
}

/// An old file must not pass for the new one that cannot be written. What is no file of its own (a
/// link, a pipe) stays.
static void removeOld(StringRef file) {
  llvm::sys::fs::file_status status;
  if (!llvm::sys::fs::status(file, status, /*follow=*/false) &&
      status.type() == llvm::sys::fs::file_type::regular_file)
    llvm::sys::fs::remove(file);
}

std::optional<PhaseFailure> seqpar::runPhase(PassManager &manager, ModuleOp module,
                                             StringRef path) {
  PhaseFailure failure;
  OwningOpRef<ModuleOp> before = module.clone();
  manager.enableVerifier(false);
  manager.addInstrumentation(std::make_unique<LastPass>(failure.pass));
  bool passed = false, valid = false;
  llvm::CrashRecoveryContext::Enable();
  llvm::CrashRecoveryContext recovery;
  bool finished = recovery.RunSafelyOnThread([&] {
    passed = succeeded(manager.run(module));
    valid = passed && succeeded(verify(module));
  });
  llvm::CrashRecoveryContext::Disable(); // signals of what comes after are not ours
  if (finished && valid)
    return std::nullopt;
  failure.kind = classify(finished, passed, failure.pass);
  if (path.empty() && failure.kind == PhaseFailure::Refused)
    return failure;
  // Run again, it verifies after each pass: which one it was is what one wants to know.
  std::string file = path.empty() ? kReproducerName.str() : path.str();
  removeOld(file);
  makeReproducer(ModuleOp::getOperationName(), manager.getPasses(), *before, file,
                 /*disableThreads=*/true, /*verifyPasses=*/true);
  if (llvm::sys::fs::exists(file))
    failure.reproducer = file;
  return failure;
}
