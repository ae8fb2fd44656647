//===- ReproducerTest.cpp - phases that fail, as files to run again -------===//
#include "seqpar/InitAll.h"
#include "seqpar/Pipelines/Pipelines.h"
#include "seqpar/Transforms/Passes.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace mlir;
using namespace seqpar;
using testing::HasSubstr;
using testing::Not;

namespace {

enum class Behaviour { Works, Refuses, Breaks, BreaksItsPromise, Aborts };

/// Renames the module, then does what it is told to.
struct TestPass : PassWrapper<TestPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TestPass)

  explicit TestPass(Behaviour behaviour) : behaviour(behaviour) {}
  TestPass(const TestPass &) = default;

  StringRef getArgument() const override {
    return behaviour == Behaviour::BreaksItsPromise ? "verify-test" : "test";
  }

  void runOnOperation() override {
    getOperation().setSymName("after");
    switch (behaviour) {
    case Behaviour::Works:
      return;
    case Behaviour::Refuses:
    case Behaviour::BreaksItsPromise:
      getOperation().emitError("refused");
      return signalPassFailure();
    case Behaviour::Breaks: { // an op of the module's body that must be in a program
      OpBuilder builder = OpBuilder::atBlockEnd(getOperation().getBody());
      plan::MicroBatchOp::create(builder, getOperation().getLoc());
      return;
    }
    case Behaviour::Aborts:
      std::abort();
    }
  }

  Behaviour behaviour;
};

class Reproducer : public testing::Test {
protected:
  void SetUp() override {
    folder = std::filesystem::path(testing::TempDir()) / "seqpar-reproducer-test";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    before = std::filesystem::current_path();
    std::filesystem::current_path(folder);
  }
  void TearDown() override {
    std::filesystem::current_path(before);
    std::filesystem::remove_all(folder);
  }

  std::optional<PhaseFailure> run(Behaviour behaviour, StringRef path = "") {
    DialectRegistry registry;
    registerAllDialects(registry);
    // Of a crash everything is left as it is.
    auto *context = new MLIRContext(registry, MLIRContext::Threading::DISABLED);
    context->loadAllAvailableDialects();
    context->getDiagEngine().registerHandler([&](Diagnostic &diagnostic) {
      errors += diagnostic.str() + "\n";
      return success();
    });
    ModuleOp module = parseSourceString<ModuleOp>("module @original {}", context).release();
    auto manager = PassManager::on<ModuleOp>(context);
    manager.addPass(std::make_unique<TestPass>(behaviour));
    std::optional<PhaseFailure> failure = runPhase(manager, module, path);
    if (!failure || failure->kind != PhaseFailure::Crashed) {
      module.erase();
      delete context;
    }
    return failure;
  }

  /// While it lives, no file can be opened.
  class NoFiles {
  public:
    NoFiles() {
      getrlimit(RLIMIT_NOFILE, &before);
      rlimit none = {0, before.rlim_max};
      setrlimit(RLIMIT_NOFILE, &none);
    }
    ~NoFiles() { setrlimit(RLIMIT_NOFILE, &before); }

  private:
    rlimit before = {};
  };

  static std::string read(const std::string &path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  std::filesystem::path folder, before;
  std::string errors;
};

TEST_F(Reproducer, NothingIsLeftWhenAllWorks) {
  EXPECT_FALSE(run(Behaviour::Works));
  EXPECT_FALSE(run(Behaviour::Works, "named.mlir"));
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST_F(Reproducer, NothingIsLeftOfWhatAPassRefuses) {
  std::optional<PhaseFailure> failure = run(Behaviour::Refuses);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind, PhaseFailure::Refused);
  EXPECT_EQ(failure->pass, "test");
  EXPECT_EQ(errors, "refused\n");
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST_F(Reproducer, HoldsTheModuleBeforeAndThePasses) {
  std::optional<PhaseFailure> failure = run(Behaviour::Refuses, "named.mlir");
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->reproducer, "named.mlir");
  EXPECT_THAT(read("named.mlir"), HasSubstr("module @original"));
  EXPECT_THAT(read("named.mlir"), Not(HasSubstr("after")));
  EXPECT_THAT(read("named.mlir"), HasSubstr("pipeline: \"builtin.module(test)\""));
  EXPECT_THAT(read("named.mlir"), HasSubstr("verify_each: true"));
}

TEST_F(Reproducer, IsLeftOfAResultThatDoesNotVerify) {
  std::optional<PhaseFailure> failure = run(Behaviour::Breaks);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind, PhaseFailure::Invalid);
  EXPECT_THAT(errors, HasSubstr("expects parent op 'plan.stage'"));
  EXPECT_EQ(failure->reproducer, kReproducerName);
  EXPECT_THAT(read(failure->reproducer), HasSubstr("module @original"));
}

TEST_F(Reproducer, IsLeftOfABrokenPromise) {
  std::optional<PhaseFailure> failure = run(Behaviour::BreaksItsPromise);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind, PhaseFailure::Invalid);
  EXPECT_TRUE(std::filesystem::exists(kReproducerName.str()));
}

TEST_F(Reproducer, IsLeftOfACrash) {
  std::optional<PhaseFailure> failure = run(Behaviour::Aborts);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind, PhaseFailure::Crashed);
  EXPECT_EQ(failure->pass, "test");
  EXPECT_THAT(read(kReproducerName.str()), HasSubstr("module @original"));
  failure = run(Behaviour::Aborts, "named.mlir");
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->reproducer, "named.mlir");
}

TEST_F(Reproducer, AnOldOneDoesNotPassForOneThatCannotBeWritten) {
  std::ofstream("named.mlir") << "old";
  std::optional<PhaseFailure> failure;
  {
    NoFiles noFiles;
    failure = run(Behaviour::BreaksItsPromise, "named.mlir");
  }
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind, PhaseFailure::Invalid);
  EXPECT_EQ(failure->reproducer, "");
  EXPECT_FALSE(std::filesystem::exists("named.mlir"));
}

} // namespace
