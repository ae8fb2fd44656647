//===- ProgramTest.cpp - programs for CUDA, run without a GPU -------------===//
//
// A model compiled for CUDA is trained by the CUDA runtime on the stand-in for the driver. Its row
// kernels are the program's own text, compiled for the host; attention and products are the CPU's.
// The numbers must be those of the same program on the CPU.
//
//===----------------------------------------------------------------------===//
#include "CudaTest.h"
#include "HostRowKernels.h"

#include "seqpar/InitAll.h"
#include "seqpar/Pipelines/Pipelines.h"
#include "seqpar/Target/Cuda/EmitCuda.h"
#include "seqpar/rt/Safetensors.h"
#include "seqpar/rt/Trainer.h"

#include "mlir/Parser/Parser.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <mutex>

namespace seqpar::rt::test {

namespace {

using ::seqpar::test::HostRowKernels;
using program::Access;
using OperandTable = flatbuffers::Vector<flatbuffers::Offset<program::KernelOperand>>;

size_t bytesOf(const program::KernelOperand &operand, int64_t rows) {
  bool isRows = operand.access() == Access::Row || operand.access() == Access::RowScalar;
  return size_t(operand.columns()) * (operand.type() == program::DataType::F64 ? 8 : 4) *
         size_t(isRows ? rows : 1);
}

/// What a launch of a row kernel touches, for the race check; of tables the first row.
std::vector<fakecuda::Access> listAccesses(const program::Kernel &kernel,
                                           const fakecuda::Launch &launch) {
  size_t operands = kernel.operands()->size();
  int64_t rows = launch.argument<long long>(operands);
  bool isSums = launch.kernel.ends_with("_sums");
  std::vector<fakecuda::Access> accesses;
  for (unsigned i = 0; i < operands; ++i) {
    const program::KernelOperand &operand = *kernel.operands()->Get(i);
    bool writes = operand.output() && isSums == (operand.access() == Access::SumRows);
    if (!isSums || writes || operand.access() == Access::Row)
      accesses.push_back({launch.argument<void *>(i), bytesOf(operand, rows), writes});
  }
  const program::CudaLaunch &first = *kernel.cuda()->launches()->Get(0);
  int64_t blocks = 0;
  if (first.rows_per_block() > 0)
    blocks = std::min<int64_t>((rows + first.rows_per_block() - 1) / first.rows_per_block(),
                               first.blocks());
  size_t workspace = size_t(rows) * kernel.cuda()->row_bytes() +
                     size_t(blocks * first.rows_per_block()) * kernel.cuda()->part_bytes();
  if (workspace)
    accesses.push_back({launch.argument<void *>(operands + 1), workspace, !isSums});
  return accesses;
}

/// The text's functions keep one launch's state at a time.
void runOnHost(HostRowKernels::Launch function, const fakecuda::Launch &launch) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  std::vector<std::vector<unsigned char>> values = launch.arguments;
  std::vector<void *> parameters;
  for (auto &value : values)
    parameters.push_back(value.data());
  if (const char *error =
          function(launch.grid, launch.block, launch.sharedBytes, parameters.data(), 0))
    fakecuda::addProblem(launch.kernel + ": " + error);
}

/// What a run left.
struct Numbers {
  std::vector<StepRecord> steps;
  std::filesystem::path gradients, parameters;
};

class CudaProgram : public CudaTest {
protected:
  CudaProgram() {
    std::string name = (std::filesystem::temp_directory_path() / "seqpar-program-XXXXXX").string();
    folder = mkdtemp(name.data());
    std::string command = SEQPAR_MODEL_TOOL " --layers=2 --hidden=64 --heads=2 --ffn=128 "
                                            "--vocab=300 --max-seq-length=64 --norm=pre "
                                            "--gelu=tanh -o " +
                          (folder / "model.mlir").string();
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }
  ~CudaProgram() override { std::filesystem::remove_all(folder); }

  std::vector<uint8_t> compileModel(int64_t sp, double dropout) {
    mlir::DialectRegistry registry;
    registerAllDialects(registry);
    mlir::MLIRContext context(registry);
    context.loadAllAvailableDialects();
    auto module = mlir::parseSourceFile<mlir::ModuleOp>((folder / "model.mlir").string(),
                                                        mlir::ParserConfig(&context));
    CompileOptions options;
    options.sp = sp;
    options.microBatch = 2;
    options.microBatches = 2;
    options.seqLength = 30; // chunks of 10 positions, or of all 30
    options.chunk = 4;
    options.dropout = dropout;
    options.cudaArchitectures = {"sm_90"};
    mlir::FailureOr<std::vector<uint8_t>> bytes = seqpar::compile(*module, options);
    EXPECT_TRUE(succeeded(bytes));
    return *bytes;
  }

  Numbers run(const ProgramFile &file, const std::string &name, const DeviceFactory &devices) {
    Numbers numbers;
    RunOptions options;
    options.steps = 2;
    options.warmup = 0;
    // An element whose gradient is only rounding moves by the whole rate, one way or the other; one
    // that is not updated is off by at least 10 times the tolerance.
    options.lr = 1e-4;
    options.data = "synthetic";
    options.saveGradients = numbers.gradients = folder / (name + ".gradients");
    options.saveParameters = numbers.parameters = folder / (name + ".parameters");
    train(file, options, devices,
          [&](const StepRecord &record) { numbers.steps.push_back(record); });
    return numbers;
  }

  /// Compiles the program's text for the host and gives the driver its functions.
  void registerKernels(const program::Program &program) {
    std::vector<seqpar::Kernel> kernels;
    for (const program::Kernel *each : *program.kernels())
      for (const program::CudaLaunch *launch : *each->cuda()->launches())
        kernels.emplace_back().cuda.launches.push_back({launch->symbol()->str()});
    ASSERT_EQ(program.cuda()->Get(0)->name()->str(), "rows");
    host = std::make_unique<HostRowKernels>(program.cuda()->Get(0)->source()->str(), kernels);
    for (const program::Kernel *each : *program.kernels()) {
      std::vector<size_t> bytes(each->operands()->size() + 2, 8);
      bytes.push_back(4);
      for (const program::CudaLaunch *launch : *each->cuda()->launches()) {
        HostRowKernels::Launch function = host->find(launch->symbol()->str());
        ASSERT_NE(function, nullptr);
        fakecuda::registerKernel(
            launch->symbol()->str(),
            {bytes, [=](const fakecuda::Launch &call) { runOnHost(function, call); },
             [=](const fakecuda::Launch &call) { return listAccesses(*each, call); }});
      }
    }
    FakeCode({}).registerKernels({}); // attention
    registerAddKernels();
  }

  void expectSameNumbers(int64_t sp, double dropout) {
    std::string reason;
    if (!cuda::hasNvrtc(reason))
      GTEST_SKIP() << "off: " << reason;
    ProgramFile file = ProgramFile::fromBytes(compileModel(sp, dropout), "model.mlir");
    registerKernels(file.program());
    Numbers expected = run(file, "cpu", [](int, int threads) { return createCpuDevice(threads); });
    Numbers found = run(file, "cuda", [](int, int) { return createCudaDevice(fakeOptions()); });
    ASSERT_EQ(expected.steps.size(), 2u);
    ASSERT_EQ(found.steps.size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(found.steps[i].loss, expected.steps[i].loss, 2e-5 * expected.steps[i].loss);
      EXPECT_NEAR(found.steps[i].gradNorm, expected.steps[i].gradNorm,
                  2e-5 * expected.steps[i].gradNorm);
    }
    // Gradients of a key's bias are 0 but for rounding.
    compare(found.gradients, expected.gradients, 2e-5, "key.bias");
    // An update moves a parameter by about the learning rate, whatever its size.
    compare(found.parameters, expected.parameters, 1e-4, "key.bias", 0.1);
  }

  /// The tolerance is of each tensor's largest magnitude, or of `most` where that is less.
  static void compare(const std::string &foundPath, const std::string &expectedPath,
                      double tolerance, const std::string &except,
                      double most = std::numeric_limits<double>::infinity()) {
    SafetensorsFile found(foundPath), expected(expectedPath);
    ASSERT_EQ(found.tensors().size(), expected.tensors().size());
    for (auto &[name, tensor] : expected.tensors()) {
      if (name.ends_with(except))
        continue;
      const Tensor &other = found.get(name, "F32", tensor.shape);
      size_t elements = size_t(tensor.elements());
      std::vector<float> x(elements), y(elements);
      std::memcpy(x.data(), other.data, elements * 4);
      std::memcpy(y.data(), tensor.data, elements * 4);
      double largest = 0, worst = 0;
      for (size_t i = 0; i < elements; ++i) {
        largest = std::max(largest, std::fabs(double(y[i])));
        worst = std::max(worst, std::fabs(double(x[i]) - double(y[i])));
        ASSERT_FALSE(std::isnan(x[i])) << name;
      }
      EXPECT_GT(largest, 0) << name;
      EXPECT_LE(worst, tolerance * std::min(largest, most)) << name;
    }
  }

  std::filesystem::path folder;
  std::unique_ptr<HostRowKernels> host;
};

TEST_F(CudaProgram, oneRank) { expectSameNumbers(1, 0.0); }

TEST_F(CudaProgram, ringOfThreeOnOneGpuWithDropout) { expectSameNumbers(3, 0.1); }

} // namespace

} // namespace seqpar::rt::test
