//===- EmitBench.cpp - the compiler's row kernels against memcpy ----------===//
//
// Compiles the kernels of test/Target/Inputs and prints JSON lines: the time to compile all of them
// for both targets, then for each kernel GB/s of what it reads and writes, memcpy's rate on as many
// bytes measured in turns, and the ratio. One thread.
//
//===----------------------------------------------------------------------===//

#include "Bench.h"
#include "NativeImage.h"

#include "seqpar/Target/Cpu/EmitCpu.h"

#include "mlir/Parser/Parser.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <map>

using namespace mlir;
using namespace seqpar;

namespace {

struct Case {
  const char *file;
  int64_t rows, columns;
};

constexpr Case kCases[] = {
    {"layer-norm.mlir", 4096, 1024},     {"layer-norm-grad.mlir", 4096, 1024},
    {"bias-residual.mlir", 4096, 1024},  {"bias-gelu-tanh.mlir", 2048, 4096},
    {"gelu-tanh-grad.mlir", 2048, 4096}, {"bias-gelu-erf.mlir", 2048, 4096},
    {"gelu-erf-grad.mlir", 2048, 4096},  {"adamw.mlir", 2048, 4096},
    {"cross-entropy.mlir", 256, 30592},  {"sum-of-squares.mlir", 4096, 4096},
    {"embedding.mlir", 4096, 1024}};

std::string readKernel(const Case &which) {
  std::ifstream file(std::string(SEQPAR_KERNELS_DIR) + "/" + which.file);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  auto replace = [&](const std::string &word, const std::string &with) {
    for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at))
      text.replace(at, word.size(), with);
  };
  replace("INVERSE_COLUMNS", fmt::format("{:e}", 1.0 / double(which.columns)));
  replace("COLUMNS", std::to_string(which.columns));
  replace("ROWS", std::to_string(which.rows));
  replace("TABLE", "64");
  return text;
}

size_t bytesOf(Value memory) {
  auto type = cast<MemRefType>(memory.getType());
  return type.getNumElements() * type.getElementTypeBitWidth() / 8;
}

/// Bytes that a launch reads and writes.
size_t bytesMoved(plan::RowsOp rows, const Kernel &kernel) {
  size_t bytes = 0;
  for (const KernelOperand &operand : kernel.operands) {
    bool perRow = operand.access != plan::AccessKind::Broadcast &&
                  operand.access != plan::AccessKind::Scalar &&
                  operand.access != plan::AccessKind::SumRows;
    bytes += operand.columns * operand.type.getIntOrFloatBitWidth() / 8 *
             (perRow ? int64_t(rows.getRows()) : 1);
  }
  return bytes;
}

/// Operands that are the same buffer share memory: floats in (0.5, 1), integers from 0 to 63.
/// Buffers start at multiples of 64 bytes, as a program's do.
std::vector<void *> makeOperands(plan::RowsOp rows, std::map<void *, std::vector<char>> &memory) {
  std::vector<void *> pointers;
  for (Value value : llvm::concat<Value>(rows.getInputs(), rows.getOuts())) {
    std::vector<char> &bytes = memory[value.getAsOpaquePointer()];
    bool isInteger = cast<MemRefType>(value.getType()).getElementType().isInteger();
    bytes.resize(bytesOf(value) + 64);
    char *start = bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64;
    for (size_t i = 0; i < bytesOf(value); i += 4) {
      uint32_t random = uint32_t(i * 2654435761u) >> 16;
      float real = 0.5f + float(random) / 131072.0f;
      int32_t integer = int32_t(random % 64);
      std::memcpy(start + i, isInteger ? static_cast<void *>(&integer) : &real, 4);
    }
    pointers.push_back(start);
  }
  return pointers;
}

void measure(plan::RowsOp rows, const Kernel &kernel, seqpar::test::NativeFunction function,
             StringRef target) {
  std::map<void *, std::vector<char>> memory;
  std::vector<void *> operands = makeOperands(rows, memory);
  size_t bytes = bytesMoved(rows, kernel);
  std::vector<char> from(bytes / 2, 1), to(bytes / 2, 2);
  bench::Pair time = bench::compare([&] { function(operands.data(), 0, rows.getRows()); },
                                    [&] { std::memcpy(to.data(), from.data(), bytes / 2); }, 5);
  double rate = 1e-9 * double(bytes) / time.first, limit = 1e-9 * double(bytes) / time.second;
  fmt::print("{{\"bench\":\"rowKernel\",\"kernel\":\"{}\",\"target\":\"{}\",\"rows\":{},"
             "\"columns\":{},\"gb_per_s\":{:.2f},\"limit\":{:.2f},\"ratio\":{:.3f}}}\n",
             rows.getName().str(), target.str(), rows.getRows(), kernel.columns, rate, limit,
             rate / limit);
  std::fflush(stdout);
}

int run(bool compileOnly) {
  MLIRContext context;
  context.loadDialect<plan::PlanDialect, arith::ArithDialect, math::MathDialect,
                      tensor::TensorDialect>();
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  for (const Case &which : kCases) {
    OwningOpRef<ModuleOp> part = parseSourceString<ModuleOp>(readKernel(which), &context);
    if (!part)
      return 1;
    for (Operation &op : llvm::make_early_inc_range(*part->getBody()))
      op.moveBefore(module->getBody(), module->getBody()->end());
  }
  auto start = std::chrono::steady_clock::now();
  FailureOr<KernelTable> table = collectKernels(*module);
  if (failed(table) || failed(cpu::emitCpu(*module, *table, {"x86-64-v4", "x86-64-v3"})))
    return 1;
  std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
  fmt::print("{{\"bench\":\"emitCpu\",\"kernels\":{},\"targets\":2,\"ms\":{:.1f},\"bytes\":{}}}\n",
             table->kernels.size(), elapsed.count(),
             table->cpu[0].object.size() + table->cpu[1].object.size());
  std::vector<plan::RowsOp> bodies = getKernelBodies(*module, *table);
  for (const CpuObject &object : table->cpu) {
    if (compileOnly || !seqpar::test::hostRuns(object.target))
      continue;
    seqpar::test::NativeImage image(object);
    for (auto [kernel, rows] : llvm::zip(table->kernels, bodies))
      measure(rows, kernel, image.find(kernel.symbol), object.target);
  }
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Row kernels as the compiler emits them, against memcpy; prints JSON lines");
  bool compileOnly = false;
  app.add_flag("--compile-only", compileOnly, "Measure the time to compile only");
  CLI11_PARSE(app, argc, argv);
  bench::useClockFor(1);
  try {
    return run(compileOnly);
  } catch (const std::exception &error) {
    fmt::print(stderr, "seqpar-bench-emit: error: {}\n", error.what());
    return 1;
  }
}
